"""The ordered changes from what runs to what is wanted, and what a routing is after them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nodegate.model import Change, ChangeKind, Routing, Server, ServerState
from nodegate.routing.plan import Key, pool_of

_RANK = {kind: rank for rank, kind in enumerate(ChangeKind)}
_STATE_RANK = {ServerState.READY: 0, ServerState.DRAIN: 1, ServerState.MAINT: 2}


def diff(running: Routing, wanted: Routing) -> tuple[Change, ...]:
    """What to do, in this order: reload, add, set what a server is, bring servers in, take servers out, set
    maps, delete. So capacity never dips on the way, and no route leads to what is not there yet.

    Each change but `reload` and `add` sets one thing of one server, so safety can withhold one without the
    others. A `reload` carries the wanted skeleton; the plan goes on behind it as if there were none, since
    a reload may be refused. The driver writes the whole outcome (`applied`) into the configuration file
    before it reloads: after a reload that succeeded, the changes behind it are already done.

    TLS, its server name and its verification are fixed when a server is born. A server that serves nothing
    now is deleted and added again; for one in service the same pair follows a reload, which swaps it
    without losing a request.
    """
    changes: list[Change] = []
    replaced: list[Change] = []
    reloads: list[str] = []
    runs = running.servers
    for key, want in wanted.servers.items():
        have = runs.get(key)
        if have is want:
            continue
        if have is None:
            changes.append(Change(kind=ChangeKind.ADD, why="not there yet", server=want))
        elif _born_alike(have, want):
            changes += _settings(have, want)
        else:
            why = _rebirth(have, want)
            if not _idle(have):
                reloads.append(f"{want.name} in pool {pool_of(want.backend)}: {why}")
            replaced.append(Change(kind=ChangeKind.DELETE, why=why, server=have))
            replaced.append(Change(kind=ChangeKind.ADD, why=why, server=want))
    changes += [
        Change(kind=ChangeKind.DELETE, why="not wanted any more", server=have)
        for key, have in runs.items()
        if key not in wanted.servers
    ]
    changes += [
        Change(kind=ChangeKind.SET_MAP, why=_map_why(running, name, entries), map_name=name, entries=entries)
        for name, entries in wanted.maps.items()
        if running.maps.get(name) != entries
    ]
    changes.sort(key=_rank)
    reason = _reload_reason(running, wanted, reloads)
    first = (Change(kind=ChangeKind.RELOAD, why=reason, skeleton=wanted.skeleton),) if reason else ()
    return (*first, *changes, *replaced)


def applied(running: Routing, changes: Iterable[Change]) -> Routing:
    """The routing after `changes`, if HAProxy takes them all: what the configuration file has to say."""
    skeleton = running.skeleton
    servers = dict(running.servers)
    maps = dict(running.maps)
    for change in changes:
        if change.kind is ChangeKind.RELOAD:
            skeleton = change.skeleton or skeleton
        elif change.kind is ChangeKind.SET_MAP and change.map_name is not None:
            maps[change.map_name] = change.entries or {}
        elif change.server is not None:
            _apply(servers, change.kind, change.server)
    return Routing(skeleton=skeleton, servers=servers, maps=maps)


def _apply(servers: dict[Key, Server], kind: ChangeKind, server: Server) -> None:
    key = (server.backend, server.name)
    have = servers.get(key)
    if kind is ChangeKind.ADD:
        servers[key] = server
    elif kind is ChangeKind.DELETE:
        servers.pop(key, None)
    elif have is None:
        return
    elif kind is ChangeKind.SET_ADDRESS:
        servers[key] = replace(have, address=server.address, port=server.port)
    elif kind is ChangeKind.SET_WEIGHT:
        servers[key] = replace(have, weight=server.weight)
    elif kind is ChangeKind.SET_MAXCONN:
        servers[key] = replace(have, maxconn=server.maxconn)
    elif kind is ChangeKind.SET_STATE:
        servers[key] = replace(have, state=server.state)


def _rank(change: Change) -> tuple[int, int, str, str]:
    server = change.server
    if server is None:
        return _RANK[change.kind], 0, "", change.map_name or ""
    state = _STATE_RANK[server.state] if change.kind is ChangeKind.SET_STATE else 0
    return _RANK[change.kind], state, server.backend, server.name


def _settings(have: Server, want: Server) -> list[Change]:
    """The changes of one server that stays."""
    changes = []
    if (have.address, have.port) != (want.address, want.port):
        why = f"{_place(have)} → {_place(want)}"
        changes.append(Change(kind=ChangeKind.SET_ADDRESS, why=why, server=want))
    if have.weight != want.weight:
        why = f"weight {have.weight} → {want.weight}"
        changes.append(Change(kind=ChangeKind.SET_WEIGHT, why=why, server=want))
    if have.maxconn != want.maxconn:
        why = f"requests at once {have.maxconn or 'unbounded'} → {want.maxconn or 'unbounded'}"
        changes.append(Change(kind=ChangeKind.SET_MAXCONN, why=why, server=want))
    if have.state is not want.state:
        why = f"{have.state} → {want.state}"
        changes.append(Change(kind=ChangeKind.SET_STATE, why=why, server=want))
    return changes


def _born_alike(have: Server, want: Server) -> bool:
    if have.tls != want.tls:
        return False
    return not want.tls or (have.verify == want.verify and have.sni == want.sni)


def _rebirth(have: Server, want: Server) -> str:
    """Why a server must be born again, in words."""
    if have.tls != want.tls:
        what = "speaks TLS now" if want.tls else "speaks plain HTTP now"
    elif have.verify != want.verify:
        what = (
            "its certificate is verified now" if want.verify else "its certificate is not verified any more"
        )
    else:
        what = f"its TLS server name is {want.sni or 'none'} now"
    return f"{what}, which no running server can change"


def _idle(server: Server) -> bool:
    """Whether a server serves nothing now and gets nothing new."""
    return server.sessions == 0 and (server.state is not ServerState.READY or server.marked_down)


def _place(server: Server) -> str:
    host = f"[{server.address}]" if ":" in server.address else server.address
    return f"{host}:{server.port}"


def _map_why(running: Routing, name: str, entries: Mapping[str, str]) -> str:
    before = running.maps.get(name)
    return f"{'no' if before is None else len(before)} → {len(entries)} entries"


def _reload_reason(running: Routing, wanted: Routing, reloads: list[str]) -> str:
    """Why a reload is needed, naming what is known to have changed; empty when none is."""
    if running.skeleton == wanted.skeleton:
        return "; ".join(reloads[:3]) + (f" and {len(reloads) - 3} more" if len(reloads) > 3 else "")
    known = {backend for backend, _ in running.servers}
    fresh = sorted({pool_of(backend) for backend, _ in wanted.servers if backend not in known})
    reason = "the shape of the gateway changed (listeners, pools or their settings), which no running HAProxy can take on"
    return f"{reason}; pools without servers so far: {', '.join(fresh[:5])}" if fresh else reason
