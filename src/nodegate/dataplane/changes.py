"""Changes as runtime commands, and HAProxy's replies to them as sentences. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nodegate.errors import Refused, Unsafe
from nodegate.haproxy import wire
from nodegate.haproxy.pools import pool_and_lane
from nodegate.haproxy.servers import Authorities
from nodegate.model import Change, ChangeKind, Server

Trust = Mapping[str, Authorities | None]
"""By backend: whose signature its nodes need."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """A change and the commands that carry it out; `fault` when there are none because it is unsafe."""

    change: Change
    commands: tuple[str, ...] = ()
    fault: str | None = None


_SIMPLE: Mapping[ChangeKind, Callable[[Server], tuple[str, ...]]] = {
    ChangeKind.SET_ADDRESS: wire.set_address,
    ChangeKind.SET_WEIGHT: wire.set_weight,
    ChangeKind.SET_MAXCONN: wire.set_maxconn,
    ChangeKind.SET_STATE: wire.set_state,
    ChangeKind.DELETE: wire.delete_server,
}


def numbered(changes: Sequence[Change], first: int | None) -> list[int | None]:
    """The numeric id for each change that adds a server; None for the others, and when it is not known from which
    `first` on ids are free. A node has the same id in all lanes of its pool: HAProxy hashes clients to ids, so that
    a client meets the same node in each of them."""
    given: dict[Key, int] = {}
    numbers: list[int | None] = []
    for change in changes:
        server = change.server
        if change.kind is not ChangeKind.ADD or server is None or first is None:
            numbers.append(None)
            continue
        pool, _ = pool_and_lane(server.backend)
        numbers.append(given.setdefault((pool, server.name), first + len(given)))
    return numbers


def order(change: Change, trust: Trust, number: int | None = None) -> Order:
    """What to tell HAProxy for a change of a server. `number` is for one that is added, as in
    `wire.add_server`."""
    server = change.server
    if server is None:
        return Order(change=change, fault=f"{change.kind.value}: no server is named")
    try:
        if change.kind is ChangeKind.ADD:
            return Order(change=change, commands=wire.add_server(server, trust.get(server.backend), number))
        return Order(change=change, commands=_SIMPLE[change.kind](server))
    except Unsafe as error:
        return Order(change=change, fault=sentence(change, str(error)))


def outcome(asked: Order, replies: Sequence[str]) -> str | None:
    """None when HAProxy did it all; else one sentence with its first refusal, which explains the others."""
    if asked.fault is not None:
        return asked.fault
    for reply in replies:
        try:
            wire.accepted(reply)
        except Refused as error:
            if asked.change.kind is ChangeKind.DELETE:
                return sentence(asked.change, f"{error} It is tried again until its connections are gone.")
            return sentence(asked.change, str(error))
    return None


def sentence(change: Change, text: str) -> str:
    """A refusal, with what was to be done: `add main/node-1: …`."""
    subject = f" {change.server.backend}/{change.server.name}" if change.server else ""
    subject = f" {change.map_name}" if change.map_name else subject
    return f"{change.kind.value}{subject}: {text}"


def key_of(server: Server) -> Key:
    """The server's key in a Routing."""
    return server.backend, server.name
