"""The last hour in memory, for charts: bounded rings, nothing on disk. Longer history is Prometheus's.

Two resolutions: the last five minutes by the second, the last hour in steps of five seconds. Nodes have one ring
of steps of 30 seconds each for height and latency. A value that was not known is a gap, never a zero.

Memory: a series takes 8 kB, and there are some sixty at most; a node takes 2.1 kB, so 1,000 nodes take 2.1 MB and
`MAX_NODES` 21 MB.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodegate.model import Instant, Seconds, Snapshot, Status
from nodegate.telemetry.kinds import Event
from nodegate.views import status_of

EPOCH = Instant(0.0)
HOUR = Seconds(3600.0)
FINE = Seconds(1.0)
FINE_SPAN = Seconds(300.0)
COARSE = Seconds(5.0)
NODE_STEP = Seconds(30.0)
MAX_NODES = 10_000
"""Nodes whose height and latency are kept, the first ones by id."""
MAX_SERIES = 200
"""Series beside those of nodes: rules and pools are bounded by what operators declare, this bounds mistakes."""
MAX_EVENTS = 1_000

REQUESTS = "requests"
"""Requests per second that went to nodes."""
ERRORS = "errors"
"""Of these, answers of 5xx and connections that failed, per second."""
REFUSALS = "refusals"
"""Requests per second that the policy refused; `refusals/RULE` for each rule."""
SESSIONS = "sessions"
"""Requests under way at nodes."""
LATENCY = "latency"
"""`latency/p50`, `latency/p90`, `latency/p99`: seconds from request to answer, from a sample of the access log."""
NODES = "nodes"
"""`nodes/up`, `nodes/degraded`, `nodes/down`, `nodes/unknown`."""
HEIGHT = "height"
"""`height/POOL`: the pool's quorum height; for `node_series` the node's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The mean of a series over one step that begins at `at`."""

    at: Instant
    value: float


class Ring:
    """The means of the last `span` seconds in steps of `step` seconds."""

    __slots__ = ("_count", "_means", "_slot", "_step", "_sum")

    def __init__(self, step: Seconds, span: Seconds, *, code: str = "d") -> None:
        self._step = step
        self._means = array(code, [math.nan]) * math.ceil(span / step)
        self._slot = -1
        self._sum, self._count = 0.0, 0

    def add(self, at: Instant, value: float) -> None:
        """A value of that moment. Moments come in order; an earlier one than the last is dropped."""
        slot = int(at // self._step)
        if slot < self._slot:
            return
        if slot > self._slot:
            self._clear(self._slot + 1, slot)
            self._slot, self._sum, self._count = slot, 0.0, 0
        self._sum += value
        self._count += 1
        self._means[slot % len(self._means)] = self._sum / self._count

    def points(self, since: Instant) -> tuple[Point, ...]:
        """The known steps that begin at or after `since`, in order."""
        size = len(self._means)
        first = max(self._slot - size + 1, math.ceil(since / self._step), 0)
        return tuple(
            Point(at=Instant(slot * self._step), value=value)
            for slot in range(first, self._slot + 1)
            if not math.isnan(value := self._means[slot % size])
        )

    def _clear(self, first: int, last: int) -> None:
        size = len(self._means)
        for slot in range(max(first, last - size + 1), last + 1):
            self._means[slot % size] = math.nan


class _Series:
    """One series in both resolutions."""

    __slots__ = ("coarse", "fine")

    def __init__(self) -> None:
        self.fine = Ring(FINE, FINE_SPAN)
        self.coarse = Ring(COARSE, HOUR)

    def add(self, at: Instant, value: float) -> None:
        self.fine.add(at, value)
        self.coarse.add(at, value)


class History:
    """Charts read `series`, `node_series` and `events`; the daemon writes with the other methods."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._nodes: dict[str, dict[str, Ring]] = {}
        self._node_slot = -1
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._counters: dict[str, tuple[Instant, float]] = {}
        self._now = Instant(0.0)

    # Reading

    def names(self) -> tuple[str, ...]:
        """The series there are now, in order."""
        return tuple(sorted(self._series))

    def series(self, name: str, *, since: Instant, points: int) -> tuple[Point, ...]:
        """At most `points` means of the series since then, oldest first; none for a series that there is not.

        Within the last five minutes steps of a second, before that of five; more than `points` are merged.
        """
        held = self._series.get(name)
        if held is None:
            return ()
        ring = held.fine if since >= self._now - FINE_SPAN else held.coarse
        return merged(ring.points(since), points)

    def node_series(self, node_id: str, name: str, *, since: Instant, points: int) -> tuple[Point, ...]:
        """The same of a node's `height` or `latency` (seconds), in steps of 30 seconds."""
        ring = self._nodes.get(node_id, {}).get(name)
        return () if ring is None else merged(ring.points(since), points)

    def latest(self, name: str) -> float | None:
        """The newest value of a series, None when there was none in the last ten seconds."""
        points = self.series(name, since=Instant(self._now - 10.0), points=10)
        return points[-1].value if points else None

    def events(self, *, since: Instant = EPOCH) -> tuple[Event, ...]:
        """What happened since then, oldest first: the last `MAX_EVENTS` at most."""
        return tuple(event for event in self._events if event.at >= since)

    # Writing

    def take(self, snapshot: Snapshot, now: Instant) -> None:
        """The state of this moment. Once a second."""
        self._now = now
        running = snapshot.running
        if running is not None and snapshot.haproxy_error is None:
            traffic = running.traffic.values()
            self.count(REQUESTS, sum(item.requests for item in traffic), snapshot.at)
            self.count(ERRORS, sum(item.errors for item in traffic), snapshot.at)
            self.put(SESSIONS, sum(item.sessions for item in traffic), now)
        nodes = () if snapshot.inventory is None else snapshot.inventory.nodes
        counts = Counter(status_of(snapshot, node.id) for node in nodes)
        for status in Status:
            self.put(f"{NODES}/{status.value}", counts[status], now)
        for view in snapshot.judgement.pools.values():
            if view.height is not None:
                self.put(f"{HEIGHT}/{view.pool}", view.height, now)
        if int(now // NODE_STEP) != self._node_slot:
            self._node_slot = int(now // NODE_STEP)
            self._take_nodes(snapshot, [node.id for node in nodes[:MAX_NODES]], now)

    def put(self, name: str, value: float, at: Instant) -> None:
        """One value of a series."""
        series = self._series.get(name)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                return
            series = self._series[name] = _Series()
        series.add(at, value)

    def count(self, name: str, total: float, at: Instant) -> None:
        """A counter's total at that moment: the series gets its rate per second since the last one. A counter
        that went back was begun anew."""
        before = self._counters.get(name)
        if before is not None and at <= before[0]:
            return
        self._counters[name] = (at, total)
        if before is not None and total >= before[1]:
            self.put(name, (total - before[1]) / (at - before[0]), at)

    def refused(self, totals: Mapping[str, int], at: Instant) -> None:
        """Totals of refusals by rule."""
        self.count(REFUSALS, sum(totals.values()), at)
        for rule, total in totals.items():
            self.count(f"{REFUSALS}/{rule}", total, at)

    def latencies(self, seconds: Iterable[float], at: Instant) -> None:
        """Latencies of a sample of requests that ended just now."""
        ranked = sorted(seconds)
        for percent in (50, 90, 99):
            if ranked:
                rank = max(0, math.ceil(len(ranked) * percent / 100) - 1)
                self.put(f"{LATENCY}/p{percent}", ranked[rank], at)

    def happened(self, events: Iterable[Event]) -> None:
        """Events of now."""
        self._events.extend(events)

    def _take_nodes(self, snapshot: Snapshot, ids: list[str], now: Instant) -> None:
        verdicts = snapshot.judgement.verdicts
        self._nodes = {node_id: self._nodes.get(node_id) or _node_rings() for node_id in ids}
        for node_id, rings in self._nodes.items():
            verdict = verdicts.get(node_id)
            if verdict is None or verdict.status in {Status.DOWN, Status.UNKNOWN}:
                continue  # what a dead node last said is not news: the gap says that it was away
            if verdict.height is not None:
                rings[HEIGHT].add(now, verdict.height)
            if verdict.latency is not None:
                rings[LATENCY].add(now, verdict.latency)


def _node_rings() -> dict[str, Ring]:
    return {HEIGHT: Ring(NODE_STEP, HOUR), LATENCY: Ring(NODE_STEP, HOUR, code="f")}


def merged(points: tuple[Point, ...], limit: int) -> tuple[Point, ...]:
    """At most `limit` points, each the mean of as many neighbours as the others."""
    if limit < 1:
        return ()
    size = math.ceil(len(points) / limit) if points else 1
    if size == 1:
        return points
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return tuple(
        Point(at=group[0].at, value=math.fsum(point.value for point in group) / len(group))
        for group in groups
    )
