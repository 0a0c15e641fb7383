"""Which node is asked when: a simulated prober walks the schedule on virtual time."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Instant
from nodegate.probe.schedule import Schedule
from nodegate.settings import ProbeSettings

T0 = Instant(1_000.0)


def at(seconds: float) -> Instant:
    return Instant(T0 + seconds)


def names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(count)]


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def simulate(
    schedule: Schedule,
    *,
    until: float,
    room: int = 10_000,
    takes: float | dict[str, float] = 0.0,
    ok: bool | dict[str, bool] = True,
    begin: float = 0.0,
) -> dict[str, list[float]]:
    """Walk the schedule from `begin` to `until`; the times at which each node was started."""
    starts: dict[str, list[float]] = defaultdict(list)
    flying: list[tuple[float, str]] = []
    now = begin
    while now <= until:
        flying.sort()
        while flying and flying[0][0] <= now:
            _, node_id = flying.pop(0)
            good = ok if isinstance(ok, bool) else ok.get(node_id, True)
            schedule.done(node_id, at(now), ok=good)
        for start in schedule.start(at(now), room - len(flying)):
            assert start.node_id not in [node_id for _, node_id in flying]
            assert start.lateness >= 0
            starts[start.node_id].append(now)
            span = takes if isinstance(takes, float) else takes.get(start.node_id, 0.0)
            flying.append((now + span, start.node_id))
        due = schedule.next_due()
        ends = [end for end, _ in flying]
        steps = [*ends, *([due - T0] if due is not None and len(flying) < room else [])]
        if not steps:
            break
        now = max(now + 1e-6, min(steps))
    return starts


def test_a_lone_node_is_asked_almost_at_once() -> None:
    schedule = Schedule(ProbeSettings(interval=10.0))
    schedule.update(["a"], T0)
    due = schedule.next_due()
    assert due is not None
    assert due - T0 <= 0.05


@pytest.mark.parametrize(
    ("count", "interval", "within"), [(5, 2.0, 0.25), (100, 10.0, 1.0), (100, 0.2, 0.2), (10_000, 10.0, 10.0)]
)
def test_first_probes_are_spread(count: int, interval: float, within: float) -> None:
    schedule = Schedule(ProbeSettings(interval=interval))
    schedule.update(names(count), T0)
    due = [start.due - T0 for start in schedule.start(at(interval), count)]
    assert len(due) == count
    assert max(due) <= within
    if count >= 100:
        halves = sum(1 for value in due if value < within / 2)
        assert 0.3 * count < halves < 0.7 * count


def test_ten_thousand_nodes_are_spread_over_their_interval() -> None:
    schedule = Schedule(ProbeSettings(interval=10.0))
    schedule.update(names(10_000), T0)
    began = time.process_time()
    starts = simulate(schedule, until=30.0)
    assert time.process_time() - began < 6.0
    per_tenth = [0] * 300
    for times in starts.values():
        for when in times:
            per_tenth[min(299, int(when * 10))] += 1
    assert max(per_tenth[100:]) < 1.6 * 100
    assert sum(per_tenth) == pytest.approx(30_000, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    interval=st.floats(0.1, 60.0),
    jitter=st.floats(0.0, 0.5),
    count=st.integers(1, 20),
    cycles=st.integers(4, 9),
)
def test_a_healthy_node_keeps_its_interval(interval: float, jitter: float, count: int, cycles: int) -> None:
    schedule = Schedule(ProbeSettings(interval=interval, jitter=jitter))
    schedule.update(names(count), T0)
    for times in simulate(schedule, until=interval * cycles).values():
        gaps = gaps_of(times[1:])
        assert all(interval * (1 - jitter) - 1e-3 <= gap <= interval * (1 + jitter) + 1e-3 for gap in gaps)
        # The second probe joins the node's own grid: it may come early, never late.
        assert max(gaps_of(times)) <= interval * (1 + jitter) + 1e-3


def test_times_are_the_same_after_every_start() -> None:
    runs = []
    for _ in range(2):
        schedule = Schedule(ProbeSettings())
        schedule.update(names(20), T0)
        runs.append(simulate(schedule, until=20.0))
    assert runs[0] == runs[1]


def test_neighbours_in_name_are_not_asked_in_step() -> None:
    schedule = Schedule(ProbeSettings(interval=10.0, jitter=0.5))
    schedule.update(names(50), T0)
    starts = simulate(schedule, until=60.0)
    offsets = {round(times[3] - times[2], 2) for times in starts.values()}
    assert len(offsets) > 40


@settings(max_examples=60, deadline=None)
@given(
    takes=st.dictionaries(st.sampled_from(names(8)), st.floats(0.0, 7.0), max_size=8),
    ok=st.dictionaries(st.sampled_from(names(8)), st.booleans(), max_size=8),
    room=st.integers(1, 10),
)
def test_never_two_probes_of_one_node_and_none_forgotten(
    takes: dict[str, float], ok: dict[str, bool], room: int
) -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, concurrency=room))
    schedule.update(names(8), T0)
    starts = simulate(schedule, until=200.0, room=room, takes=takes, ok=ok)
    assert set(starts) == set(names(8))


def test_a_slow_answer_does_not_shift_the_grid() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, jitter=0.0))
    schedule.update(["a"], T0)
    times = simulate(schedule, until=40.0, takes=1.9)["a"][1:]
    assert all(gap == pytest.approx(2.0, abs=1e-3) for gap in gaps_of(times))


def test_a_probe_longer_than_the_interval_skips_cycles() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, jitter=0.0))
    schedule.update(["a"], T0)
    times = simulate(schedule, until=40.0, takes=3.0)["a"][1:]
    assert all(gap == pytest.approx(4.0, abs=1e-3) for gap in gaps_of(times))


def test_the_long_dead_are_asked_less_and_less_and_never_less_than_the_bound() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, jitter=0.5, backoff_after=20.0, backoff_max=30.0))
    schedule.update(["a"], T0)
    times = simulate(schedule, until=300.0, ok=False)["a"]
    gaps = gaps_of(times)
    early = [gap for begin, gap in zip(times, gaps, strict=False) if begin < 17]
    assert max(early) <= 3.0
    assert max(gaps) <= 30.0 + 1e-3
    assert gaps[-1] >= 15.0


def test_a_healed_node_is_back_on_its_interval() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, jitter=0.0, backoff_after=5.0, backoff_max=60.0))
    schedule.update(["a"], T0)
    simulate(schedule, until=100.0, ok=False)
    times = simulate(schedule, begin=100.0, until=200.0, ok=True)["a"]
    assert all(gap == pytest.approx(2.0, abs=1e-3) for gap in gaps_of(times))


def test_a_fault_of_our_own_says_nothing_about_the_node() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0, jitter=0.0, backoff_after=0.0))
    schedule.update(["a"], T0)
    now = 0.1
    for _ in range(10):
        (start,) = schedule.start(at(now), 1)
        schedule.done(start.node_id, at(now), ok=None)
        due = schedule.next_due()
        assert due is not None
        assert due - at(now) <= 2.0
        now = due - T0


def test_dead_nodes_cannot_take_all_slots() -> None:
    settings_ = ProbeSettings(interval=1.0, concurrency=10, backoff_after=1_000.0)
    dead = names(60)
    schedule = Schedule(settings_)
    schedule.update([*dead, "alive"], T0)
    takes = dict.fromkeys(dead, 3.0)
    starts = simulate(schedule, until=120.0, room=10, takes=takes, ok=dict.fromkeys(dead, False))
    later = [when for when in starts["alive"] if when > 30.0]
    assert max(gaps_of(later)) <= 1.2
    assert all(starts[node_id] for node_id in dead)


def test_soon_means_now() -> None:
    schedule = Schedule(ProbeSettings(interval=60.0))
    schedule.update(["a"], T0)
    schedule.start(at(1.0), 1)
    schedule.done("a", at(1.0), ok=True)
    schedule.soon("a", at(2.0))
    (start,) = schedule.start(at(2.0), 5)
    assert (start.node_id, start.lateness) == ("a", 0.0)
    assert schedule.start(at(2.0), 5) == []


def test_soon_in_flight_means_right_after() -> None:
    schedule = Schedule(ProbeSettings(interval=60.0))
    schedule.update(["a"], T0)
    assert len(schedule.start(at(1.0), 1)) == 1
    schedule.soon("a", at(1.1))
    assert schedule.start(at(1.1), 1) == []
    schedule.done("a", at(1.2), ok=True)
    assert len(schedule.start(at(1.2), 1)) == 1
    schedule.soon("nobody", at(1.2))


def test_lateness_is_measured() -> None:
    schedule = Schedule(ProbeSettings(interval=2.0))
    schedule.update(["a"], T0)
    due = schedule.next_due()
    assert due is not None
    (start,) = schedule.start(Instant(due + 0.7), 1)
    assert start.due == due
    assert start.lateness == pytest.approx(0.7)


def test_the_longest_overdue_goes_first() -> None:
    schedule = Schedule(ProbeSettings(interval=10.0))
    schedule.update(names(50), T0)
    due = [schedule.start(at(100.0), 1)[0].due for _ in range(50)]
    assert due == sorted(due)


def test_changes_leave_the_others_times_alone() -> None:
    plain, changed = Schedule(ProbeSettings()), Schedule(ProbeSettings())
    plain.update(names(10), T0)
    changed.update(names(10), T0)
    changed.update([*names(10), *(f"extra-{number}" for number in range(30))], at(0.01))
    changed.update(names(10), at(0.02))
    expected = simulate(plain, until=10.0, begin=0.05)
    assert simulate(changed, until=10.0, begin=0.05) == expected
    assert len(changed) == 10


def test_a_node_that_goes_in_flight_and_comes_back_is_a_new_one() -> None:
    schedule = Schedule(ProbeSettings())
    schedule.update(["a"], T0)
    schedule.start(at(1.0), 1)
    schedule.update([], at(1.1))
    schedule.done("a", at(1.2), ok=True)
    assert schedule.next_due() is None
    schedule.update(["a"], at(2.0))
    assert len(schedule.start(at(3.0), 5)) == 1


def test_asking_soon_again_and_again_does_not_grow_the_heap() -> None:
    schedule = Schedule(ProbeSettings(interval=60.0))
    schedule.update(names(3), T0)
    for number in range(2_000):
        for start in schedule.start(at(number), 3):
            schedule.done(start.node_id, at(number), ok=True)
        schedule.soon("node-1", at(number + 0.5))
        schedule.update(names(3), at(number + 0.5))
    assert len(schedule._well) + len(schedule._failing) < 200
