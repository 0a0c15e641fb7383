"""The daemon's clock: wall time at start, steady ever after."""

from __future__ import annotations

import time

from nodegate.model import Instant


class SteadyClock:
    """Seconds since the epoch that never step: a corrected system clock must not look like an outage."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> Instant:
        """The wall time of the process start plus the steady time since."""
        return Instant(self._offset + time.monotonic())
