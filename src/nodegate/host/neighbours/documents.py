"""Neighbours as JSON documents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nodegate.host.neighbours.tracks import Row, cut_off
from nodegate.host.neighbours.values import Neighbour


def neighbour_document(neighbour: Neighbour) -> dict[str, Any]:
    """One neighbour as the node describes it."""
    return {
        "uri": neighbour.uri,
        "name": neighbour.name,
        "address": neighbour.address,
        "connected": neighbour.connected,
        "relation": neighbour.relation,
        "counters": dict(neighbour.counters.known_values()),
    }


def list_document(node: str, neighbours: Sequence[Neighbour]) -> dict[str, Any]:
    """What `list` prints."""
    return {"node": node, "neighbours": [neighbour_document(one) for one in neighbours]}


def look_document(node: str, at: str, found: Sequence[Row], removed: Sequence[str]) -> dict[str, Any]:
    """What `watch` prints after each look; times are in seconds."""
    return {
        "node": node,
        "at": at,
        "cut_off": cut_off(found),
        "removed": list(removed),
        "neighbours": [
            neighbour_document(row.neighbour)
            | {
                "state": row.state.value,
                "quiet_seconds": round(row.quiet, 1),
                "behind_seconds": round(row.behind, 1),
                "per_minute": {name: round(rate, 1) for name, rate in row.per_minute.items()},
                "news": list(row.news),
            }
            for row in found
        ],
    }
