"""Which worker of a parallel run starts with what: the longest tests first, those of one service together.

xdist gives every worker an equal piece of the list and lets idle workers steal from the ends of the others' pieces.
So what stands at the beginning of a piece is started at once, and what takes long never starts last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pytest

LONG = 300.0
"""Seconds: a test that asks for a time-out of so much is long."""
SHARED = "cloud"
"""The fixture whose tests wait for each other: one worker takes them all, and no other is kept waiting."""


def pieces(total: int, workers: int) -> list[int]:
    """How many tests xdist's `worksteal` gives each worker at the start."""
    sizes = []
    for left in range(workers, 0, -1):
        sizes.append((total - sum(sizes)) // left)
    return sizes


def long_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The same tests, the long ones at the beginnings of the workers' pieces. All others keep their order."""
    lanes: list[list[pytest.Item]] = [[] for _ in range(workers)]
    modules: dict[str, list[pytest.Item]] = defaultdict(list)
    rest = []
    for item in items:
        if SHARED in getattr(item, "fixturenames", ()):
            lanes[0].append(item)
        elif _patience(item) >= LONG:
            modules[item.nodeid.partition("::")[0]].append(item)
        else:
            rest.append(item)
    others = lanes[1:] or lanes
    by_length = sorted(modules, key=lambda name: (-max(map(_patience, modules[name])), name))
    for place, name in enumerate(by_length):
        others[place % len(others)].extend(modules[name])
    return _laid_out(lanes, rest, pieces(len(items), workers))


def _patience(item: pytest.Item) -> float:
    """The time-out that the test asks for, 0 for the usual one."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None and marker.args else 0.0


def _laid_out(
    lanes: Iterable[list[pytest.Item]], rest: list[pytest.Item], sizes: list[int]
) -> list[pytest.Item]:
    """The lanes one behind the other, each filled up to its size."""
    laid: list[pytest.Item] = []
    left = list(rest)
    end = 0
    for lane, size in zip(lanes, sizes, strict=True):
        end += size
        laid += lane
        missing = max(0, end - len(laid))
        laid += left[:missing]
        del left[:missing]
    return laid
