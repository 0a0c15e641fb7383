"""A pool as scaling has to see it, from the latest snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from nodegate.model import Node, Snapshot, Status
from nodegate.scaling import Member


def members_of(snapshot: Snapshot, pool: str) -> tuple[Member, ...]:
    """The pool's nodes, with verdicts and requests under way."""
    servers = {} if snapshot.running is None else snapshot.running.routing.servers
    sessions: Counter[str] = Counter()
    for (_, name), server in servers.items():
        sessions[name] += server.sessions
    return tuple(member(snapshot, node, sessions) for node in nodes_of(snapshot, pool))


def nodes_of(snapshot: Snapshot, pool: str) -> tuple[Node, ...]:
    """The pool's nodes in the inventory."""
    return () if snapshot.inventory is None else tuple(n for n in snapshot.inventory.nodes if n.pool == pool)


def counts_of(snapshot: Snapshot, pool: str) -> dict[str, int]:
    """How many requests each server of the pool's nodes has answered, over all of HAProxy's backends."""
    if snapshot.running is None:
        return {}
    names = {node.id for node in nodes_of(snapshot, pool)}
    return {
        f"{backend}/{name}": traffic.requests
        for (backend, name), traffic in snapshot.running.traffic.items() if name in names
    }  # fmt: skip


def blind(snapshot: Snapshot) -> str:
    """Why nothing can be decided now, empty when all is known."""
    if snapshot.inventory is None:
        return "the registry was not read yet"
    if snapshot.registry_error is not None:
        return f"the registry cannot be read ({snapshot.registry_error})"
    if snapshot.haproxy_error is not None:
        return f"HAProxy cannot be asked ({snapshot.haproxy_error})"
    return "" if snapshot.ready else "the first round of probes is not over"


def member(snapshot: Snapshot, node: Node, sessions: Mapping[str, int]) -> Member:
    verdict = snapshot.judgement.verdicts.get(node.id)
    return Member(
        id=node.id, url=node.url, kind=node.kind, intent=node.intent,
        status=Status.UNKNOWN if verdict is None else verdict.status,
        since=snapshot.at if verdict is None else verdict.since,
        sessions=sessions.get(node.id, 0), routed=node.id in sessions,
    )  # fmt: skip
