"""Strict reading of JSON answers: a field that is missing, null or ill-typed is named, and never a pass.

Everything here raises Malformed. Texts that come from a node are shown to operators in terminals, logs and
web pages, so none with control characters, and none of unbounded length, gets through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from nodegate.errors import Malformed

# Heights, counts and times of all kinds fit: Java's and Go's signed 64 bits.
MAX_INTEGER = 2**63 - 1
# Longest field that is kept; the longest honest one is a coordinator address of 81 trytes.
MAX_TEXT = 256
# Entries of a list that are kept; IRI knows six features.
MAX_ITEMS = 64
QUOTE_LENGTH = 120


def parse(body: bytes) -> Any:
    """`body` as a JSON value. Raises Malformed for anything but one UTF-8 JSON text without NaN."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        found = f"it begins {quote(body, 60)}" if body else "it is empty"
        raise Malformed(f"the answer is not JSON: {found}") from error


def parse_object(body: bytes) -> Mapping[str, Any]:
    """`body` as a JSON object."""
    value = parse(body)
    if not isinstance(value, dict):
        raise Malformed(f"the answer is {described(value)}, not a JSON object")
    return value


def integer(fields: Mapping[str, Any], name: str) -> int:
    """The field as a whole number from 0 to 2^63-1; true and 1.0 are no whole numbers."""
    value = fields.get(name)
    if type(value) is not int:
        _wrong(fields, name, "a whole number")
    if not 0 <= value <= MAX_INTEGER:
        raise Malformed(f"{name} is {_number(value)}, not between 0 and 2^63-1")
    return value


def text(fields: Mapping[str, Any], name: str) -> str:
    """The field as a printable, non-empty string of at most 256 characters."""
    value = fields.get(name)
    if not isinstance(value, str):
        _wrong(fields, name, "a string")
    return _clean(value, name)


def optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    """`text`, or None when the field is absent or null."""
    return None if fields.get(name) is None else text(fields, name)


def optional_texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The field as a list of strings, or None when it is absent or null."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        _wrong(fields, name, "a list of strings")
    if len(value) > MAX_ITEMS:
        raise Malformed(f"{name} has {len(value)} entries, more than {MAX_ITEMS}")
    return tuple(_clean(item, name) for item in value)


def quote(raw: bytes | str, length: int = QUOTE_LENGTH) -> str:
    """What a node sent, fit for one line of a message: printable, quoted, cut after `length` characters."""
    # Four bytes a character at most; cutting first keeps this cheap for a body of a megabyte.
    shown = raw[: 4 * length + 4].decode("utf-8", "replace") if isinstance(raw, bytes) else raw[: length + 1]
    words = " ".join(shown.split())
    clean = "".join("?" if char == "\ufffd" or not char.isprintable() else char for char in words)
    cut = len(clean) > length or len(raw) > 4 * length
    return f'"{clean[:length]}…"' if cut else f'"{clean}"'


def _clean(value: str, name: str) -> str:
    if not value or len(value) > MAX_TEXT or not value.isprintable():
        raise Malformed(f"{name} is {quote(value, 40)}, not 1 to {MAX_TEXT} printable characters")
    return value


def _wrong(fields: Mapping[str, Any], name: str, wanted: str) -> NoReturn:
    found = described(fields[name]) if name in fields else "missing"
    raise Malformed(f"{name} is {found}, not {wanted}")


def described(value: Any) -> str:
    """A JSON value in few words, without walking into it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {_number(value)}"
    if isinstance(value, str):
        return f"the string {quote(value, 40)}"
    return "a list" if isinstance(value, list) else "an object"


def _number(value: float) -> str:
    # The decimal form of a huge integer can be refused by Python and helps nobody.
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "beyond 64 bits"
    return str(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
