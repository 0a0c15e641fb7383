"""What a node says of its neighbours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from nodegate.model import Instant


class NodeKind(StrEnum):
    """Which software the node is: each has its own way to ask."""

    IRI = "iri"
    HORNET = "hornet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Transactions (HORNET: messages or blocks) since the neighbour connected; None where the software does not say.

    `all` came from the neighbour; `new` of them nobody had brought before; `invalid` could not be taken; `stale`
    are older than the node's snapshot; `known` the node had already; `sent` went to the neighbour; `requested` are
    transactions that the neighbour asked for; `dropped` are packets to it that were thrown away.
    """

    all: int | None = None
    new: int | None = None
    invalid: int | None = None
    stale: int | None = None
    known: int | None = None
    sent: int | None = None
    requested: int | None = None
    dropped: int | None = None

    def known_values(self) -> Mapping[str, int]:
        """The counters that the node has, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


COUNTERS = tuple(field.name for field in fields(Counters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One neighbour. `uri` is what adding and removing takes: `tcp://HOST:PORT` for IRI, the peer's identity for
    HORNET. `name` is for people. `connected` is None where the software does not say."""

    uri: str
    name: str
    address: str
    connected: bool | None
    relation: str
    counters: Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All neighbours at one moment, in seconds of a clock that does not step."""

    at: Instant
    neighbours: tuple[Neighbour, ...]
