"""A bucket of time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.consul.budget import BURST, CHEAPEST, SHARE, Budget
from nodegate.model import Instant, Seconds


def test_a_first_change_is_read_at_once() -> None:
    assert Budget().rest(Instant(0.0)) == 0


def test_an_index_that_never_settles_cannot_spin() -> None:
    budget, now, reads = Budget(), 0.0, 0
    while now < 60:
        now += budget.rest(Instant(now)) + 0.0001
        budget.spend(Seconds(0.0), Instant(now))
        reads += 1
    assert reads <= 60 * SHARE / CHEAPEST + BURST / CHEAPEST + 1


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_reading_takes_no_more_than_its_share_in_the_long_run(rounds: list[tuple[float, float]]) -> None:
    budget, now, spent = Budget(), 0.0, 0.0
    for pause, cost in rounds:
        now += pause
        now += budget.rest(Instant(now))
        now += cost
        spent += max(CHEAPEST, cost)
        budget.spend(Seconds(cost), Instant(now))
    assert spent <= now * SHARE + BURST + max(max(CHEAPEST, cost) for _, cost in rounds) + 1e-6
