"""Neighbours in a node's own files, so that they survive a restart. The editing is pure.

Three forms are known: an environment file (`IRI_NEIGHBORS="tcp://… tcp://…"`, as the iri-playbook has it), IRI's
configuration file (`NEIGHBORS = …` in its section), and HORNET's `peering.json`. Everything else in the file stays
as it is: comments, order, other keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodegate.errors import BadDocument, Fault
from nodegate.host.neighbours.addresses import same

KEYS = ("IRI_NEIGHBORS", "NEIGHBORS")
_SECTION = re.compile(r"^\s*\[[^\]]+\]\s*$", re.MULTILINE)
_SPLIT = re.compile(r"[,\s]+")
_VALUES = (
    re.compile(r"(?P<quote>[\"'])(?P<value>[^\"']*)(?P=quote)(?P<tail>\s*(?:[#;].*)?)$"),
    re.compile(r"(?P<quote>)(?P<value>[^\"'#;]*?)(?P<tail>\s*(?:[#;].*)?)$"),
)
"""A value in quotes, or without; then perhaps a comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What to change; `remove` and `add` are neighbours. `alias` names an added peer in `peering.json`."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The line with the neighbours: its number from 0, what stands before the value, and so on to its end."""

    number: int
    head: str
    quote: str
    value: str
    tail: str


def edited(name: str, text: str, edit: Edit, *, keys: Sequence[str] = KEYS) -> str:
    """The file's new text, the same one when nothing is to change.

    `name` decides the form by its ending (`.json`) and stands in messages. Raises BadDocument for a file that
    cannot be understood without guessing.
    """
    return _json(name, text, edit) if name.endswith(".json") else _lines(name, text, edit, keys)


def listed(name: str, text: str, *, keys: Sequence[str] = KEYS) -> tuple[str, ...]:
    """The neighbours that the file has. Raises BadDocument as `edited`."""
    if name.endswith(".json"):
        return tuple(_address(peer) for peer in _peers(name, _loaded(name, text)))
    place = _place(name, text.splitlines(), keys)
    return () if place is None else _words(place.value)


# --- environment and configuration files ---


def _lines(name: str, text: str, edit: Edit, keys: Sequence[str]) -> str:
    lines = text.splitlines(keepends=True)
    sectioned = bool(_SECTION.search(text))
    place = _place(name, lines, keys)
    if place is None:
        return (
            text + _appended(text, edit, keys[-1] if sectioned else keys[0], sectioned) if edit.add else text
        )
    words = _words(place.value)
    after = _after(words, edit)
    if after == words:
        return text
    joined = ("," if "," in place.value else " ").join(after)
    # A shell takes the second word of an unquoted value for a command.
    quote = place.quote or ("" if sectioned or len(after) < 2 else '"')
    line = lines[place.number]
    end = line[len(line.rstrip("\r\n")) :]
    lines[place.number] = f"{place.head}{quote}{joined}{quote}{place.tail}{end}"
    return "".join(lines)


def _place(name: str, lines: Sequence[str], keys: Sequence[str]) -> _Place | None:
    """The one line with the neighbours, in parts. Raises BadDocument when it is not one."""
    starts = re.compile(rf"\s*(?:export\s+)?(?:{'|'.join(map(re.escape, keys))})\s*=[ \t]*")
    places = [number for number, line in enumerate(lines) if starts.match(line)]
    if not places:
        return None
    if len(places) > 1:
        where = ", ".join(str(number + 1) for number in places)
        raise _bad(
            name,
            places[1] + 1,
            f"neighbours stand in lines {where}: leave one, so that it is clear which counts",
        )
    line = lines[places[0]].rstrip("\r\n")
    start = starts.match(line)
    assert start is not None
    value = next((found for form in _VALUES if (found := form.match(line, start.end()))), None)
    if value is None or line.endswith("\\"):
        raise _bad(
            name, places[0] + 1, "the neighbours must stand on this one line, in one pair of quotes or none"
        )
    return _Place(number=places[0], head=line[: start.end()], **value.groupdict())


def _appended(text: str, edit: Edit, key: str, sectioned: bool) -> str:
    start = "" if not text or text.endswith("\n") else "\n"
    words = " ".join(dict.fromkeys(edit.add))
    return f"{start}{key} = {words}\n" if sectioned else f'{start}{key}="{words}"\n'


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in _SPLIT.split(value) if word)


def _after(words: Sequence[str], edit: Edit) -> tuple[str, ...]:
    gone = {same(word) for word in edit.remove}
    kept = [word for word in words if same(word) not in gone]
    have = {same(word) for word in kept}
    return (*kept, *(word for word in dict.fromkeys(edit.add) if same(word) not in have))


# --- peering.json ---


def _json(name: str, text: str, edit: Edit) -> str:
    document = _loaded(name, text)
    peers = _peers(name, document)
    gone = {same(uri) for uri in edit.remove}
    kept = [peer for peer in peers if same(_address(peer)) not in gone]
    have = {same(_address(peer)) for peer in kept}
    added: list[Any] = [_peer(uri, edit.alias) for uri in dict.fromkeys(edit.add) if same(uri) not in have]
    if len(kept) == len(peers) and not added:
        return text
    indent = re.search(r"\n([ \t]+)", text)
    width: str | int = indent[1] if indent else 2
    end = "\n" if text.endswith("\n") else ""
    return json.dumps({**document, "peers": [*kept, *added]}, indent=width, ensure_ascii=False) + end


def _loaded(name: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _bad(name, getattr(error, "lineno", None), f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _bad(name, None, 'HORNET\'s file has one object with a list "peers"')
    return document


def _peers(name: str, document: dict[str, Any]) -> list[Any]:
    peers = document.get("peers", [])
    if not isinstance(peers, list):
        raise BadDocument([Fault(file=name, line=None, key="peers", message="must be a list")])
    for place, peer in enumerate(peers):
        if not isinstance(peer, dict) or not _address(peer):
            message = "must be an object with multiAddress (HORNET 1 and 2) or identity (0.x)"
            raise BadDocument([Fault(file=name, line=None, key=f"peers.{place}", message=message)])
    return peers


def _peer(uri: str, alias: str) -> dict[str, str]:
    """An entry for HORNET 1 and 2, or, for an address of IRI's form, for HORNET 0.x."""
    _, separator, rest = uri.partition("://")
    return {"identity": rest, "alias": alias} if separator else {"alias": alias, "multiAddress": uri}


def _address(peer: Any) -> str:
    found = peer.get("multiAddress", peer.get("identity"))
    return found if isinstance(found, str) else ""


def _bad(name: str, line: int | None, message: str) -> BadDocument:
    return BadDocument([Fault(file=name, line=line, key="", message=message)])
