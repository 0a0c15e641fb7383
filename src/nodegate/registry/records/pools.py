"""What makes a node fit its pool."""

from __future__ import annotations

from urllib.parse import urlsplit

from nodegate.errors import Fault
from nodegate.model import Inventory, Node
from nodegate.settings import Settings, routes_of


def conflicts(node: Node, inventory: Inventory, settings: Settings, *, file: str = "node") -> Fault | None:
    """Why `node` cannot join its pool, None if it can.

    A pool holds one kind and one upstream path, because HAProxy sends the same request to any of its
    nodes; and a pool that only this node brings into being must not claim a route that has an owner.
    A node that is in the inventory with the same pool, kind and URL is not asked again.
    """
    others = [other for other in inventory.nodes if other.id != node.id]
    known = next((other for other in inventory.nodes if other.id == node.id), None)
    if known is not None and (known.pool, known.kind, known.url) == (node.pool, node.kind, node.url):
        return None
    pool = settings.pool(node.pool)
    if (path := urlsplit(node.url).path) != pool.upstream_path:
        wanted = pool.upstream_path or "/"
        return _fault(
            file,
            "url",
            f"the path {path or '/'!r} differs from {wanted!r}, the upstream_path of pool {node.pool!r}; "
            "all nodes of a pool have one path",
        )
    kind = pool.kind or next((other.kind for other in others if other.pool == node.pool), None)
    if kind is not None and kind != node.kind:
        return _fault(
            file,
            "kind",
            f"pool {node.pool!r} holds {kind} nodes, this one is {node.kind}; give it another pool",
        )
    if owned := _owned_route(node.pool, {other.pool for other in others}, settings):
        route, owner = owned
        return _fault(
            file, "pool", f"the route {route!r} of pool {node.pool!r} already leads to pool {owner!r}"
        )
    return None


def _fault(file: str, key: str, message: str) -> Fault:
    return Fault(file=file, line=None, key=key, message=message)


def _owned_route(pool: str, present: set[str], settings: Settings) -> tuple[str, str] | None:
    """A route that `pool` would claim by its default and that another pool has, with that pool's name."""
    if pool in present or pool in settings.pools:
        return None
    wanted = routes_of(pool, settings.pool(pool))
    for owner in sorted({*settings.pools, *present}):
        for route in routes_of(owner, settings.pool(owner)):
            if route in wanted:
                return route, owner
    return None
