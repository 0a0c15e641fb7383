"""How often somebody may try to log in. Time is passed in, in seconds."""

from __future__ import annotations

from collections import deque

WINDOW = 60.0
PER_CLIENT = 5
"""Failures of one address within `WINDOW`: enough for typing errors."""
IN_ALL = 30
"""Failures of all addresses together within `WINDOW`: many addresses guess no faster than that."""
CLIENTS = 4096
"""Addresses that are remembered at most."""


class Throttle:
    """Counts failures in a sliding window."""

    def __init__(self) -> None:
        self._all: deque[float] = deque(maxlen=IN_ALL)
        self._by_client: dict[str, deque[float]] = {}

    def wait(self, client: str, now: float) -> float:
        """Seconds that `client` has to wait before it may try, 0 for none."""
        mine = self._by_client.get(client)
        return max(_wait(self._all, IN_ALL, now), 0.0 if mine is None else _wait(mine, PER_CLIENT, now))

    def failed(self, client: str, now: float) -> None:
        """A wrong password. To be counted before the password is looked at, so that tries at once count too."""
        self._all.append(now)
        self._by_client.setdefault(client, deque(maxlen=PER_CLIENT)).append(now)
        if len(self._by_client) > CLIENTS:
            old = [name for name, times in self._by_client.items() if now - times[-1] >= WINDOW]
            for name in old or [next(iter(self._by_client))]:
                del self._by_client[name]

    def succeeded(self, client: str) -> None:
        """It was the right one after all: take back what `failed` counted, and nothing else, or whoever knows
        one password could guess another one without an end."""
        if self._all:
            self._all.pop()
        if mine := self._by_client.get(client):
            mine.pop()
            if not mine:
                del self._by_client[client]


def _wait(times: deque[float], most: int, now: float) -> float:
    """Seconds until the oldest of `most` failures leaves the window."""
    return max(0.0, times[0] + WINDOW - now) if len(times) >= most else 0.0
