"""How often a loop may run that others wake: a bucket of time. Pure."""

from __future__ import annotations

from nodegate.model import Instant, Seconds

SHARE = 0.25
"""Share of the wall time that reading may take in the long run: a quarter of a core on our side, about as much
on Consul's."""
BURST = Seconds(1.0)
"""Seconds of reading that may be saved up, so that a first change is always read at once."""
CHEAPEST = Seconds(0.01)
"""What a read costs at least. An index that never settles would otherwise spin: 25 reads a second at most."""


class Budget:
    """A token bucket whose tokens are seconds of reading: small reads may be many, large ones few."""

    def __init__(self, *, share: float = SHARE, burst: Seconds = BURST) -> None:
        self._share = share
        self._burst = burst
        self._level: float = burst
        self._at: Instant | None = None

    def spend(self, cost: Seconds, now: Instant) -> None:
        """Note that a read took `cost` until `now`."""
        self._fill(now)
        self._level -= max(CHEAPEST, cost)

    def rest(self, now: Instant) -> Seconds:
        """How long to wait before the next read."""
        self._fill(now)
        return Seconds(max(0.0, -self._level / self._share))

    def _fill(self, now: Instant) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._level = min(self._burst, self._level + passed * self._share)
        self._at = now
