"""What a request asks for: the command of IRI, the methods of JSON-RPC, else the HTTP method and path. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

MAX_BODY = 65536
"""Bytes of a request's body that are kept until its command is known."""
MAX_EXCERPT = 200
"""Characters of a body that are shown."""
MAX_CALLS = 1000
"""Elements of a batch that are counted."""

_NAMED = re.compile(rb'"(command|method)"\s*:\s*"([^"\\\x00-\x20]{1,64})"')
_OLD_REFERENCE = re.compile(rb'"reference"\s*:\s*"')
_VARIABLE = re.compile(
    r"(?<=/)(?:0x)?(?=[^/]*\d)[0-9A-Za-z_-]{16,}(?=/|$)|(?<=/)\d+(?=/|$)|(?<=/)[A-Z9]{27,}(?=/|$)"
)
PARTS = 6
PATH = 80


def commands_of(method: str, target: bytes, body: bytes) -> tuple[str, ...]:
    """The names of what is asked for, at least one. A batch has one for each of its calls.

    Bodies that are broken, cut or no JSON are searched for the name; when there is none, it is the HTTP method with
    the path, whose numbers and hashes become `{id}`.
    """
    if body and b'"' in body:
        names = _flat(body) if body.count(b"{") == 1 else _deep(body)
        if names:
            return names
    return (f"{method} {_path(target)}",)


def has_reference(body: bytes) -> bool:
    """Whether the body has a `reference`, as the call that stalled nodes in January 2018 has."""
    return _OLD_REFERENCE.search(body) is not None


def excerpt(body: bytes) -> str:
    """The beginning of a body, on one line, without control characters."""
    text = " ".join(body[: MAX_EXCERPT * 4].decode("utf-8", "replace").split())
    text = _printable(text)
    if len(text) > MAX_EXCERPT or len(body) > MAX_EXCERPT * 4:
        return f"{text[: MAX_EXCERPT - 1]}…"
    return text


def _flat(body: bytes) -> tuple[str, ...]:
    """For an object without objects in it, the first name is the only one."""
    found = _NAMED.search(body)
    return () if found is None else (_clean(found[2]),)


def _deep(body: bytes) -> tuple[str, ...]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _flat(body)
    calls = document if isinstance(document, list) else [document]
    return tuple(_names(calls[:MAX_CALLS]))


def _names(calls: list[object]) -> Iterator[str]:
    for call in calls:
        if isinstance(call, dict):
            name = call.get("command", call.get("method"))
            if isinstance(name, str) and name:
                yield _clean(name.encode("utf-8", "replace")[:64])


def _printable(text: str) -> str:
    """What stands in a packet must not move the cursor of an operator."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _clean(name: bytes) -> str:
    return _printable(name.decode("utf-8", "replace"))


def _path(target: bytes) -> str:
    text = target[:512].partition(b"?")[0].decode("utf-8", "replace")
    text = "/".join(_VARIABLE.sub("{id}", text).split("/")[:PARTS])[:PATH]
    return _printable(text) or "/"
