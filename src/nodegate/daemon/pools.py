"""The pools that there are, out of settings and nodes. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from nodegate.model import Intent, Inventory
from nodegate.settings import Settings

LANES_UP_TO = 1000
"""Larger pools have no lanes. A lane is every node once more in HAProxy, and bounds what one node gets at once;
where nodes are not fewer than the requests under way, balancing by least connections bounds that already."""


def crowded_pools(inventory: Inventory) -> frozenset[str]:
    """Pools with more than `LANES_UP_TO` nodes."""
    sizes = Counter(node.pool for node in inventory.nodes)
    return frozenset(pool for pool, size in sizes.items() if size > LANES_UP_TO)


def pools_of(settings: Settings, inventory: Inventory) -> dict[str, str]:
    """All pools and their kinds: the declared ones, those that nodes name, and always `main`."""
    pools = {name: pool.kind for name, pool in settings.pools.items()}
    staying = (node for node in inventory.nodes if node.intent is not Intent.REMOVE)
    leaving = (node for node in inventory.nodes if node.intent is Intent.REMOVE)
    for node in chain(staying, leaving):  # one that leaves may be of another kind than its pool
        if pools.get(node.pool) is None:
            pools[node.pool] = node.kind
    return {"main": "http"} | {name: kind or "http" for name, kind in pools.items()}
