from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon_double import T0, a_server, a_verdict, an_iri, running
from nodegate.daemon.history import (
    HEIGHT,
    LATENCY,
    MAX_EVENTS,
    MAX_SERIES,
    REFUSALS,
    REQUESTS,
    History,
    Point,
    Ring,
    merged,
)
from nodegate.model import Instant, Inventory, Judgement, Seconds, ServerTraffic, Snapshot, Status
from nodegate.telemetry.kinds import Kind, event


def at(seconds: float) -> Instant:
    return Instant(T0 + seconds)


def snapshot(seconds: float, requests: int, **verdict: Any) -> Snapshot:
    return Snapshot(
        at=at(seconds), started_at=T0, inventory=Inventory(nodes=(an_iri("a"),), index=1, read_at=T0),
        judgement=Judgement(verdicts={"a": a_verdict("a", **verdict)}),
        running=running(a_server("a"), traffic={"a": ServerTraffic(requests=requests, sessions=2)}),
    )  # fmt: skip


def values(points: tuple[Point, ...]) -> list[float]:
    return [point.value for point in points]


def test_a_counter_becomes_a_rate_and_a_restart_of_haproxy_a_gap() -> None:
    history = History()
    for second, total in enumerate([100, 110, 130, 5, 9]):
        history.take(snapshot(second, total), at(second))
    points = history.series(REQUESTS, since=T0, points=100)
    assert values(points) == [10, 20, 4]
    assert [point.at - T0 for point in points] == [1, 2, 4]
    assert history.latest(REQUESTS) == 4
    assert values(history.series("nodes/up", since=T0, points=100)) == [1] * 5


def test_the_last_minutes_come_by_the_second_and_the_hour_by_five() -> None:
    history = History()
    for second in range(3600):
        history.take(snapshot(second, second * 7), at(second))
    assert len(history.series(REQUESTS, since=at(3600 - 60), points=1000)) == 60
    hour = history.series(REQUESTS, since=T0, points=1000)
    assert len(hour) == 720
    assert set(values(hour)) == {7.0}
    assert len(history.series(REQUESTS, since=T0, points=100)) <= 100


def test_nodes_have_sparklines_with_gaps_while_they_are_down() -> None:
    history = History()
    for step in range(6):
        status = Status.DOWN if step in {2, 3} else Status.UP
        history.take(snapshot(step * 30, 0, status=status, height=step, latency=Seconds(0.25)), at(step * 30))
    assert values(history.node_series("a", HEIGHT, since=at(-30), points=10)) == [0, 1, 4, 5]
    assert values(history.node_series("a", LATENCY, since=at(-30), points=10)) == [0.25] * 4
    assert history.node_series("b", HEIGHT, since=T0, points=10) == ()


def test_percentiles_are_by_nearest_rank() -> None:
    history = History()
    history.latencies([number / 100 for number in range(1, 101)], T0)
    history.take(snapshot(0, 0), T0)
    assert [history.latest(f"latency/p{percent}") for percent in (50, 90, 99)] == [0.5, 0.9, 0.99]
    history.latencies([], at(1))


def test_refusals_are_counted_by_rule() -> None:
    history = History()
    history.refused({"rate": 0, "banned": 5}, T0)
    history.refused({"rate": 10, "banned": 5}, at(2))
    history.take(snapshot(2, 0), at(2))
    assert history.latest(REFUSALS) == 5
    assert history.latest(f"{REFUSALS}/rate") == 5
    assert history.latest(f"{REFUSALS}/banned") == 0


def test_everything_is_bounded() -> None:
    history = History()
    for number in range(MAX_SERIES + 50):
        history.put(f"s{number}", 1.0, T0)
    assert len(history.names()) == MAX_SERIES
    history.happened(event(at(number), Kind.STARTED, "gateway", "x") for number in range(MAX_EVENTS + 5))
    assert len(history.events()) == MAX_EVENTS
    assert len(history.events(since=at(MAX_EVENTS))) == 5


@settings(max_examples=200, deadline=None)
@given(
    moments=st.lists(st.tuples(st.floats(0, 400), st.floats(-1e6, 1e6)), max_size=60),
    step=st.sampled_from([1.0, 5.0]),
)
def test_a_ring_holds_the_means_of_the_last_steps_and_nothing_else(
    moments: list[tuple[float, float]], step: float
) -> None:
    ring = Ring(Seconds(step), Seconds(60.0))
    known: dict[int, list[float]] = {}
    for moment, value in sorted(moments):
        ring.add(Instant(moment), value)
        known.setdefault(int(moment // step), []).append(value)
    newest = max(known, default=0)
    size = int(60 / step)
    expected = {slot: sum(held) / len(held) for slot, held in known.items() if slot > newest - size}
    found = {round(point.at / step): point.value for point in ring.points(Instant(0.0))}
    assert found == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 300), limit=st.integers(0, 50))
def test_merging_keeps_the_bound_the_order_and_every_point(count: int, limit: int) -> None:
    points = tuple(Point(at=Instant(float(number)), value=1.0) for number in range(count))
    found = merged(points, limit)
    assert len(found) <= limit
    assert list(found) == sorted(found, key=lambda point: point.at)
    assert all(point.value == 1.0 for point in found)
    assert bool(found) == (count > 0 and limit > 0)
