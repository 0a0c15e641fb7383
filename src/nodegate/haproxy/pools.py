"""Which pools there are, which requests lead to them, and which methods may be sent twice: the maps.

Maps change at run time; only a new pool or a path prefix deeper than any before needs a reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nodegate.haproxy.guarded import MAIN_LANE, Guarded
from nodegate.haproxy.paths import METHODS, ROUTES
from nodegate.haproxy.services import CATCH_ALL, Services, maps_of
from nodegate.model import Traffic
from nodegate.settings import Settings, routes_of

SOLE = "*"
"""The key of the one pool that takes every request: no host name has this character."""

BACKEND_PREFIX = "pool_"


def backend_name(pool: str, lane: str = MAIN_LANE) -> str:
    """The backend of a pool's lane: `pool_POOL`, and `pool_POOL:LANE` for other lanes than the main one.
    A pool's name has no colon, so no two of them can share a backend."""
    return BACKEND_PREFIX + pool + ("" if lane == MAIN_LANE else f":{lane}")


def pool_and_lane(backend: str) -> tuple[str, str]:
    """The pool and the lane of a backend that `backend_name` named."""
    pool, colon, lane = backend.removeprefix(BACKEND_PREFIX).partition(":")
    return pool, lane if colon else MAIN_LANE


def other_lanes(guarded: Guarded, pool: str) -> tuple[str, ...]:
    """The lanes of a pool that need a backend beside the pool's own, in order of name."""
    return tuple(sorted(set(guarded.lanes(pool)) - {MAIN_LANE}))


def pool_names(settings: Settings, pools: Iterable[str]) -> tuple[str, ...]:
    """All pools that need a backend, in order of name: those of the file and `pools`, those that nodes of
    the registry name. With none at all there is `main`, so that a first node needs no reload."""
    declared = {*settings.pools, *(node.pool for node in settings.nodes), *pools}
    return tuple(sorted(declared or {"main"}))


def route_entries(
    settings: Settings,
    pools: Iterable[str],
    guarded: Guarded | None = None,
    services: Services | None = None,
) -> dict[str, str]:
    """The routes map: `HOST/PATH/` → `POOL/DEPTH`, where DEPTH is how many path segments are cut, and
    `POOL/DEPTH/KIND` for pools under a policy.

    Keys end in `/` and are looked up as prefixes of `HOST PATH /`, so `/evm` never claims `/evmos`. The
    longest key wins. A pool of the file keeps a route that another pool would get by default. Where services bring
    routes along, their pools have those only, and what takes whatever nothing else does comes after them: the
    pool `main`, unless the file gives it paths, stands under a key of its own. A pool that takes everything alone
    stands under `SOLE` too, where it is found at once.
    """
    names = pool_names(settings, pools)
    entries: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name not in settings.pools, name)):
        pool = settings.pool(name)
        if services is not None and name in services.pools and name not in settings.pools:
            continue
        for route in routes_of(name, pool):
            path = route[route.index("/") :].rstrip("/")
            depth = path.count("/") if pool.strip_path else 0
            policy = guarded.of(name) if guarded is not None else None
            kind = f"/{policy.kind}" if policy is not None else ""
            last = services is not None and route == "/" and pool.paths is None
            entries.setdefault(CATCH_ALL if last else route.rstrip("/") + "/", f"{name}/{depth}{kind}")
    if entries.keys() == {"/"}:
        entries[SOLE] = entries["/"]
    return dict(sorted(entries.items()))


def method_entries(
    settings: Settings, pools: Iterable[str], traffic: Mapping[str, Traffic]
) -> dict[str, str]:
    """The methods map: `POOL/METHOD` → `idempotent` for each method that may be sent to a second node."""
    entries = {
        f"{name}/{method}": "idempotent"
        for name in pool_names(settings, pools)
        for method in traffic.get(name, Traffic()).idempotent
        if traffic[name].method_key is not None
    }
    return dict(sorted(entries.items()))


def map_entries(
    settings: Settings,
    pools: Sequence[str],
    traffic: Mapping[str, Traffic],
    guarded: Guarded | None = None,
    services: Services | None = None,
) -> dict[str, dict[str, str]]:
    """The maps that the configuration for `pools` refers to, by name, as `Routing.maps` holds them."""
    guarded = guarded or Guarded()
    maps = {ROUTES: route_entries(settings, pools, guarded, services)}
    plain = [name for name in pool_names(settings, pools) if guarded.of(name) is None]
    if any(traffic[name].method_key for name in plain if name in traffic):
        maps[METHODS] = method_entries(settings, pools, traffic)
    return maps | (maps_of(services, guarded) if services is not None else {}) | guarded.maps()
