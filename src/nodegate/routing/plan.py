"""The wanted routing: inventory, verdicts and intents as servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from nodegate.model import (
    Intent,
    Inventory,
    Judgement,
    Node,
    Routing,
    Server,
    ServerState,
    Status,
    Verdict,
)
from nodegate.settings import PoolSettings, Settings

BACKEND_PREFIX = "pool_"
"""HAProxy's other backends (the answers to no pool, the exporter) are none of the planner's business."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a URL leads: its host, port, and whether to speak TLS and with which server name."""

    host: str
    port: int
    tls: bool
    sni: str | None

    @property
    def literal(self) -> str | None:
        """The host if it is an IP address."""
        return self.host if _is_ip(self.host) else None


def backend_of(pool: str) -> str:
    """The name of a pool's backend."""
    return BACKEND_PREFIX + pool


def pool_of(backend: str) -> str:
    """The pool of a backend that `backend_of` named."""
    return backend.removeprefix(BACKEND_PREFIX)


def by_server(inventory: Inventory) -> dict[Key, Node]:
    """The nodes by the server that each has or would have."""
    backends: dict[str, str] = {}
    nodes: dict[Key, Node] = {}
    for node in inventory.nodes:
        backend = backends.get(node.pool)
        if backend is None:
            backend = backends[node.pool] = backend_of(node.pool)
        nodes[backend, node.id] = node
    return nodes


@lru_cache(maxsize=65_536)
def endpoint(url: str) -> Endpoint:
    """The endpoint of a node's URL. Raises ValueError for what `settings.checked_url` refuses."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    return Endpoint(host, parts.port or (443 if tls else 80), tls, host if tls and not _is_ip(host) else None)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Pool:
    """What all servers of one pool have in common."""

    backend: str
    settings: PoolSettings
    fall: int
    bound: int | None


def desired(
    inventory: Inventory,
    judgement: Judgement,
    running: Routing | None,
    *,
    settings: Settings,
    skeleton: str,
    maps: Mapping[str, Mapping[str, str]],
    bounds: Mapping[str, int] | None = None,
) -> Routing:
    """What HAProxy should do, as if nothing could go wrong; safety comes after. `bounds` are a policy's on
    requests at once per node, by pool; the lesser of it and the node's own counts.

    | node                    | runs                                        | does not run |
    |-------------------------|---------------------------------------------|--------------|
    | intent remove, or gone  | DRAIN while it has requests, then absent    | absent       |
    | intent drain            | DRAIN                                       | absent       |
    | up                      | READY with its weight                       | READY        |
    | degraded                | READY with a share of its weight (≥ 1)      | READY        |
    | down                    | MAINT, all else as it runs                  | absent       |
    | unknown                 | as it runs                                  | absent       |

    A node whose only failure so far is its very first observation counts as unknown here: the server was
    left by an earlier nodegate, and one lost packet must not take it out. Weight 0 is the operator's word
    for "no traffic" and stays 0 when degraded. The address is the one that probes proved, not what a name
    resolves to elsewhere.
    """
    present = running.servers if running is not None else {}
    pools: dict[str, _Pool] = {}
    wanted: dict[Key, Server] = {}
    nodes = by_server(inventory)
    for key, node in nodes.items():
        pool = pools.get(node.pool)
        if pool is None:
            pool = pools[node.pool] = _Pool(
                key[0], settings.pool(node.pool), settings.health.fall, (bounds or {}).get(node.pool)
            )
        server = _server(node, judgement.verdicts.get(node.id), present.get(key), pool)
        if server is not None:
            wanted[key] = server
    for key, runs in present.items():
        if key in nodes:
            continue
        kept = _leaving(runs) if key[0].startswith(BACKEND_PREFIX) else runs
        if kept is not None:
            wanted[key] = kept
    return Routing(skeleton=skeleton, servers=wanted, maps=maps)


def _server(node: Node, verdict: Verdict | None, runs: Server | None, pool: _Pool) -> Server | None:
    """The wanted server of one node, None for no server. What runs is given back itself if it is right."""
    if node.intent is Intent.REMOVE:
        return _leaving(runs) if runs is not None else None
    if node.intent is Intent.DRAIN:
        return _in_state(runs, ServerState.DRAIN) if runs is not None else None
    if verdict is None or verdict.status is Status.UNKNOWN:
        return runs
    if verdict.status is Status.DOWN:
        if runs is None or 0 < verdict.failures < pool.fall:
            return runs
        return _in_state(runs, ServerState.MAINT)
    return _serving(node, verdict, runs, pool)


def _serving(node: Node, verdict: Verdict, runs: Server | None, pool: _Pool) -> Server | None:
    """The server of a node that may serve; None only if no address is known, which proves no probe."""
    target = endpoint(node.url)
    address = node.address or verdict.address or (runs.address if runs is not None else target.literal)
    if address is None:
        return None
    weight = node.weight
    if verdict.status is Status.DEGRADED and weight:
        weight = max(1, round(weight * pool.settings.degraded_weight))
    maxconn = node.maxconn if node.maxconn is not None else pool.settings.maxconn
    if pool.bound is not None:
        maxconn = pool.bound if maxconn is None else min(maxconn, pool.bound)
    verify = node.tls_verify if target.tls else True
    if runs is not None and (
        runs.address == address
        and runs.port == target.port
        and runs.weight == weight
        and runs.state is ServerState.READY
        and runs.maxconn == maxconn
        and runs.tls == target.tls
        and (not target.tls or (runs.verify == verify and runs.sni == target.sni))
    ):
        return runs
    return Server(
        backend=pool.backend,
        name=node.id,
        address=address,
        port=target.port,
        weight=weight,
        state=ServerState.READY,
        maxconn=maxconn,
        tls=target.tls,
        verify=verify,
        sni=target.sni,
    )


def _leaving(runs: Server) -> Server | None:
    """No new requests; gone once it is out of service and the last request is over."""
    if runs.state is ServerState.READY:
        return _in_state(runs, ServerState.DRAIN)
    return runs if runs.sessions else None


def _in_state(runs: Server, state: ServerState) -> Server:
    return runs if runs.state is state else replace(runs, state=state)
