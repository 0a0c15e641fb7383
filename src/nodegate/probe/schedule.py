"""Which node is asked when. Pure: the time is passed in.

Each node has its own grid of times, one interval apart, so that a slow answer does not shift the next
question; the jitter is taken from a digest of the node's id and the number of the cycle, so it is the same
after every start and needs no random numbers. Nothing here costs more than O(log nodes) per probe.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from nodegate.model import Instant, Seconds
from nodegate.settings import ProbeSettings

# How fast a batch of new nodes gets its first probes: at once for a few (a lone node must not wait), within
# a second for up to a thousand, and never more than a thousand a second.
FIRST_STEP = 0.05
FIRST_WITHIN = 1.0
FIRST_RATE = 1000.0
# Probes of failing nodes often take the whole timeout. They may hold half of the slots, so that a dead rack
# cannot starve the probes of all others just when those matter most.
FAILING_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A probe to be started now. `lateness` is how long after its due time that is, in seconds."""

    node_id: str
    due: Instant
    lateness: Seconds


@dataclass(slots=True)
class _Entry:
    """One node. `base` is its place on the grid, `ticket` tells its valid heap entry from stale ones."""

    base: float
    due: float
    phase: float
    cycle: int = 0
    ticket: int = 0
    in_flight: bool = False
    counted_failing: bool = False  # whether the probe in flight counts against the share of failing nodes
    again: bool = False
    failing_since: float | None = None
    doublings: int = 0


_Heap = list[tuple[float, int, str]]


class Schedule:
    """The times of all nodes. Never hands out a node that is already in flight."""

    def __init__(self, settings: ProbeSettings) -> None:
        self._settings = settings
        self._entries: dict[str, _Entry] = {}
        self._well: _Heap = []
        self._failing: _Heap = []
        self._tickets = 0
        self._failing_in_flight = 0
        self._failing_room = max(1, int(settings.concurrency * FAILING_SHARE))

    def __len__(self) -> int:
        return len(self._entries)

    def update(self, node_ids: Iterable[str], now: Instant) -> None:
        """Take on the nodes that are new, forget those that are gone, leave the others' times alone."""
        wanted = set(node_ids)
        for node_id in self._entries.keys() - wanted:
            self._forget(node_id)
        fresh = wanted - self._entries.keys()
        soonest = min(FIRST_WITHIN, FIRST_STEP * len(fresh))
        spread = min(self._settings.interval, max(soonest, len(fresh) / FIRST_RATE))
        for node_id in fresh:
            phase = _fraction(node_id, 0)
            entry = _Entry(base=now + phase * self._settings.interval, due=0.0, phase=phase)
            self._entries[node_id] = entry
            self._put(node_id, entry, now + phase * spread)
        if len(self._well) + len(self._failing) > 64 + 4 * len(self._entries):
            self._compact()

    def soon(self, node_id: str, now: Instant) -> None:
        """Ask the node now, or right after the probe that is in flight; an unknown node is nobody's."""
        entry = self._entries.get(node_id)
        if entry is None:
            return
        if entry.in_flight:
            entry.again = True
        elif entry.due > now:
            self._put(node_id, entry, now)

    def start(self, now: Instant, room: int) -> list[Start]:
        """Take the nodes that are due, longest overdue first, at most `room`; they count as in flight until
        `done` is called."""
        started: list[Start] = []
        while len(started) < room and (node_id := self._pop(now)) is not None:
            entry = self._entries[node_id]
            entry.in_flight = True
            entry.counted_failing = entry.failing_since is not None
            self._failing_in_flight += entry.counted_failing
            started.append(
                Start(node_id=node_id, due=Instant(entry.due), lateness=Seconds(max(0.0, now - entry.due)))
            )
        return started

    def done(self, node_id: str, now: Instant, *, ok: bool | None) -> None:
        """The probe in flight is over. `ok` None: it said nothing about the node (our own fault)."""
        entry = self._entries.get(node_id)
        if entry is None or not entry.in_flight:
            return
        self._land(entry)
        if ok:
            entry.failing_since, entry.doublings = None, 0
        elif ok is False and entry.failing_since is None:
            entry.failing_since = now
        due = self._next(node_id, entry, now)
        if entry.again:
            entry.again, due = False, now
        self._put(node_id, entry, due)

    def next_due(self) -> Instant | None:
        """When `start` will have something to give, as far as is known now; None: not before a `done`,
        `soon` or `update`."""
        heads = [heap[0][0] for heap in self._open_heaps() if self._clean(heap)]
        return Instant(min(heads)) if heads else None

    def _next(self, node_id: str, entry: _Entry, now: float) -> float:
        """The next time on the node's grid; for the long dead a growing pause from now, whose bound is
        never exceeded."""
        settings = self._settings
        entry.cycle += 1
        spread = settings.jitter * _fraction(node_id, entry.cycle)
        if entry.failing_since is not None and now - entry.failing_since >= settings.backoff_after:
            longest = max(settings.interval, settings.backoff_max)
            pause = min(longest, settings.interval * 2.0 ** min(entry.doublings + 1, 32))
            entry.doublings += 1
            # The grid goes on behind the pause, so that a healed node falls back into step.
            entry.base = now + pause
            return now + pause * (1 - spread)
        steps = max(1, math.floor((now - entry.base) / settings.interval) + 1)
        if entry.base <= now:
            entry.base += steps * settings.interval
        return max(now, entry.base + spread * settings.interval)

    def _put(self, node_id: str, entry: _Entry, due: float) -> None:
        self._tickets += 1
        entry.due, entry.ticket = due, self._tickets
        heap = self._well if entry.failing_since is None else self._failing
        heapq.heappush(heap, (due, self._tickets, node_id))

    def _pop(self, now: float) -> str | None:
        heaps = [heap for heap in self._open_heaps() if self._clean(heap) and heap[0][0] <= now]
        return heapq.heappop(min(heaps, key=lambda heap: heap[0]))[2] if heaps else None

    def _open_heaps(self) -> tuple[_Heap, ...]:
        if self._failing_in_flight >= self._failing_room:
            return (self._well,)
        return (self._well, self._failing)

    def _clean(self, heap: _Heap) -> bool:
        """Drop stale heads; whether anything is left."""
        while heap and not self._is_valid(heap[0]):
            heapq.heappop(heap)
        return bool(heap)

    def _is_valid(self, item: tuple[float, int, str]) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.ticket == item[1] and not entry.in_flight

    def _compact(self) -> None:
        for heap in (self._well, self._failing):
            heap[:] = [item for item in heap if self._is_valid(item)]
            heapq.heapify(heap)

    def _land(self, entry: _Entry) -> None:
        self._failing_in_flight -= entry.counted_failing
        entry.in_flight = entry.counted_failing = False

    def _forget(self, node_id: str) -> None:
        self._land(self._entries.pop(node_id))


def _fraction(node_id: str, cycle: int) -> float:
    """A number in [0, 1) that is spread evenly over ids and cycles, and always the same."""
    digest = hashlib.blake2b(f"{cycle}:{node_id}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
