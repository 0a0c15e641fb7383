"""Lanes: the same nodes once more in each bulkhead's backend. What is decided for a pool's own backend is
mirrored, so that health, intents and safety count each node once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nodegate.haproxy.guarded import MAIN_LANE
from nodegate.haproxy.pools import backend_name
from nodegate.model import Change, ChangeKind, Node, Plan, Routing, Server, ServerState
from nodegate.routing.diff import applied, diff
from nodegate.routing.plan import BACKEND_PREFIX, Key
from nodegate.settings import Settings

Lanes = Mapping[str, Mapping[str, int | None]]
"""By pool and lane: how many of the lane's requests one node serves at once, None for as many as it takes."""


def main_lane(running: Routing) -> Routing:
    """What runs, without the servers of other lanes than the main one."""
    servers = {key: server for key, server in running.servers.items() if not _is_other(key[0])}
    return replace(running, servers=servers)


def main_bounds(lanes: Lanes) -> dict[str, int]:
    """The main lanes' bounds by pool, for `plan.desired`."""
    return {pool: bound for pool, each in lanes.items() if (bound := each.get(MAIN_LANE)) is not None}


POW_LANE = "pow"
"""The lane of calls that ask for proof of work, which is that class of a policy."""
MAXCONN_POW = "maxconn_pow"
"""The option of a node that bounds it there."""


def ceilings_of(nodes: Iterable[Node], settings: Settings) -> dict[Key, int | None]:
    """The nodes' own bounds on requests at once, for `with_lanes`."""
    found: dict[Key, int | None] = {}
    for node in nodes:
        found[backend_name(node.pool), node.id] = node.maxconn or settings.pool(node.pool).maxconn
        most = node.options.get(MAXCONN_POW)
        if isinstance(most, int) and not isinstance(most, bool) and most > 0:
            found[backend_name(node.pool, POW_LANE), node.id] = most
    return found


def with_lanes(plan: Plan, running: Routing, lanes: Lanes, ceilings: Mapping[Key, int | None]) -> Plan:
    """`plan` with the changes that make the other lanes like what the plan makes of the main ones.

    `ceilings` are the nodes' own bounds on requests at once, by the key of the main server for all lanes, by the key
    in a lane for that one.
    """
    outcome = applied(main_lane(running), plan.changes)
    have = {key: server for key, server in running.servers.items() if _is_other(key[0])}
    want = _mirrored(outcome, have, lanes, ceilings)
    if not have and not want:
        return plan
    same = outcome.skeleton
    more = diff(Routing(skeleton=same, servers=have), Routing(skeleton=same, servers=want))
    return replace(plan, changes=_joined(plan.changes, more))


def _mirrored(
    outcome: Routing, have: Mapping[Key, Server], lanes: Lanes, ceilings: Mapping[Key, int | None]
) -> dict[Key, Server]:
    want: dict[Key, Server] = {}
    backends = {
        backend_name(pool): [
            (backend_name(pool, lane), bound) for lane, bound in each.items() if lane != MAIN_LANE
        ]
        for pool, each in lanes.items()
    }
    for main, server in outcome.servers.items():
        for backend, bound in backends.get(main[0], ()):
            key = (backend, main[1])
            bounds = [each for each in (bound, ceilings.get(main), ceilings.get(key)) if each is not None]
            want[key] = _like(server, backend, min(bounds, default=None), have.get(key))
    for key, runs in have.items():
        # Its node is gone, or its lane: what it carries may end first.
        if key not in want:
            if runs.state is ServerState.READY:
                want[key] = replace(runs, state=ServerState.DRAIN)
            elif runs.sessions:
                want[key] = runs
    return want


def _like(server: Server, backend: str, maxconn: int | None, runs: Server | None) -> Server:
    """`server` in another lane; what runs is given back itself if it is right."""
    if runs is not None and (
        runs.address == server.address
        and runs.port == server.port
        and runs.weight == server.weight
        and runs.state is server.state
        and runs.maxconn == maxconn
        and runs.tls == server.tls
        and (not server.tls or (runs.verify == server.verify and runs.sni == server.sni))
    ):
        return runs
    return replace(server, backend=backend, maxconn=maxconn, sessions=0, marked_down=False)


def _joined(first: tuple[Change, ...], more: tuple[Change, ...]) -> tuple[Change, ...]:
    """Both, with one reload at the front if any asks for one."""
    reloads = [change for change in (*first, *more) if change.kind is ChangeKind.RELOAD]
    rest = [change for change in (*first, *more) if change.kind is not ChangeKind.RELOAD]
    return (*reloads[:1], *rest)


def _is_other(backend: str) -> bool:
    return backend.startswith(BACKEND_PREFIX) and ":" in backend
