"""Globs of hosts and paths: `*` and `**` match anything, dots and slashes too; `?`, `[a-z]`, `[!a]`, `{a,b}`
and `\\` as usual. They become regular expressions, which HAProxy and Python read alike.
"""

from __future__ import annotations

import re

_SPECIAL = frozenset("*?[]{}\\")


def is_glob(text: str) -> bool:
    """Whether `text` has a character with a meaning of its own."""
    return not _SPECIAL.isdisjoint(text)


ANY = "."
IN_HOST = "[^/!]"
"""What `*` and `?` stand for: any character, or any that may stand in a host. No host has a `!`, which the gateway
puts before keys of a further table."""


def to_regex(glob: str, any_one: str = ANY) -> str:
    """The glob as a regular expression without anchors. Raises ValueError, in words, for what is none."""
    pattern, position = _sequence(glob, 0, any_one, nested=False)
    if position != len(glob):
        raise ValueError(f"{glob!r} has a }} without its {{")
    return pattern


def _sequence(glob: str, position: int, any_one: str, *, nested: bool) -> tuple[str, int]:
    """The expression of `glob` from `position` up to its end, or to the `,` or `}` of the braces around it."""
    parts: list[str] = []
    while position < len(glob):
        letter = glob[position]
        if letter == "}" or (nested and letter == ","):
            break
        if letter == "*":
            while position < len(glob) and glob[position] == "*":
                position += 1
            parts.append(f"{any_one}*")
        elif letter == "[":
            part, position = _class(glob, position + 1, any_one)
            parts.append(part)
        elif letter == "{":
            part, position = _choice(glob, position + 1, any_one)
            parts.append(part)
        else:
            part, position = _single(glob, position, any_one)
            parts.append(part)
    return "".join(parts), position


def _single(glob: str, position: int, any_one: str) -> tuple[str, int]:
    letter = glob[position]
    if letter == "?":
        return any_one, position + 1
    if letter == "]":
        raise ValueError(f"{glob!r} has a ] without its [")
    if letter == "\\":
        position += 1
        if position == len(glob):
            raise ValueError(f"{glob!r} ends with a backslash")
    return re.escape(glob[position]), position + 1


def _choice(glob: str, position: int, any_one: str) -> tuple[str, int]:
    choices = []
    while True:
        part, position = _sequence(glob, position, any_one, nested=True)
        choices.append(part)
        if position >= len(glob):
            raise ValueError(f"{glob!r} has a {{ without its }}")
        position += 1
        if glob[position - 1] == "}":
            return f"(?:{'|'.join(choices)})", position


def _class(glob: str, position: int, any_one: str) -> tuple[str, int]:
    end = glob.find("]", position + 1)
    if end < 0:
        raise ValueError(f"{glob!r} has a [ without its ]")
    body = glob[position:end]
    negated = body.startswith("!")
    letters = body[1:] if negated else body
    if not letters:
        raise ValueError(f"{glob!r} has an empty [ ]")
    if re.fullmatch(r".-.", letters):
        if letters[0] > letters[2]:
            raise ValueError(f"{glob!r} has a range that ends before it begins")
        inside = f"{re.escape(letters[0])}-{re.escape(letters[2])}"
    else:
        inside = "".join(re.escape(letter) for letter in letters)
    # A caret that is not first means itself, and re.escape has dealt with it anyway.
    if negated:
        return f"[^{inside}{'' if any_one == ANY else '/!'}]", end + 1
    return f"[{inside}]", end + 1
