from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Failure, Judgement, Reading, Status

Build = Callable[..., Any]


def test_a_node_is_unknown_until_its_first_probe_ends(fleet: Build) -> None:
    pool = fleet(1)
    pool.judge(5.0)
    first = pool["a"]
    assert (first.status, first.reasons, first.observed_at) == (
        Status.UNKNOWN,
        ("no probe has ended yet",),
        None,
    )
    pool.judge(6.0)
    assert pool["a"] is first


def test_the_first_observation_counts_at_once(fleet: Build, refused: Failure) -> None:
    pool = fleet(2)
    pool.see(10.0, a=100, b=refused)
    assert pool.statuses() == "up down"
    assert pool["a"].reasons == ()
    assert pool["a"].since == 10.0
    assert pool["b"].reasons == ("connection refused",)
    assert pool["b"].rules == ("refused",)


def test_a_down_on_one_first_failure_is_marked_as_such(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=3)
    for probe, failures in enumerate((1, 2, 3), start=1):
        pool.see(float(probe), a=refused)
        assert (pool["a"].status, pool["a"].failures, pool["a"].since) == (Status.DOWN, failures, 1.0)


def test_it_takes_fall_failures_to_go_down_and_the_reasons_count_them(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=3)
    pool.see(1.0, a=100)
    pool.see(2.0, a=refused)
    assert (pool["a"].status, pool["a"].reasons) == (Status.UP, ("1 of 3 failures: connection refused",))
    assert (pool["a"].since, pool["a"].height, pool["a"].lag, pool["a"].address) == (1.0, 100, 0, "192.0.2.1")
    pool.see(3.0, a=refused)
    assert pool["a"].status is Status.UP
    pool.see(4.0, a=refused)
    assert (pool["a"].status, pool["a"].since, pool["a"].reasons) == (
        Status.DOWN,
        4.0,
        ("connection refused",),
    )


def test_one_good_answer_in_between_forgives_the_failures(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=2)
    pool.see(0.0, a=100)
    for probe in range(1, 9, 2):
        pool.see(float(probe), a=refused)
        pool.see(float(probe + 1), a=100)
    assert pool["a"].status is Status.UP
    assert pool["a"].failures == 0


def test_it_takes_rise_passes_to_come_back_and_a_relapse_starts_again(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, rise=2, fall=3)
    pool.see(1.0, a=refused)
    pool.see(2.0, a=100)
    assert (pool["a"].status, pool["a"].reasons) == (
        Status.DOWN,
        ("answers better: 1 of 2 good answers in a row",),
    )
    pool.see(3.0, a=refused)
    assert pool["a"].failures >= 3, "a relapse is as down as before, not a first failure"
    pool.see(4.0, a=100)
    pool.see(5.0, a=100)
    assert (pool["a"].status, pool["a"].since, pool["a"].reasons) == (Status.UP, 5.0, ())


def test_an_observation_counts_once_however_often_it_is_judged(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=3)
    pool.see(1.0, a=100)
    pool.see(2.0, a=refused)
    for now in range(3, 20):
        pool.judge(float(now))
    assert (pool["a"].status, pool["a"].failures) == (Status.UP, 1)


def test_slowness_degrades_after_fall_and_heals_after_rise(fleet: Build) -> None:
    pool = fleet(1, rise=2, fall=3, max_latency=1.0)
    pool.see(0.0, a=100)
    for probe in (1, 2, 3):
        pool.observe("a", probe, 100, latency=2.0)
        pool.judge(probe)
        expected = Status.UP if probe < 3 else Status.DEGRADED
        assert pool["a"].status is expected
    assert pool["a"].reasons == ("answers in 2 s (at most 1 s)",)
    pool.see(4.0, a=100)
    assert pool["a"].reasons == ("answers better: 1 of 2 good answers in a row",)
    pool.see(5.0, a=100)
    assert pool["a"].status is Status.UP


