"""Reads JSON the way an IRI node does: leniently, and as a map. Pure.

IRI hands a request's body to Gson 2.8.1, which takes much that is not JSON. A gateway in front has to know
that, so a lab node takes it too: comments, single quotes, names and strings without quotes, `=` and `=>` for
`:`, `;` for `,`, empty array elements, a guarding prefix, and at the top an array of pairs instead of an
object. A duplicate name at the top is refused unless its first value was null; deeper down the last one wins.

Not imitated: the exact text of Gson's messages, and numbers that Java reads and Python does not (`0x1p3`).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from nodegate.errors import Malformed

MAX_DEPTH: Final = 200
"""Nesting beyond this is refused; a real node's stack overflows somewhat later."""

_SPACE = re.compile(r"(?:[ \n\r\t]+|//[^\n\r]*|#[^\n\r]*|/\*.*?\*/)*", re.DOTALL)
_BARE = re.compile(r"[^\\/;#={}\[\]:, \t\f\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_RUNS = {quote: re.compile(rf"[^\\{quote}]*") for quote in "\"'"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES: Final = {
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "\n": "\n",
}
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_PREFIX = ")]}'\n"


def request_map(text: str) -> dict[Any, Any] | None:
    """`text` as IRI's request map; None for an empty text or `null`. Numbers are floats.

    Raises Malformed for what Gson refuses.
    """
    strict = _strict(text)
    if strict is not None:
        return strict
    reader = _Reader(text)
    reader.skip_space()
    if reader.at_end():
        return None
    if text.startswith("[", reader.place):
        return reader.closed(reader.pairs())
    if text.startswith("{", reader.place):
        return reader.closed(reader.entries(depth=0, unique=True))
    value = reader.value(0)
    if value is None:
        return None
    raise Malformed(f"expected an object but was {type(value).__name__} at the beginning")


def _strict(text: str) -> dict[Any, Any] | None:
    """The map when `text` is plain JSON without a duplicate name, which the standard library reads faster;
    None when the lenient reader has to look."""
    last: list[tuple[str, Any]] = []

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal last
        last = pairs  # the outermost object is the last one to be closed
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=kept)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and len(value) == len(last) else None


class _Reader:
    """A place in the text, moving forward."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = len(_PREFIX) if text.startswith(_PREFIX) else 0

    def at_end(self) -> bool:
        return self.place >= len(self.text)

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.place)
        assert found is not None
        self.place = found.end()

    def take(self, *wanted: str) -> str:
        """The first of `wanted` that comes next, after space; "" when none does."""
        self.skip_space()
        for token in wanted:
            if self.text.startswith(token, self.place):
                self.place += len(token)
                return token
        return ""

    def need(self, *wanted: str) -> str:
        token = self.take(*wanted)
        if not token:
            raise self.error(f"expected one of {' '.join(wanted)}")
        return token

    def error(self, what: str) -> Malformed:
        return Malformed(f"{what} at character {self.place + 1}")

    def closed(self, value: dict[Any, Any]) -> dict[Any, Any]:
        """`value`, if nothing but white space follows: after the document Gson is strict again."""
        if self.text[self.place :].strip(" \n\r\t"):
            raise self.error("the document goes on")
        return value

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.error("nested too deeply")
        self.skip_space()
        head = self.text[self.place : self.place + 1]
        if head == "{":
            return self.entries(depth=depth, unique=False)
        if head == "[":
            return self.elements(depth)
        if head in _RUNS:
            return self.quoted()
        return self.bare()

    def elements(self, depth: int) -> list[Any]:
        """An array; an element that is left out is null, except that `[]` is empty."""
        self.need("[")
        found: list[Any] = []
        if self.take("]"):
            return found
        while True:
            self.skip_space()
            left_out = self.text[self.place : self.place + 1] in {",", ";", "]"}
            found.append(None if left_out else self.value(depth + 1))
            if self.need(",", ";", "]") == "]":
                return found

    def entries(self, *, depth: int, unique: bool) -> dict[Any, Any]:
        self.need("{")
        found: dict[Any, Any] = {}
        if self.take("}"):
            return found
        while True:
            name = self.name()
            self.need(":", "=>", "=")
            self.put(found, name, self.value(depth + 1), unique=unique)
            if self.need(",", ";", "}") == "}":
                return found

    def pairs(self) -> dict[Any, Any]:
        """The top-level array of `[name, value]` that Gson reads as a map."""
        self.need("[")
        found: dict[Any, Any] = {}
        if self.take("]"):
            return found
        while True:
            self.need("[")
            name = self.value(1)
            self.need(",", ";")
            value = self.value(1)
            self.need("]")
            self.put(found, name if isinstance(name, str | float | bool) else str(name), value, unique=True)
            if self.need(",", ";", "]") == "]":
                return found

    def put(self, found: dict[Any, Any], name: Any, value: Any, *, unique: bool) -> None:
        # A first null does not count as a value, which is how Gson misses that duplicate.
        if unique and found.get(name) is not None:
            raise Malformed(f"duplicate key: {name}")
        found[name] = value

    def name(self) -> str:
        self.skip_space()
        if self.text[self.place : self.place + 1] in _RUNS:
            return self.quoted()
        return self.bare_text()

    def bare(self) -> Any:
        text = self.bare_text()
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        return float(text) if _NUMBER.fullmatch(text) else text

    def bare_text(self) -> str:
        found = _BARE.match(self.text, self.place)
        if found is None or not found.group():
            raise self.error("expected a value" if not self.at_end() else "unexpected end of input")
        self.place = found.end()
        return found.group()

    def quoted(self) -> str:
        quote = self.text[self.place]
        self.place += 1
        parts: list[str] = []
        while True:
            run = _RUNS[quote].match(self.text, self.place)
            assert run is not None
            parts.append(run.group())
            self.place = run.end()
            if self.at_end():
                raise self.error("unterminated string")
            self.place += 1
            if self.text[self.place - 1] == quote:
                # Two escapes may be the halves of one character: UTF-16 puts them together.
                return (
                    "".join(parts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
                )
            parts.append(self.escape())

    def escape(self) -> str:
        head = self.text[self.place : self.place + 1]
        self.place += 1
        if head == "u":
            found = _HEX.match(self.text, self.place)
            if found is None:
                raise self.error("bad \\u escape")
            self.place = found.end()
            return chr(int(found.group(), 16))
        if head not in _ESCAPES:
            raise self.error("invalid escape sequence")
        return _ESCAPES[head]
