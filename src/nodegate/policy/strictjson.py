"""JSON with one meaning for every parser: what two nodes could read differently is refused.

Beyond RFC 8259: names are printable ASCII without escapes and unique when letters of either case count as
alike (Go matches names so), integers are at most 2**53 in size, other numbers are short, nesting is bounded.
`guard.lua` holds the same scanner; both report the first fault from the left under the same rule name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_INTEGER = 2**53


class JsonFault(Exception):
    """The text is refused; `rule` names why."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that no rule may look into: a string with escapes, or a number that is no plain integer."""

    type: str


ESCAPED = Opaque("string")
INEXACT = Opaque("number")

Value: TypeAlias = "dict[str, Value] | list[Value] | bytes | int | bool | Opaque | None"

_SPACE = re.compile(rb"[ \t\n\r]*")
_NAME = re.compile(rb'"([ !#-\[\]-~]*)"')
_PLAIN = re.compile(rb'"([^"\\\x00-\x1f]*)"')
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HALF = re.compile(rb'\\(?:u([0-9A-Fa-f]{4})|["\\/bfnrt])')
_WORDS: tuple[tuple[bytes, bool | None], ...] = ((b"true", True), (b"false", False), (b"null", None))
_NUMBER_START = frozenset(b"-0123456789")


def parse(data: bytes, *, max_depth: int, max_values: int) -> Value:
    """The one value that `data` holds, of at most `max_values` values in all. Raises JsonFault at the first
    fault from the left; bytes that are not UTF-8 are found before everything else."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonFault("body-utf8") from error
    scanner = _Scanner(data, max_values)
    value, at = scanner.value(_skip(data, 0), max_depth)
    if _skip(data, at) != len(data):
        raise JsonFault("json-trailing")
    return value


def _skip(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    assert found is not None
    return found.end()


class _Scanner:
    """Reads values from left to right and counts them; every method returns the position after its value."""

    def __init__(self, data: bytes, max_values: int) -> None:
        self.data = data
        self.left = max_values

    def value(self, at: int, depth: int) -> tuple[Value, int]:
        if self.left == 0:
            raise JsonFault("json-values")
        self.left -= 1
        first = self.data[at : at + 1]
        if first == b'"':
            return _string(self.data, at)
        if first in (b"{", b"["):
            if depth == 0:
                raise JsonFault("json-depth")
            return self._object(at + 1, depth - 1) if first == b"{" else self._array(at + 1, depth - 1)
        if first and first[0] in _NUMBER_START:
            return _number(self.data, at)
        for word, value in _WORDS:
            if self.data.startswith(word, at):
                return value, at + len(word)
        raise JsonFault("json-syntax")

    def _object(self, at: int, depth: int) -> tuple[Value, int]:
        members: dict[str, Value] = {}
        folded: set[bytes] = set()
        at = _skip(self.data, at)
        if self.data[at : at + 1] == b"}":
            return members, at + 1
        while True:
            name, at = _name(self.data, at)
            if name.lower() in folded:
                raise JsonFault("json-duplicate")
            folded.add(name.lower())
            at = _skip(self.data, at)
            if self.data[at : at + 1] != b":":
                raise JsonFault("json-syntax")
            members[name.decode("ascii")], at = self.value(_skip(self.data, at + 1), depth)
            at = _skip(self.data, at)
            if self.data[at : at + 1] == b"}":
                return members, at + 1
            at = _comma(self.data, at)

    def _array(self, at: int, depth: int) -> tuple[Value, int]:
        items: list[Value] = []
        at = _skip(self.data, at)
        if self.data[at : at + 1] == b"]":
            return items, at + 1
        while True:
            item, at = self.value(at, depth)
            items.append(item)
            at = _skip(self.data, at)
            if self.data[at : at + 1] == b"]":
                return items, at + 1
            at = _comma(self.data, at)


def _comma(data: bytes, at: int) -> int:
    if data[at : at + 1] != b",":
        raise JsonFault("json-syntax")
    return _skip(data, at + 1)


def _name(data: bytes, at: int) -> tuple[bytes, int]:
    found = _NAME.match(data, at)
    if found is not None:
        return found.group(1), found.end()
    raise JsonFault("json-name" if data[at : at + 1] == b'"' else "json-syntax")


def _string(data: bytes, at: int) -> tuple[Value, int]:
    plain = _PLAIN.match(data, at)
    if plain is not None:
        return plain.group(1), plain.end()
    found = _STRING.match(data, at)
    if found is None or not _paired(found.group()):
        raise JsonFault("json-string")
    return ESCAPED, found.end()


def _paired(text: bytes) -> bool:
    """Whether every escaped surrogate has its other half right after it."""
    high_ends = -1
    for escape in _HALF.finditer(text):
        code = int(escape.group(1), 16) if escape.group(1) else 0
        if high_ends >= 0:
            if escape.start() != high_ends or not 0xDC00 <= code <= 0xDFFF:
                return False
            high_ends = -1
        elif 0xD800 <= code <= 0xDBFF:
            high_ends = escape.end()
        elif 0xDC00 <= code <= 0xDFFF:
            return False
    return high_ends < 0


def _number(data: bytes, at: int) -> tuple[Value, int]:
    found = _NUMBER.match(data, at)
    if found is None:
        raise JsonFault("json-number")
    whole, fraction, exponent = found.groups()
    if fraction is None and exponent is None:
        value = int(whole) if len(whole) <= 17 else MAX_INTEGER + 1
        if abs(value) > MAX_INTEGER:
            raise JsonFault("json-number")
        return value, found.end()
    if len(found.group()) > 32 or (exponent is not None and len(exponent.lstrip(b"eE+-")) > 2):
        raise JsonFault("json-number")
    return INEXACT, found.end()
