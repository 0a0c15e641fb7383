"""What scaling decides: each rule in its place, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Instant, Intent, Seconds, Status
from nodegate.scaling import (
    Action,
    Facts,
    Ledger,
    Member,
    Own,
    Phase,
    decide,
    is_own,
    marked,
    own_id,
    settle,
    wait_after,
    wanted,
)
from nodegate.settings import ScalingSettings

NOW = Instant(100_000.0)
RULES = ScalingSettings(size=3, start=("start",), stop=("stop",))


def rules(**changes: object) -> ScalingSettings:
    return ScalingSettings.model_validate(RULES.model_dump() | changes)


def member(name: str, status: Status = Status.UP, **changes: object) -> Member:
    fields: dict[str, object] = {"id": name, "url": f"http://{name}:1", "kind": "iri", "status": status}
    return Member(**(fields | {"since": Instant(NOW - 10_000)} | changes))  # type: ignore[arg-type]


def own(name: str, phase: Phase = Phase.RUNNING, **changes: object) -> Own:
    fields: dict[str, object] = {"id": name, "kind": "iri", "started_at": NOW, "at": NOW, "phase": phase}
    return Own(**(fields | {"url": f"http://{name}:1"} | changes))  # type: ignore[arg-type]


def facts(*members: Member, **changes: object) -> Facts:
    return Facts(pool="main", members=members, **changes)  # type: ignore[arg-type]


def ledger(*owned: Own, **changes: object) -> Ledger:
    return Ledger(own={item.id: item for item in owned}, **changes)  # type: ignore[arg-type]


OWN = own_id("main", "abc123")
THREE = (member("a"), member("b"), member("c"))
TWO = THREE[:2]


def test_enough_healthy_nodes_need_nothing() -> None:
    decision = decide(facts(*THREE), ledger(), RULES, NOW)
    assert (decision.action, decision.why) == (Action.NOTHING, "3 healthy nodes, as wanted")


def test_too_few_healthy_nodes_start_one() -> None:
    decision = decide(facts(*TWO, member("c", Status.DOWN)), ledger(), RULES, NOW)
    assert (decision.action, decision.why) == (Action.START, "2 healthy nodes, 3 wanted")


def test_a_degraded_or_draining_node_is_not_a_healthy_one() -> None:
    for third in (member("c", Status.DEGRADED), member("c", intent=Intent.DRAIN)):
        assert decide(facts(*TWO, third), ledger(), RULES, NOW).action is Action.START


def test_a_node_that_nobody_judged_yet_may_still_be_healthy() -> None:
    decision = decide(facts(*TWO, member("c", Status.UNKNOWN)), ledger(), RULES, NOW)
    assert (decision.action, decision.starting) == (Action.NOTHING, 1)


def test_what_is_on_the_way_is_not_started_twice() -> None:
    joining = ledger(own(OWN, started_at=Instant(NOW - 100)))
    assert decide(facts(*TWO, member(OWN, Status.DOWN)), joining, RULES, NOW).action is Action.NOTHING


def test_nothing_is_done_blindly() -> None:
    decision = decide(facts(blind="the registry cannot be read"), ledger(), RULES, NOW)
    assert (decision.action, decision.why) == (Action.NOTHING, "the registry cannot be read")


def test_only_the_gateway_in_charge_acts() -> None:
    decision = decide(facts(in_charge="gw-2"), ledger(), RULES, NOW)
    assert (decision.action, decision.why) == (Action.NOTHING, "gw-2 is in charge of this pool")


def test_the_cool_down_comes_between_two_actions() -> None:
    before = ledger(acted_at=Instant(NOW - 10), acted="x was started")
    decision = decide(facts(*TWO), before, RULES, NOW)
    assert decision.action is Action.NOTHING
    assert "50 s" in decision.why
    assert decide(facts(*TWO), before, RULES, Instant(NOW + 50)).action is Action.START


def test_each_failure_doubles_the_wait_up_to_an_hour() -> None:
    waits = [wait_after(ledger(failures=count), RULES) for count in (0, 1, 2, 3, 6, 40)]
    assert waits == [60, 120, 240, 480, 3600, 3600]
    assert wait_after(ledger(failures=1), rules(cooldown=0)) > 0
    assert wait_after(ledger(failures=9), rules(cooldown=50_000)) == 50_000


def test_a_failed_start_is_asked_for_again_under_the_same_id() -> None:
    failed = ledger(own(OWN, Phase.STARTING), failures=1, failure="no quota", acted_at=Instant(NOW - 119))
    assert decide(facts(*TWO), failed, RULES, NOW).why == "no quota; tried again in 1 s"
    decision = decide(facts(*TWO), failed, RULES, Instant(NOW + 1))
    assert (decision.action, decision.node) == (Action.START, OWN)


def test_a_stop_that_is_owed_does_not_wait_for_the_cool_down() -> None:
    owed = ledger(own(OWN, Phase.GONE), acted_at=NOW, acted="x")
    decision = decide(facts(*THREE), owed, RULES, NOW)
    assert (decision.action, decision.node) == (Action.STOP, OWN)


def test_at_the_limit_a_broken_one_goes_before_a_new_one_comes() -> None:
    limit = rules(max_started=1)
    late = ledger(own(OWN, started_at=Instant(NOW - 901)))
    decision = decide(facts(*TWO, member(OWN, Status.DOWN)), late, limit, NOW)
    assert (decision.action, decision.node, decision.why) == (
        Action.DRAIN, OWN, f"{OWN} did not become healthy in time",
    )  # fmt: skip
    busy = ledger(own(OWN, Phase.DRAINING))
    assert "max_started" in decide(facts(*TWO), busy, limit, NOW).why


def test_a_broken_node_is_stopped_once_the_pool_is_whole_again() -> None:
    gone_bad = ledger(own(OWN, joined=True))
    bad = member(OWN, Status.DOWN, since=Instant(NOW - 299))
    assert decide(facts(*THREE, bad), gone_bad, RULES, NOW).action is Action.NOTHING
    decision = decide(facts(*THREE, bad), gone_bad, RULES, Instant(NOW + 1))
    assert (decision.action, decision.node, decision.why) == (
        Action.DRAIN, OWN, f"{OWN} has been out too long",
    )  # fmt: skip


def test_a_surplus_goes_when_it_lasts_and_only_of_its_own() -> None:
    four = facts(*THREE, member(OWN))
    before = marked(four, ledger(own(OWN, joined=True)), RULES, NOW)
    assert before.surplus_since == NOW
    assert "in 600 s" in decide(four, before, RULES, NOW).why
    decision = decide(four, before, RULES, Instant(NOW + 600))
    assert (decision.action, decision.node) == (Action.DRAIN, OWN)
    assert marked(facts(*THREE), before, RULES, NOW).surplus_since is None
    strangers = facts(*THREE, member("d"))
    assert marked(strangers, ledger(), RULES, NOW).surplus_since is None


def test_the_least_busy_goes_first() -> None:
    other = own_id("main", "zzz999")
    five = facts(*THREE, member(OWN, sessions=4), member(other, sessions=1))
    before = ledger(own(OWN, joined=True), own(other, joined=True), surplus_since=Instant(NOW - 601))
    assert decide(five, before, RULES, NOW).node == other


def test_the_last_healthy_node_stays() -> None:
    alone = facts(member(OWN))
    before = ledger(own(OWN, joined=True), surplus_since=Instant(NOW - 9999))
    assert decide(alone, before, rules(size=1), NOW).action is Action.NOTHING


@pytest.mark.parametrize(
    ("rate", "spare", "asked"), [(None, 1.0, 3), (0, 1.0, 3), (301, 1.0, 4), (301, 0.8, 4), (330, 0.8, 5), (9999, 1.0, 6)]
)  # fmt: skip
def test_the_load_asks_for_nodes_between_size_and_max_size(
    rate: float | None, spare: float, asked: int
) -> None:
    assert wanted(rules(load_per_node=100, max_size=6), rate, spare=spare) == asked


def test_without_a_known_load_nothing_shrinks() -> None:
    four = facts(*THREE, member(OWN))
    limits = rules(load_per_node=100)
    assert marked(four, ledger(own(OWN, joined=True)), limits, NOW).surplus_since is None
    assert marked(replace(four, rate=1.0), ledger(own(OWN, joined=True)), limits, NOW).surplus_since == NOW


# The ledger


def settled(before: Ledger, *members: Member, now: float = NOW) -> Ledger:
    return settle(before, facts(*members), Instant(now), patience=Seconds(300.0))


def test_a_record_that_was_asked_to_go_and_went_leaves_the_stop_owed() -> None:
    draining = settled(ledger(own(OWN)), member(OWN, intent=Intent.REMOVE))
    assert draining.own[OWN].phase is Phase.DRAINING
    assert settled(draining).own[OWN].phase is Phase.GONE


def test_a_node_that_is_to_serve_again_stays() -> None:
    before = ledger(own(OWN, Phase.DRAINING))
    assert settled(before, member(OWN)).own[OWN].phase is Phase.RUNNING


def test_a_record_that_vanished_is_waited_for_before_its_node_is_stopped() -> None:
    missing = settled(ledger(own(OWN, joined=True)))
    assert missing.own[OWN].phase is Phase.RUNNING
    assert settled(missing, member(OWN), now=NOW + 299).own[OWN].missing_since is None
    assert settled(missing, now=NOW + 299).own[OWN].phase is Phase.RUNNING
    assert settled(missing, now=NOW + 300).own[OWN].phase is Phase.GONE


def test_a_node_that_registers_itself_may_take_its_time() -> None:
    before = ledger(own(OWN, url=""))
    assert settled(settled(before), now=NOW + 10_000).own[OWN].phase is Phase.RUNNING


def test_a_record_that_somebody_else_keeps_does_not_hold_up_the_stop() -> None:
    before = ledger(own(OWN, Phase.DRAINING))
    idle = member(OWN, intent=Intent.REMOVE, routed=False)
    assert settled(before, idle, now=NOW + 14).own[OWN].phase is Phase.DRAINING
    stopped = settled(before, idle, now=NOW + 15)
    assert stopped.own[OWN].phase is Phase.GONE
    assert settled(stopped, idle, now=NOW + 16).own[OWN].phase is Phase.GONE
    assert settled(ledger(), idle).own == {}


def test_nodes_that_another_gateway_started_are_adopted() -> None:
    adopted = settled(ledger(), member(OWN), member("main-auto-nope"), member("other-auto-abc123"))
    assert set(adopted.own) == {OWN}
    assert adopted.own[OWN].joined


def test_a_start_that_was_cut_short_after_its_record_was_written_is_over() -> None:
    assert settled(ledger(own(OWN, Phase.STARTING)), member(OWN)).own[OWN].phase is Phase.RUNNING


@given(st.text("abcz-.", min_size=1, max_size=63), st.text("abcz09", min_size=6, max_size=6))
@settings(max_examples=100, deadline=None)
def test_an_own_id_is_known_again_and_fits_where_ids_go(pool: str, ending: str) -> None:
    name = own_id(pool, ending)
    assert is_own(pool, name)
    assert len(name) <= 63
    assert not is_own(f"x{pool}", name)


# Whatever happens

statuses = st.sampled_from(Status)
members_ = st.builds(
    member,
    st.sampled_from([*"abcdef", *(own_id("main", f"aaaaa{digit}") for digit in range(6))]),
    statuses,
    intent=st.sampled_from(Intent),
    since=st.floats(0, NOW).map(Instant),
    sessions=st.integers(0, 9),
    routed=st.booleans(),
)
scenes = st.builds(
    lambda items, rate: facts(*{item.id: item for item in items}.values(), rate=rate),
    st.lists(members_, max_size=12),
    st.none() | st.floats(0, 10_000),
)
rule_sets = st.builds(
    lambda size, extra, most, per: rules(size=size, max_size=size + extra, max_started=most, load_per_node=per),
    st.integers(1, 6), st.integers(0, 4), st.integers(1, 6), st.none() | st.floats(1, 1000),
)  # fmt: skip


@given(scenes, rule_sets, st.none() | st.floats(0, NOW).map(Instant), st.integers(0, 3), st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_happens_limits_hold_and_only_own_nodes_go(
    scene: Facts, limits: ScalingSettings, acted: Instant | None, failures: int, long_ago: bool
) -> None:
    known = settle(ledger(acted_at=acted, failures=failures), scene, NOW, patience=Seconds(0.0))
    known = marked(scene, known, limits, Instant(NOW - 10_000 if long_ago else NOW))
    decision = decide(scene, known, limits, NOW)
    healthy = [item.id for item in scene.members if item.status is Status.UP and item.intent is Intent.SERVE]
    assert decision.why
    if decision.action is Action.START and not decision.node:
        assert len(known.own) < limits.max_started
        assert len(healthy) < decision.wanted
    if decision.action in {Action.DRAIN, Action.STOP}:
        assert is_own("main", decision.node)
    if decision.action is Action.DRAIN and decision.node in healthy:
        assert len(healthy) > max(1, limits.size)
    assert limits.size <= decision.wanted <= (limits.max_size or 10_000)