def test_hard_failures_count_while_degraded_and_are_not_mixed_up_with_soft_ones(
    fleet: Build, refused: Failure
) -> None:
    pool = fleet(1, fall=3, max_latency=1.0)
    pool.observe("a", 0.0, 100, latency=2.0)
    pool.judge(0.0)
    assert pool["a"].status is Status.DEGRADED
    pool.see(1.0, a=refused)
    pool.see(2.0, a=refused)
    assert pool["a"].status is Status.DEGRADED
    pool.observe("a", 3.0, 100, latency=2.0)
    pool.judge(3.0)
    pool.see(4.0, a=refused)
    pool.see(5.0, a=refused)
    assert (pool["a"].status, pool["a"].reasons) == (
        Status.DEGRADED,
        ("2 of 3 failures: connection refused",),
    )
    pool.see(6.0, a=refused)
    assert pool["a"].status is Status.DOWN


def test_two_slow_answers_and_one_lost_packet_do_not_take_a_node_out(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=3, max_latency=1.0)
    pool.see(0.0, a=100)
    for probe in (1, 2):
        pool.observe("a", probe, 100, latency=2.0)
        pool.judge(probe)
    pool.see(3.0, a=refused)
    assert pool["a"].status is Status.DEGRADED


def test_the_wrong_chain_is_down_at_once_and_needs_rise_to_come_back(fleet: Build) -> None:
    pool = fleet(1, rise=2, fall=3, chain="main")
    right, wrong = Reading(height=1, chain="main"), Reading(height=1, chain="other")
    pool.see(1.0, a=right)
    pool.see(2.0, a=wrong)
    assert (pool["a"].status, pool["a"].rules) == (Status.DOWN, ("chain",))
    assert pool["a"].failures >= 3, "it is not a lost packet"
    pool.see(3.0, a=right)
    assert pool["a"].status is Status.DOWN
    pool.see(4.0, a=right)
    assert pool["a"].status is Status.UP


def test_an_old_observation_makes_unknown_and_keeps_what_was_known(fleet: Build) -> None:
    pool = fleet(1, max_age=60.0)
    pool.see(1.0, a=100)
    pool.judge(61.0)
    assert pool["a"].status is Status.UP
    pool.judge(61.5)
    verdict = pool["a"]
    assert (verdict.status, verdict.since, verdict.address, verdict.height) == (
        Status.UNKNOWN,
        61.0,
        "192.0.2.1",
        100,
    )
    assert verdict.reasons == ("the last probe ended more than 60 s ago",)
    pool.judge(99.0)
    assert pool["a"] == verdict


def test_after_silence_one_pass_is_enough_but_one_failure_is_not(fleet: Build, refused: Failure) -> None:
    pool = fleet(2, fall=3, max_age=60.0)
    pool.see(1.0, a=100, b=100)
    pool.judge(100.0)
    assert pool.statuses() == "unknown unknown"
    pool.see(101.0, a=100, b=refused)
    assert pool.statuses() == "up unknown"
    pool.see(102.0, b=refused)
    pool.see(103.0, b=refused)
    assert pool.statuses() == "up down"


def test_the_long_dead_stay_down_though_they_are_asked_less_often(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, max_age=60.0)
    pool.see(1.0, a=refused)
    pool.judge(68.0)
    assert pool["a"].status is Status.DOWN
    pool.see(90.0, a=refused)
    pool.see(91.0, a=refused)
    pool.judge(300.0)
    assert pool["a"].status is Status.UNKNOWN
    pool.see(301.0, a=refused)
    assert pool["a"].status is Status.DOWN, "its failures are counted on from before"


def test_an_observation_that_was_dropped_makes_a_node_new_again(fleet: Build) -> None:
    pool = fleet(1)
    pool.see(1.0, a=100)
    del pool.observations["a"]
    pool.judge(2.0)
    assert (pool["a"].status, pool["a"].address) == (Status.UNKNOWN, None)


