"""Counts of what was seen, by command and by client, in bounded memory."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from itertools import count
from typing import NamedTuple

MAX_COMMANDS = 500
"""Names that have a row of their own; more come under OTHERS. A hostile client can invent names."""
MAX_CLIENTS = 20_000
MAX_CLIENTS_EACH = 2000
"""Clients that are told apart: of all, and of each command."""
OTHERS = "(others)"
STEPS = 32
"""Steps of the latency histogram for each factor of 2: percentiles are right within 1.1 %."""
SMALLEST = 1e-6


class Latencies:
    """A histogram of seconds with steps of equal ratio."""

    __slots__ = ("_steps", "largest", "total")

    def __init__(self) -> None:
        self._steps: Counter[int] = Counter()
        self.total = 0
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._steps[math.floor(math.log2(max(seconds, SMALLEST)) * STEPS)] += 1
        self.total += 1
        self.largest = max(self.largest, seconds)

    def percentile(self, share: float) -> float | None:
        """Seconds that `share` (0 to 1) of all took at most; None when there are none."""
        if not self.total:
            return None
        wanted = share * self.total
        seen = 0
        for step in sorted(self._steps):
            seen += self._steps[step]
            if seen >= wanted:
                return min(math.exp2((step + 0.5) / STEPS), self.largest)
        return self.largest


class Request:
    """A request that was seen whole. `mark` is a position in the server's bytes: the answer begins there or behind.

    `began` is the time of its last byte, in seconds since the epoch.
    """

    __slots__ = (
        "began",
        "client",
        "commands",
        "excerpt",
        "gave_up",
        "head",
        "mark",
        "reference",
        "size",
        "status",
    )

    def __init__(
        self, *, began: float, client: bytes, commands: tuple[str, ...], size: int, mark: int, head: bool,
        excerpt: bytes, reference: bool,
    ) -> None:  # fmt: skip
        self.began, self.client, self.commands, self.size = began, client, commands, size
        self.mark, self.head, self.excerpt, self.reference = mark, head, excerpt, reference
        self.gave_up: str | None = None
        self.status = 0


class Ended(NamedTuple):
    """A request that is over, for the lists of the slowest: seconds first, so that it sorts."""

    seconds: float
    number: int
    request: Request


class Tally:
    """What is counted for one command: calls, so that a batch counts each of its calls."""

    __slots__ = ("answered", "calls", "clients", "failed", "in_bytes", "in_max", "latencies", "out_bytes", "out_max",
                 "unanswered", "unpaired")  # fmt: skip

    def __init__(self) -> None:
        self.calls = self.answered = self.unpaired = self.failed = self.unanswered = 0
        self.in_bytes = self.in_max = self.out_bytes = self.out_max = 0
        self.latencies = Latencies()
        self.clients: set[bytes] = set()


class Waits:
    """How many requests waited in vain, and the shortest and longest of it in seconds."""

    __slots__ = ("count", "longest", "shortest")

    def __init__(self) -> None:
        self.count = 0
        self.shortest = math.inf
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.shortest = min(self.shortest, seconds)
        self.longest = max(self.longest, seconds)


def waits_of(silent: dict[tuple[str, bool], Waits], request: Request) -> Waits:
    """Those of the request's first command, with or without a reference."""
    key = (request.commands[0], request.reference)
    if key not in silent and len(silent) >= MAX_COMMANDS:
        key = (OTHERS, False)
    return silent.setdefault(key, Waits())


class Book:
    """All that is counted."""

    def __init__(self, keep: int = 100) -> None:
        self.keep = keep
        self.commands: dict[str, Tally] = {}
        self.clients: Counter[bytes] = Counter()
        self.clients_unanswered: Counter[bytes] = Counter()
        self.requests = self.answered = self.unpaired = self.unanswered = 0
        self.answers_alone = self.forgotten = self.unfinished = 0
        self.slowest: list[Ended] = []
        self.given_up: list[Ended] = []
        self.silent: dict[tuple[str, bool], Waits] = {}
        self._numbers = count()

    def tally(self, command: str) -> Tally:
        """That of the command, or that of all others when there are too many."""
        found = self.commands.get(command)
        if found is None:
            if len(self.commands) >= MAX_COMMANDS:
                command = OTHERS
            found = self.commands.setdefault(command, Tally())
        return found

    def asked(self, request: Request) -> None:
        """A request came."""
        self.requests += 1
        client, size = request.client, request.size
        if client in self.clients or len(self.clients) < MAX_CLIENTS:
            self.clients[client] += 1
        for command in request.commands:
            tally = self.tally(command)
            tally.calls += 1
            tally.in_bytes += size
            tally.in_max = max(tally.in_max, size)
            if len(tally.clients) < MAX_CLIENTS_EACH:
                tally.clients.add(client)

    def answer(self, request: Request, status: int, seconds: float) -> None:
        """Its answer began."""
        self.answered += 1
        request.status = status
        for command in request.commands:
            tally = self.tally(command)
            tally.answered += 1
            tally.latencies.add(seconds)
            if status >= 400:
                tally.failed += 1
        self._keep(self.slowest, seconds, request)

    def answer_ended(self, request: Request, size: int) -> None:
        """Its answer is whole."""
        for command in request.commands:
            tally = self.tally(command)
            tally.out_bytes += size
            tally.out_max = max(tally.out_max, size)

    def answered_unseen(self, request: Request) -> None:
        """There was an answer, of which the capture lost the beginning."""
        self.answered += 1
        self.unpaired += 1
        for command in request.commands:
            tally = self.tally(command)
            tally.answered += 1
            tally.unpaired += 1

    def never_answered(self, request: Request, how: str, seconds: float) -> None:
        """The connection ended without an answer."""
        self.unanswered += 1
        request.gave_up = how
        self.clients_unanswered[request.client] += 1
        for command in request.commands:
            self.tally(command).unanswered += 1
        waits_of(self.silent, request).add(seconds)
        self._keep(self.given_up, seconds, request)

    def _keep(self, heap: list[Ended], seconds: float, request: Request) -> None:
        if len(heap) < self.keep:
            heapq.heappush(heap, Ended(seconds, next(self._numbers), request))
        elif seconds > heap[0].seconds:
            heapq.heapreplace(heap, Ended(seconds, next(self._numbers), request))
