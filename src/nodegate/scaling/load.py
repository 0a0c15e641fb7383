"""The load of a pool, from counters that HAProxy only ever counts up, and sometimes starts anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from nodegate.model import Instant, Seconds

WINDOW = Seconds(30.0)
"""Over so many seconds the rate is taken: longer than a burst, shorter than the default cool-down."""
LEAST = Seconds(5.0)
"""A rate of less than so many seconds is a guess."""


class Meter:
    """Requests a second of one pool. Feed it the counters of each pass; it owns no clock."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._total = 0
        self._samples: deque[tuple[Instant, int]] = deque()

    def seen(self, at: Instant, counts: Mapping[str, int]) -> None:
        """The pool's servers had answered `counts` requests at `at`. A counter that went back started anew,
        as it does with every new HAProxy process; what it shows was counted since."""
        if self._samples:
            for name, count in counts.items():
                last = self._last.get(name, 0)
                self._total += count - last if count >= last else count
        self._last = dict(counts)
        self._samples.append((at, self._total))
        while len(self._samples) > 1 and self._samples[1][0] <= at - WINDOW:
            self._samples.popleft()

    def rate(self) -> float | None:
        """Requests a second over the window; None while too little was seen."""
        if len(self._samples) < 2:
            return None
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        if last - first < LEAST:
            return None
        return (now - before) / (last - first)
