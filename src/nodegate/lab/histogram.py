"""Latencies in little memory: counts in buckets that are 2 % wide. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from nodegate.model import Seconds

_WIDTH: Final = math.log(1.02)
_SMALLEST: Final = 1e-6  # seconds; nothing that crosses a socket is faster


class Histogram:
    """Counts durations; percentiles are at most 2 % too high, the largest duration is exact."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._largest = 0.0
        self.count = 0

    def add(self, duration: float) -> None:
        """Count one duration in seconds."""
        self._buckets[math.ceil(math.log(max(duration, _SMALLEST) / _SMALLEST) / _WIDTH)] += 1
        self._largest = max(self._largest, duration)
        self.count += 1

    def percentile(self, share: float) -> Seconds | None:
        """The duration that `share` (0 to 1) of all stay within; None when there are none."""
        if self.count == 0:
            return None
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return Seconds(min(self._largest, _SMALLEST * math.exp(bucket * _WIDTH)))
        return Seconds(self._largest)
