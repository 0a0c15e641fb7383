"""How often a loop may run that others wake: a bucket of time. Pure."""

from __future__ import annotations

from nodegate.model import Instant, Seconds

SHARE = 0.25
"""Share of the wall time that the loop may take in the long run: a quarter of a core on our side. For reading,
about as much on Consul's."""
BURST = Seconds(3.0)
"""Seconds of work that may be saved up: a change after a quiet time, and the changes that follow from it, never
wait."""
CHEAPEST = Seconds(0.01)
"""What a round costs at least. An index that never settles would otherwise spin: 25 rounds a second at most."""
LONGEST = Seconds(1.0)
"""The longest rest. Where one round alone costs more than a third of this, no change waits for a multiple of it."""


class Budget:
    """A token bucket whose tokens are seconds of work: small rounds may be many, large ones few."""

    def __init__(self, *, share: float = SHARE, burst: Seconds = BURST, longest: Seconds = LONGEST) -> None:
        self._share = share
        self._burst = burst
        self._debt = longest * share
        self._level: float = burst
        self._at: Instant | None = None

    def spend(self, cost: Seconds, now: Instant) -> None:
        """Note that a round took `cost` until `now`."""
        self._fill(now)
        self._level = max(-self._debt, self._level - max(CHEAPEST, cost))

    def rest(self, now: Instant) -> Seconds:
        """How long to wait before the next round."""
        self._fill(now)
        return Seconds(max(0.0, -self._level / self._share))

    def _fill(self, now: Instant) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._level = min(self._burst, self._level + passed * self._share)
        self._at = now
