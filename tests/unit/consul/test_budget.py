"""A bucket of time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.consul.budget import BURST, CHEAPEST, LONGEST, SHARE, Budget
from nodegate.model import Instant, Seconds


def test_a_first_change_is_read_at_once() -> None:
    assert Budget().rest(Instant(0.0)) == 0


def test_changes_that_follow_each_other_after_a_quiet_time_do_not_wait_either() -> None:
    budget, now = Budget(), 0.0
    for _ in range(15):
        now += 0.1
        assert budget.rest(Instant(now)) == 0
        budget.spend(Seconds(0.1), Instant(now))


def test_an_index_that_never_settles_cannot_spin() -> None:
    budget, now, reads = Budget(), 0.0, 0
    while now < 60:
        now += budget.rest(Instant(now)) + 0.0001
        budget.spend(Seconds(0.0), Instant(now))
        reads += 1
    assert reads <= 60 * SHARE / CHEAPEST + BURST / CHEAPEST + 1


def test_after_quiet_the_whole_burst_is_there_again() -> None:
    budget, now = Budget(), 0.0
    for _ in range(100):
        now += budget.rest(Instant(now)) + 0.2
        budget.spend(Seconds(0.2), Instant(now))
    assert budget.rest(Instant(now)) > 0
    now += BURST / SHARE + LONGEST
    budget.spend(Seconds(BURST - 0.01), Instant(now))
    assert budget.rest(Instant(now)) == 0


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, LONGEST * SHARE)), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_work_takes_no_more_than_its_share_in_the_long_run(rounds: list[tuple[float, float]]) -> None:
    budget, now, spent = Budget(), 0.0, 0.0
    for pause, cost in rounds:
        now += pause
        now += budget.rest(Instant(now))
        now += cost
        spent += max(CHEAPEST, cost)
        budget.spend(Seconds(cost), Instant(now))
    assert spent <= now * SHARE + BURST + max(max(CHEAPEST, cost) for _, cost in rounds) + 1e-6


@given(st.lists(st.floats(0, 100), max_size=30))
@settings(max_examples=100, deadline=None)
def test_however_dear_a_round_was_the_next_one_waits_no_longer_than_the_bound(costs: list[float]) -> None:
    budget, now = Budget(), 0.0
    for cost in costs:
        now += cost
        budget.spend(Seconds(cost), Instant(now))
        assert budget.rest(Instant(now)) <= LONGEST + 1e-9


def test_a_share_of_its_own() -> None:
    budget = Budget(share=0.5, burst=Seconds(0.0), longest=Seconds(4.0))
    budget.spend(Seconds(1.0), Instant(10.0))
    assert budget.rest(Instant(10.0)) == pytest.approx(2.0)
