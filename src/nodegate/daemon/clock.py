"""The daemon's clock: steady, and steered gently towards the system's."""

from __future__ import annotations

import time

from nodegate.model import Instant

SLEW = 0.2
"""How much faster or slower than real time it runs while it is wrong: a machine that was ten minutes off when nodegate
started has the right time fifty minutes after its own clock was set. All patience of the daemon (ages, intervals) is
that much shorter or longer meanwhile, which none of it minds."""


class SteadyClock:
    """Seconds since the epoch that never step: a corrected system clock must not look like an outage.

    They may not stay wrong either: blocks, bans and other gateways have the true time.
    """

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._offset = time.time() - self._asked

    def now(self) -> Instant:
        """The time. It goes on by 0.8 to 1.2 seconds in each real one."""
        asked = time.monotonic()
        error = time.time() - asked - self._offset
        most = SLEW * (asked - self._asked)
        self._offset += max(-most, min(most, error))
        self._asked = asked
        return Instant(self._offset + asked)