def test_the_proven_address_is_the_last_one_that_answered_well(fleet: Build, refused: Failure) -> None:
    pool = fleet(1, fall=1)
    pool.see(1.0, a=100)
    pool.observe("a", 2.0, refused)
    pool.observations["a"] = replace(pool.observations["a"], address="198.51.100.9")
    pool.judge(2.0)
    assert (pool["a"].status, pool["a"].address) == (Status.DOWN, "192.0.2.1")
    pool.observe("a", 3.0, Reading(height=100, syncing=True))
    pool.observations["a"] = replace(pool.observations["a"], address="198.51.100.9")
    pool.judge(3.0)
    assert pool["a"].address == "192.0.2.1"


def test_a_nodes_long_version_text_is_cut(fleet: Build) -> None:
    pool = fleet(1)
    pool.see(1.0, a=Reading(height=1, version="1.0\n" + "x" * 10_000))
    assert len(pool["a"].version) < 100
    assert pool["a"].version.isprintable()


def model_status(outcomes: list[str], rise: int, fall: int) -> Status:
    """The table in the docstring of nodegate.health.judge, written down a second time without counters."""
    seen: list[str] = []
    status = Status.UNKNOWN
    for outcome in outcomes:
        seen.append(outcome)
        if len(seen) == 1:
            status = {"up": Status.UP, "slow": Status.DEGRADED, "down": Status.DOWN}[outcome]
            start = 1
            continue
        run = seen[start:]
        if seen[-fall:] == ["down"] * fall and status is not Status.DOWN:
            status, start = Status.DOWN, len(seen)
        elif status is Status.UP and len(run) >= fall and all(o != "up" for o in run[-fall:]):
            status, start = Status.DEGRADED, len(seen)
        elif status is Status.DEGRADED and len(run) >= rise and all(o == "up" for o in run[-rise:]):
            status, start = Status.UP, len(seen)
        elif status is Status.DOWN and len(run) >= rise and all(o != "down" for o in run[-rise:]):
            status, start = {"up": Status.UP, "slow": Status.DEGRADED}[outcome], len(seen)
    return status


@given(
    outcomes=st.lists(st.sampled_from(["up", "slow", "down"]), min_size=1, max_size=25),
    rise=st.integers(1, 4),
    fall=st.integers(1, 4),
    passes=st.integers(1, 3),
)
@settings(deadline=None, max_examples=200)
def test_the_state_machine_is_what_its_table_says(
    fleet: Build, refused: Failure, outcomes: list[str], rise: int, fall: int, passes: int
) -> None:
    pool = fleet(1, rise=rise, fall=fall, max_latency=1.0)
    for at, outcome in enumerate(outcomes):
        pool.observe(
            "a", float(at), refused if outcome == "down" else 100, latency=2.0 if outcome == "slow" else 0.1
        )
        for repeat in range(passes):
            pool.judge(at + repeat / 10)
    assert pool["a"].status is model_status(outcomes, rise, fall)
    assert (pool["a"].reasons == ()) <= (pool["a"].status is Status.UP)


@given(
    heights=st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 50), st.just(10**30)), min_size=4, max_size=4),
        min_size=1,
        max_size=8,
    ),
    later=st.floats(0, 30),
)
@settings(deadline=None, max_examples=100)
def test_judging_again_changes_nothing(
    fleet: Build, refused: Failure, heights: list[list[int | None]], later: float
) -> None:
    pool = fleet(4, max_lag=1)
    at = 0.0
    for row in heights:
        at += 2.0
        pool.see(at, **{name: refused if h is None else h for name, h in zip("abcd", row, strict=True)})
    before: Judgement = pool.judgement
    assert pool.judge(at) == before
    assert pool.judge(at + later) == before


@pytest.mark.parametrize("size", [1, 5])
def test_verdicts_are_on_the_nodes_of_the_inventory_and_no_others(fleet: Build, size: int) -> None:
    pool = fleet(size)
    pool.see(1.0, **dict.fromkeys(pool.nodes, 7))
    gone, _ = pool.nodes.popitem()
    pool.judge(2.0)
    assert gone not in pool.judgement.verdicts
    assert set(pool.judgement.verdicts) == set(pool.nodes)
