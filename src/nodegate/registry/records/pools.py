"""What makes a node fit its pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from nodegate.errors import Fault
from nodegate.model import Intent, Inventory, Node, Source
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
    kinds = Counter(other.kind for other in others if other.pool == node.pool)
    # Of several kinds that of most nodes: `of_one_kind` leaves out the rest.
    kind = pool.kind or max(kinds, key=kinds.__getitem__, default=None)
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


def of_one_kind(
    inventory: Inventory, settings: Settings, before: Mapping[str, str], known: Container[str]
) -> tuple[Inventory, dict[str, str]]:
    """The inventory without nodes that are not of their pool's kind, each with a fault, and the kinds by pool.

    Whoever registers a service elsewhere may name any kind and any pool. A pool's kind decides which firewall stands
    before it and how its nodes are compared, so no newcomer may change it. In this order it is the one that the
    settings say, that nodegate.toml's nodes have, that is `known` at all, that the pool had `before`, that the
    registry's own nodes have, that most nodes have. Nodes that are being removed stay: they do not serve.
    """
    seen: dict[str, Counter[str]] = {}
    for node in inventory.nodes:
        seen.setdefault(node.pool, Counter())[node.kind] += 1
    kinds = {pool: settings.pool(pool).kind or next(iter(counts)) for pool, counts in seen.items()}
    mixed = {pool for pool, counts in seen.items() if counts.keys() != {kinds[pool]}}
    if not mixed:
        return inventory, {**before, **kinds}
    owned = {(node.pool, node.kind, node.source) for node in inventory.nodes if node.pool in mixed}
    for pool in mixed:
        ranks = {
            (
                (pool, kind, Source.FILE) not in owned, kind not in known, kind != before.get(pool),
                (pool, kind, Source.REGISTRY) not in owned, -count, kind,
            ): kind
            for kind, count in seen[pool].items()
        }  # fmt: skip
        kinds[pool] = settings.pool(pool).kind or ranks[min(ranks)]
    strangers = [
        node for node in inventory.nodes if node.kind != kinds[node.pool] and node.intent is not Intent.REMOVE
    ]
    faults = (
        f"node {node.id!r}: pool {node.pool!r} holds {kinds[node.pool]} nodes, this one is {node.kind}; "
        "it is left out. Give it another pool"
        for node in strangers
    )
    out = {node.id for node in strangers}
    fitting = tuple(node for node in inventory.nodes if node.id not in out)
    return replace(inventory, nodes=fitting, faults=(*inventory.faults, *faults)), {**before, **kinds}


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
