from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Failure, Intent, Reading, Status

Build = Callable[..., Any]
HUGE = 10**400


def walked(
    pool: Any, *, step: float = 10.0, start: int = 1000, advances: int = 20, every: float = 2.0
) -> float:
    """Let all nodes of `pool` walk together until the pool has learned its step; returns the time."""
    at = 0.0
    while at <= advances * step:
        pool.see(at, **dict.fromkeys(pool.nodes, start + int(at // step)))
        at += every
    return at


def test_the_quorum_is_the_largest_height_that_a_majority_reached(fleet: Build) -> None:
    pool = fleet(5)
    pool.see(1.0, a=10, b=11, c=12, d=13, e=14)
    assert pool.height == 12
    assert pool.judgement.pools["main"].voters == 5


@pytest.mark.parametrize("size", [3, 4, 5, 7])
@pytest.mark.parametrize("lie", [0, 500, 1100, 10**6, 2**63 - 1, 2**63, HUGE, -5])
def test_one_liar_neither_leads_nor_sinks_anyone(fleet: Build, size: int, lie: int) -> None:
    pool = fleet(size, max_lag=1)
    for at in range(0, 60, 2):
        honest = 1000 + at // 10
        pool.see(float(at), **(dict.fromkeys(pool.nodes, honest) | {"a": lie}))
        assert pool.height == honest
        assert all(pool[name].status is Status.UP for name in list(pool.nodes)[1:])
        assert pool["a"].status is Status.DOWN


@given(
    honest=st.lists(st.integers(1000, 1010), min_size=2, max_size=6),
    lies=st.lists(st.one_of(st.integers(-10, 3000), st.just(HUGE)), min_size=1, max_size=12),
    tips=st.lists(st.one_of(st.none(), st.integers(0, 10**20)), min_size=12, max_size=12),
)
@settings(deadline=None, max_examples=150)
def test_no_liar_moves_the_quorum_out_of_the_honest_range(
    fleet: Build, honest: list[int], lies: list[int], tips: list[int | None]
) -> None:
    pool = fleet(len(honest) + 1, max_lag=10)
    names = list(pool.nodes)
    for at, (lie, tip) in enumerate(zip(lies, tips, strict=False)):
        readings: dict[str, Any] = {name: base + at for name, base in zip(names[1:], honest, strict=True)}
        pool.see(2.0 * at, a=Reading(height=lie, claimed_tip=tip), **readings)
        assert min(honest) + at <= pool.height <= max(honest) + at
        assert {name for name in names[1:] if pool[name].status is not Status.UP} == set()


def test_a_liar_that_wavers_between_honest_nodes_does_not_change_the_learned_pace(fleet: Build) -> None:
    pool = fleet(3, max_lag=10)
    for tick in range(600):
        true = 1000 + tick // 30  # one height a minute
        pool.see(2.0 * tick, a=true - 4 + tick % 5, b=true - 4, c=true)
        assert (pool["b"].status, pool["c"].status) == (Status.UP, Status.UP)
    assert pool.judgement.pools["main"].step > 20


def test_a_jumping_liar_does_not_shake_the_others(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    for at in range(0, 40, 2):
        pool.see(float(at), a=(10**9 if at % 4 else 5), b=1000 + at // 10, c=1000 + at // 10)
        assert (pool["b"].status, pool["c"].status) == (Status.UP, Status.UP)


def test_a_liar_that_is_heard_first_is_found_out_with_the_quorum(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    pool.see(0.1, a=10**6)
    assert (pool["a"].status, pool.height) == (Status.UP, None)
    pool.see(0.2, b=1000)
    assert pool.statuses() == "up up unknown"
    pool.see(0.3, c=1000)
    assert pool.statuses() == "down up up"
    assert "ahead of 1,000, all that a majority of the pool knows of" in pool["a"].reasons[0]
    assert pool["a"].failures >= 3, "this is not one lost packet"


def test_lag_is_said_in_numbers(fleet: Build) -> None:
    pool = fleet(3, max_lag=1, fall=1)
    pool.see(0.0, a=1197, b=1204, c=1204)
    assert pool["a"].status is Status.DOWN
    assert pool["a"].reasons == ("7 heights behind the pool's 1,204 (at most 1)",)
    assert pool["a"].lag == 7


def test_an_ahead_node_by_a_little_is_no_liar(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    pool.see(0.0, a=1005, b=1000, c=1000)
    assert pool.statuses() == "up up up"
    assert pool["a"].lag == 0


def test_the_well_connected_are_not_called_liars_by_a_majority_that_admits_to_be_syncing(
    fleet: Build,
) -> None:
    pool = fleet(5, max_lag=1)
    behind = Reading(height=500, claimed_tip=1000)
    blind = Reading(height=400, syncing=True)
    pool.see(0.0, a=1000, b=1000, c=behind, d=behind, e=blind)
    assert pool.statuses() == "up up down down down"
    pool = fleet(5, max_lag=1)
    pool.see(0.0, a=1000, b=1000, c=blind, d=blind, e=blind)
    assert pool.statuses() == "up up down down down"


def test_of_one_node_only_its_own_word_is_known(fleet: Build) -> None:
    pool = fleet(1, max_lag=1)
    pool.see(0.0, a=10**6)
    assert pool.statuses() == "up"
    pool = fleet(1, max_lag=1)
    pool.see(0.0, a=Reading(height=10, claimed_tip=20))
    assert pool.statuses() == "down"


def test_two_that_disagree_are_both_degraded_and_neither_goes(fleet: Build) -> None:
    pool = fleet(2, max_lag=1)
    for at in range(0, 40, 2):
        pool.see(float(at), a=1000, b=5000 + at)
    assert pool.statuses() == "degraded degraded"
    assert "who is right cannot be known" in pool["a"].reasons[0]


def test_of_two_the_one_that_admits_its_lag_goes_and_the_other_is_not_suspected(fleet: Build) -> None:
    pool = fleet(2, max_lag=1)
    pool.see(0.0, a=1000, b=Reading(height=900, claimed_tip=1000))
    assert pool.statuses() == "up down"


def test_a_third_node_that_is_dead_does_not_make_two_a_quorum(fleet: Build, refused: Failure) -> None:
    pool = fleet(3, max_lag=1)
    pool.see(0.0, a=1000, b=9000, c=refused)
    assert pool.statuses() == "degraded degraded down"


def test_a_survivor_does_not_undo_what_a_majority_had_reached(fleet: Build, refused: Failure) -> None:
    pool = fleet(3, max_lag=1, fall=1)
    pool.see(0.0, a=900, b=1000, c=1000)
    assert pool["a"].status is Status.DOWN
    pool.see(2.0, a=901, b=refused, c=refused)
    pool.see(4.0, a=902)
    assert pool.height == 1000
    assert pool["a"].status is Status.DEGRADED, "behind, but now there is no majority to take it out"


def test_a_chain_that_starts_again_is_followed_down(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    pool.see(0.0, a=1000, b=1000, c=1000)
    for at in (2.0, 4.0, 6.0, 8.0):
        pool.see(at, a=3, b=3, c=3)
    assert pool.height == 3
    assert pool.statuses() == "up up up"


def test_the_height_does_not_waver_when_voters_come_and_go(fleet: Build, refused: Failure) -> None:
    pool = fleet(3)
    pool.see(0.0, a=101, b=100, c=101)
    pool.see(2.0, a=refused)
    assert pool.height == 101


def test_a_node_that_is_being_removed_has_no_vote(fleet: Build) -> None:
    pool = fleet(3)
    pool.intend("c", Intent.REMOVE)
    pool.see(0.0, a=100, b=100, c=7)
    assert (pool.height, pool.judgement.pools["main"].voters) == (100, 2)


def test_newcomers_do_not_unsettle_a_known_pool(fleet: Build) -> None:
    pool = fleet(9, max_lag=1)
    late = {name: pool.nodes.pop(name) for name in "defghi"}
    pool.see(0.0, a=1000, b=1000, c=500)
    assert pool.statuses() == "up up down"
    pool.nodes |= late
    pool.see(2.0, a=1000, b=1000, c=500)
    assert (pool.height, pool["c"].status) == (1000, Status.DOWN)
    pool.see(4.0, a=1001, b=1001, c=1001)
    assert pool.height == 1001


# --- heights that are read at different times ---


@pytest.mark.parametrize("step", [0.2, 0.5, 1.0, 12.0, 60.0])
@pytest.mark.parametrize("interval", [0.5, 2.0, 10.0])
def test_honest_nodes_that_are_probed_at_different_times_never_lag(
    fleet: Build, step: float, interval: float
) -> None:
    pool = fleet(5, max_lag=1, fall=1)
    offset = {
        name: interval * share for name, share in zip(pool.nodes, (0.0, 0.19, 0.45, 0.46, 0.95), strict=True)
    }
    due = dict(offset)
    now = 0.0
    while now < max(30 * interval, 10 * step):
        now = min(due.values())
        for name in pool.nodes:
            if due[name] <= now:
                pool.observe(name, due[name], 10_000 + int(due[name] / step))
                due[name] += interval
        pool.judge(now + 0.3 * interval % 1.0)
        assert {verdict.reasons for verdict in pool.judgement.verdicts.values()} <= {
            (),
            ("no probe has ended yet",),
        }


def test_on_a_fast_chain_a_node_that_is_really_behind_is_found(fleet: Build) -> None:
    pool = fleet(3, max_lag=5, fall=1)
    for tick in range(40):
        at = 2.0 * tick
        for share, name in enumerate(pool.nodes):
            when = at + 0.6 * share
            true = 10_000 + int(when / 0.2)
            pool.observe(name, when, true - (200 if name == "b" and tick > 20 else 0))
            pool.judge(when)
    assert pool.statuses() == "up down up"


def test_a_node_that_was_asked_before_the_others_moved_on_does_not_lag(fleet: Build) -> None:
    pool = fleet(5, max_lag=1, fall=1)
    pool.observe("a", 0.0, 10_000)
    for name in "bcde":
        pool.observe(name, 0.9, 10_004)
    pool.judge(1.0)
    assert pool.statuses() == "up up up up up"
    pool.observe("a", 0.0, 9_000)
    pool.judgement = type(pool.judgement)()
    pool.judge(1.0)
    assert pool.statuses() == "down up up up up"


# --- freshness ---


def test_the_step_is_learned_from_the_advances_of_the_quorum(fleet: Build) -> None:
    pool = fleet(3)
    walked(pool, step=10.0, advances=20)
    view = pool.judgement.pools["main"]
    assert view.step == pytest.approx(10.0, abs=0.5)
    assert view.advances >= 10


def test_the_first_advance_is_not_timed_as_nobody_saw_its_beginning(fleet: Build) -> None:
    pool = fleet(3)
    for at, height in ((9.9, 100), (10.0, 101), (20.0, 102)):
        pool.see(at, a=height, b=height, c=height)
    assert pool.judgement.pools["main"].step == pytest.approx(10.0)


def test_the_pace_of_a_pool_that_catches_up_is_not_the_chains(fleet: Build) -> None:
    pool = fleet(3)
    at = walked(pool, step=10.0, advances=20)
    for tick in range(30):
        height = 1020 + 50 * tick
        behind = Reading(height=height, claimed_tip=height + 5000)
        pool.see(at + 2.0 * tick, a=behind, b=behind, c=height)
    assert pool.height == 1020 + 50 * 29
    assert pool.judgement.pools["main"].step == pytest.approx(10.0, abs=0.5)


def test_a_halt_and_a_burst_are_no_pace(fleet: Build) -> None:
    pool = fleet(3)
    at = walked(pool, step=10.0, advances=20)
    pool.see(at + 3600, **dict.fromkeys(pool.nodes, 1022))
    pool.see(at + 3601, **dict.fromkeys(pool.nodes, 1500))
    assert pool.judgement.pools["main"].step == pytest.approx(10.0, rel=0.3)


@pytest.mark.parametrize("size", [3, 4])
def test_a_node_that_stands_while_the_pool_moves_on_is_down(fleet: Build, size: int) -> None:
    pool = fleet(size)  # no max_lag: only freshness can find it
    at = walked(pool, step=10.0)
    frozen = pool["a"].height
    while at < 500:
        pool.see(at, **(dict.fromkeys(pool.nodes, 1000 + int(at // 10)) | {"a": frozen}))
        at += 2.0
    assert pool.statuses() == " ".join(["down", *["up"] * (size - 1)])
    assert pool["a"].rules == ("stall",)
    assert f"stands at {frozen:,} for" in pool["a"].reasons[0]
    assert pool.judgement.pools["main"].voters == size - 1, "who is frozen has no vote"


def test_a_pool_that_stands_still_is_degraded_and_nobody_goes(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    at = walked(pool, step=10.0)
    stands = pool.height
    while at < 400:
        pool.see(at, **dict.fromkeys(pool.nodes, stands))
        at += 2.0
    assert pool.statuses() == "degraded degraded degraded"
    assert "a network halt and frozen nodes cannot be told apart" in pool["a"].reasons[0]
    pool.see(at, **dict.fromkeys(pool.nodes, stands + 1))
    pool.see(at + 2, **dict.fromkeys(pool.nodes, stands + 1))
    assert pool.statuses() == "up up up"


def test_when_two_of_three_freeze_the_one_that_moves_is_not_thrown_out(fleet: Build) -> None:
    pool = fleet(3, max_lag=1)
    at = walked(pool, step=10.0)
    frozen = pool.height
    while at < 2000:
        pool.see(at, a=frozen, b=frozen, c=1000 + int(at // 10))
        at += 2.0
    assert pool.statuses() == "degraded degraded degraded"


def test_max_stall_overrides_what_was_learned(fleet: Build) -> None:
    pool = fleet(1, fall=1, max_stall=5.0)
    pool.see(0.0, a=10)
    pool.see(4.0, a=10)
    assert pool.statuses() == "up"
    pool.see(6.0, a=10)
    assert pool.statuses() == "degraded"


def test_slow_probes_of_a_moving_pool_are_no_halt(fleet: Build) -> None:
    pool = fleet(3, fall=1, max_age=2000.0)
    for round_ in range(12):
        for share, name in enumerate(pool.nodes):
            at = 300.0 * round_ + 100.0 * share
            pool.observe(name, at, 1000 + int(at // 12))
            pool.judge(at)
    assert pool.statuses() == "up up up"


# --- chain identity ---


def reading(chain: str | None) -> Reading:
    return Reading(height=100, chain=chain)


def test_a_majority_of_three_knows_the_chain_and_the_other_is_down_at_once(fleet: Build) -> None:
    pool = fleet(3)
    pool.see(0.0, a=reading("x"), b=reading("x"), c=reading("x"))
    pool.see(2.0, a=reading("x"), b=reading("x"), c=reading("y"))
    assert pool.statuses() == "up up down"
    assert pool["c"].reasons == ("on chain 'y', the pool's majority is on 'x'",)
    assert pool.judgement.pools["main"].chain == "x"


def test_two_on_different_chains_are_both_degraded(fleet: Build) -> None:
    pool = fleet(2)
    pool.see(0.0, a=reading("x"), b=reading("y"))
    assert pool.statuses() == "degraded degraded"
    assert "no majority of at least three agrees" in pool["a"].reasons[0]


def test_the_unheard_could_turn_a_majority_so_it_waits_for_them(fleet: Build) -> None:
    pool = fleet(7)
    pool.see(0.0, a=reading("y"), b=reading("y"), c=reading("x"))
    assert pool["c"].status is Status.UP
    pool.see(1.0, d=reading("x"), e=reading("x"), f=reading("x"), g=reading("x"))
    pool.see(2.0, a=reading("y"), b=reading("y"))
    assert pool.statuses() == "down down up up up up up"


def test_a_configured_chain_is_not_outvoted(fleet: Build) -> None:
    pool = fleet(3, chain="x")
    pool.see(0.0, a=reading("x"), b=reading("y"), c=reading("y"))
    assert pool.statuses() == "up down down"
    assert pool.judgement.pools["main"].voters == 1


def test_the_chain_stays_known_when_most_nodes_die(fleet: Build, refused: Failure) -> None:
    pool = fleet(3)
    pool.see(0.0, a=reading("x"), b=reading("x"), c=reading("x"))
    pool.see(2.0, a=reading("x"), b=refused, c=refused)
    pool.see(4.0, a=reading("y"))
    assert pool["a"].status is Status.DOWN


def test_nodes_that_do_not_tell_their_chain_still_vote_on_height(fleet: Build) -> None:
    pool = fleet(4)
    pool.see(0.0, a=reading("x"), b=reading("x"), c=reading("x"), d=reading(None))
    assert pool.judgement.pools["main"].voters == 4
    assert pool.statuses() == "up up up up"


def test_readings_that_are_too_old_have_no_vote(fleet: Build) -> None:
    pool = fleet(3, max_age=60.0)
    pool.see(0.0, a=500, b=500, c=500)
    pool.see(100.0, c=700)
    assert pool.judgement.pools["main"].voters == 1
    assert pool.height == 700
