"""Shares of requests, and shares as HAProxy's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from nodegate.routes.values import Target

FULL = 256
USUAL = 100
"""HAProxy's greatest weight, and that of a node where none differs."""


def shares(targets: Sequence[Target], out: Set[str] = frozenset()) -> dict[str, float]:
    """Each node's share of a route's requests, all together 1 (unless all weights are 0).

    Fixed weights are shares as they stand. They are brought to a sum of 1 when it is greater, or when nobody
    has a dynamic one; else the rest is shared by those, in proportion to `part`, and a rest of 0 gives them
    nothing. Nodes in `out` do not count, as if they were not there, unless all are out; they still get the
    share that they would have.
    """
    alive = [target for target in targets if target.node_id not in out]
    shared = _shares(alive or targets)
    for target in targets:
        if target.node_id not in shared:
            shared[target.node_id] = _shares([*alive, target])[target.node_id]
    return shared


def _shares(targets: Sequence[Target]) -> dict[str, float]:
    fixed = sum(target.weight for target in targets)
    parts = sum(target.part for target in targets if not target.weight)
    scale = 1.0 if fixed <= 1 and parts else 1.0 / (fixed or 1.0)
    rest = max(0.0, 1.0 - fixed)
    return {
        target.node_id: target.weight * scale if target.weight else rest * target.part / (parts or 1)
        for target in targets
    }


def weights(shared: Mapping[str, float]) -> dict[str, int]:
    """Shares as weights in the same proportions: `USUAL` for the smallest as long as there is room above it, at
    least 1 for whatever is not 0."""
    positive = [share for share in shared.values() if share > 0]
    if not positive:
        return dict.fromkeys(shared, 0)
    least, factor = min(positive), min(USUAL, FULL * min(positive) / max(positive))
    return {name: max(1, round(share / least * factor)) if share > 0 else 0 for name, share in shared.items()}
