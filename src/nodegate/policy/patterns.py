"""Three small pattern languages that mean the same in every engine and never backtrack.

- **class patterns** for values: atoms such as `[A-Z9]{81}`, `0x`, `[0-9]+`; each atom takes all it can and
  gives nothing back, so that time is linear and Python and Lua agree by construction;
- **globs** for user agents and bodies: literals with `*` between them, found from left to right;
- **path patterns**: `/api/blocks/{id}`, `{id:[0-9a-f]{64}}`, and a last `/**` for any rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUANTIFIER = re.compile(r"\{([0-9]{1,5})(?:(,)([0-9]{1,5})?)?\}|([*+?])")
_SEGMENT = re.compile(r"[A-Za-z0-9._~@:$&'()+,=!-]+")
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)(?::(.+))?\}", re.DOTALL)
UNBOUNDED = 0
"""As an atom's most: no bound."""


@dataclass(frozen=True, slots=True)
class Atom:
    """`least` to `most` bytes of the set `chars`; `most` 0 is no bound."""

    chars: frozenset[int]
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a path between slashes: a literal, or (literal None) any text that fits `atoms`."""

    literal: str | None
    atoms: tuple[Atom, ...] | None = None


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path pattern; `rest` lets any further segments follow."""

    segments: tuple[Segment, ...]
    rest: bool

    @property
    def literal(self) -> bool:
        """Whether exactly one path fits."""
        return not self.rest and all(segment.literal is not None for segment in self.segments)


def parse_pattern(text: str) -> tuple[Atom, ...]:
    """`text` as atoms. Raises ValueError with the reason and the position."""
    atoms: list[Atom] = []
    at = 0
    while at < len(text):
        chars, at = _read_class(text, at) if text[at] == "[" else _read_char(text, at)
        least, most = 1, 1
        if (found := _QUANTIFIER.match(text, at)) is not None:
            least, most = _bounds(found)
            at = found.end()
        if most != UNBOUNDED and least > most:
            raise ValueError(f"in {text!r} a repetition has its least over its most")
        _refuse_starved(atoms, chars, least, text)
        atoms.append(Atom(chars, least, most))
    return tuple(atoms)


def _refuse_starved(atoms: list[Atom], chars: frozenset[int], least: int, text: str) -> None:
    """An atom that must follow one of variable length with the same characters would never get any."""
    for before in reversed(atoms):
        if before.most != UNBOUNDED and before.least == before.most:
            return
        if least and chars & before.chars:
            raise ValueError(
                f"in {text!r} a repetition would swallow what must follow it; give it a fixed length"
            )
        if before.least:
            return


def _bounds(found: re.Match[str]) -> tuple[int, int]:
    if (sign := found.group(4)) is not None:
        return {"*": (0, UNBOUNDED), "+": (1, UNBOUNDED), "?": (0, 1)}[sign]
    least = int(found.group(1))
    if found.group(2) is None:
        return _positive(least, least)
    return _positive(least, int(found.group(3))) if found.group(3) else (least, UNBOUNDED)


def _positive(least: int, most: int) -> tuple[int, int]:
    if most == 0:
        raise ValueError("a repetition of at most 0 never matches anything")
    return least, most


def _read_char(text: str, at: int) -> tuple[frozenset[int], int]:
    char = text[at]
    if char == "\\" and at + 1 < len(text):
        return frozenset({_code(text, at + 1)}), at + 2
    if char in "\\^$.|()*+?{}]":
        raise ValueError(
            f"in {text!r}, position {at + 1}: {char!r} has no meaning here; write \\{char} for itself"
        )
    return frozenset({_code(text, at)}), at + 1


def _read_class(text: str, at: int) -> tuple[frozenset[int], int]:
    chars: set[int] = set()
    start = at
    at += 1
    if text[at : at + 1] == "^":
        raise ValueError(f"in {text!r} a class is negated; name the allowed characters instead")
    while text[at : at + 1] != "]":
        if at >= len(text):
            raise ValueError(f"in {text!r} the class at position {start + 1} has no end")
        low, at = _class_char(text, at)
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in {"]", ""}:
            high, at = _class_char(text, at + 1)
            if high < low:
                raise ValueError(f"in {text!r} a range runs backwards")
            chars.update(range(low, high + 1))
        else:
            chars.add(low)
    if not chars:
        raise ValueError(f"in {text!r} the class at position {start + 1} is empty")
    return frozenset(chars), at + 1


def _class_char(text: str, at: int) -> tuple[int, int]:
    if text[at] == "\\" and at + 1 < len(text):
        return _code(text, at + 1), at + 2
    return _code(text, at), at + 1


def _code(text: str, at: int) -> int:
    if not " " <= text[at] <= "~":
        raise ValueError(f"in {text!r}, position {at + 1}: only printable ASCII can be matched")
    return ord(text[at])


def fits(atoms: tuple[Atom, ...], value: bytes) -> bool:
    """Whether the whole of `value` fits."""
    at = 0
    for atom in atoms:
        end = at
        limit = len(value) if atom.most == UNBOUNDED else min(len(value), at + atom.most)
        while end < limit and value[end] in atom.chars:
            end += 1
        if end - at < atom.least:
            return False
        at = end
    return at == len(value)


def glob_found(pattern: str, value: bytes, *, whole: bool) -> bool:
    """Whether `value` fits the glob, letters of either case alike. Without `whole` it may stand anywhere."""
    text = value.lower()
    parts = pattern.lower().encode().split(b"*")
    if not whole:
        parts = [b"", *parts, b""]
    if len(parts) == 1:
        return text == parts[0]
    if not text.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(parts[-1]) and text.endswith(parts[-1])


def parse_path(text: str) -> PathRule:
    """`text` as a path rule. Raises ValueError with the reason."""
    if text == "/":
        return PathRule(segments=(Segment(""),), rest=False)
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is not a path: it starts with /")
    rest = text.endswith("/**")
    body = text[1:-3] if rest else text[1:]
    parts = body.split("/") if body else []
    return PathRule(segments=tuple(_segment(part, text) for part in parts), rest=rest)


def _segment(part: str, text: str) -> Segment:
    if (variable := _VARIABLE.fullmatch(part)) is not None:
        pattern = variable.group(2)
        return Segment(None, parse_pattern(pattern) if pattern is not None else None)
    if _SEGMENT.fullmatch(part) is None or part in {".", ".."}:
        raise ValueError(
            f"in the path {text!r} {part!r} is neither plain text nor {{name}} nor {{name:pattern}}"
        )
    return Segment(part)


def path_fits(rule: PathRule, segments: tuple[bytes, ...]) -> bool:
    """Whether a decoded path, cut at its slashes, fits. A variable never fits an empty segment."""
    if len(segments) < len(rule.segments) or (len(segments) > len(rule.segments) and not rule.rest):
        return False
    return all(_segment_fits(wanted, found) for wanted, found in zip(rule.segments, segments, strict=False))


def _segment_fits(wanted: Segment, found: bytes) -> bool:
    if wanted.literal is not None:
        return found == wanted.literal.encode()
    return bool(found) and (wanted.atoms is None or fits(wanted.atoms, found))
