"""What looks like a disaster is held back, and what is one gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.catalog import Check
from nodegate.consul.damping import Held, Restarts, hold_restarted, hold_vanished
from nodegate.model import Instant, Seconds

HOLD = Seconds(30.0)


def vanish(
    before: dict[str, int], after: dict[str, int], held: Held | None = None, now: float = 0.0
) -> tuple[dict[str, int], Held]:
    return hold_vanished(before, after, held or Held(), Instant(now), share=0.5, hold=HOLD)


FOUR = {"a": 1, "b": 2, "c": 3, "d": 4}


def test_one_of_four_may_go() -> None:
    assert vanish(FOUR, {"a": 1, "b": 2, "c": 3})[0] == {"a": 1, "b": 2, "c": 3}


def test_three_of_four_are_kept_for_a_while_and_then_go() -> None:
    shown, held = vanish(FOUR, {"a": 1})
    assert shown == FOUR
    again, held = vanish(shown, {"a": 1}, held, 29.9)
    assert again == FOUR
    gone, held = vanish(again, {"a": 1}, held, 30.0)
    assert gone == {"a": 1}
    assert held == Held()


def test_all_that_return_are_as_they_are_now() -> None:
    shown, held = vanish(FOUR, {})
    back, held = vanish(shown, {"a": 9, "b": 2, "c": 3, "d": 4}, held, 5)
    assert back == {"a": 9, "b": 2, "c": 3, "d": 4}
    assert held == Held()


def test_others_that_go_later_do_not_prolong_the_wait() -> None:
    shown, held = vanish(FOUR, {"a": 1})
    shown, held = vanish(shown, {}, held, 20)
    assert shown == FOUR
    assert vanish(shown, {}, held, 30)[0] == {}


def test_one_or_two_services_may_go_all_together() -> None:
    assert vanish({"a": 1, "b": 2}, {})[0] == {}


def test_a_hold_of_zero_holds_nothing() -> None:
    assert hold_vanished(FOUR, {}, Held(), Instant(0.0), share=0.5, hold=Seconds(0.0)) == ({}, Held())


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 12)), st.floats(0, 20)), min_size=1, max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_what_is_there_is_shown_and_nothing_is_kept_longer_than_the_hold(
    reads: list[tuple[set[int], float]],
) -> None:
    shown: dict[int, int] = {}
    held, now = Held(), 0.0
    missing_since: dict[int, float] = {}
    for present, pause in reads:
        now += pause
        after = dict.fromkeys(present, 1)
        before = shown
        shown, held = hold_vanished(before, after, held, Instant(now), share=0.5, hold=HOLD)
        assert present <= shown.keys()
        assert shown.keys() <= before.keys() | present
        for key in present:
            missing_since.pop(key, None)
        for key in shown.keys() - present:
            assert now - missing_since.setdefault(key, now) < HOLD


def check(name: str, status: str, output: str = "x", service: str = "s", kind: str = "ttl") -> Check:
    return Check(id=name, name=name, status=status, service_id=service, output=output, kind=kind)


def fleet(status: str, output: str = "x", count: int = 3) -> dict[tuple[str, str], Check]:
    return {("n", f"c{number}"): check(f"c{number}", status, output) for number in range(count)}


def statuses(shown: dict[tuple[str, str], Check]) -> list[str]:
    return [one.status for one in shown.values()]


def test_checks_that_an_agent_has_reset_keep_their_state_until_they_run() -> None:
    before, reset = fleet("passing"), fleet("critical", "")
    shown, restarts = hold_restarted(before, reset, Restarts(), Instant(0.0), hold=HOLD)
    assert statuses(shown) == ["passing"] * 3
    ran = {
        **reset,
        ("n", "c0"): check("c0", "critical", "refused"),
        ("n", "c1"): check("c1", "warning", "slow"),
    }
    shown, restarts = hold_restarted(shown, ran, restarts, Instant(5.0), hold=HOLD)
    assert statuses(shown) == ["critical", "warning", "passing"]
    shown, _ = hold_restarted(shown, ran, restarts, Instant(31.0), hold=HOLD)
    assert statuses(shown) == ["critical", "warning", "critical"]


def test_one_check_that_fails_without_a_word_counts_at_once() -> None:
    before = fleet("passing")
    after = {**before, ("n", "c0"): check("c0", "critical", "")}
    assert statuses(hold_restarted(before, after, Restarts(), Instant(0.0), hold=HOLD)[0])[0] == "critical"


@pytest.mark.parametrize("kind", ["http", "tcp", "grpc"])
def test_one_check_that_always_has_an_output_and_has_none_has_not_run_whatever_the_others_say(
    kind: str,
) -> None:
    before = fleet("passing") | {("n", "c0"): check("c0", "passing", kind=kind)}
    after = fleet("passing") | {("n", "c0"): check("c0", "critical", "", kind=kind)}
    shown, restarts = hold_restarted(before, after, Restarts(), Instant(0.0), hold=HOLD)
    assert statuses(shown) == ["passing"] * 3
    after[("n", "c0")] = check("c0", "critical", "refused", kind=kind)
    shown, _ = hold_restarted(shown, after, restarts, Instant(1.0), hold=HOLD)
    assert statuses(shown)[0] == "critical"


def test_checks_that_fail_with_a_reason_count_at_once() -> None:
    shown, _ = hold_restarted(
        fleet("passing"), fleet("critical", "refused"), Restarts(), Instant(0.0), hold=HOLD
    )
    assert statuses(shown) == ["critical"] * 3


def test_new_checks_that_have_not_run_yet_are_not_made_up() -> None:
    shown, _ = hold_restarted({}, fleet("critical", ""), Restarts(), Instant(0.0), hold=HOLD)
    assert statuses(shown) == ["critical"] * 3


def test_a_node_that_is_lost_is_lost_at_once() -> None:
    serf = {("n", "serfHealth"): check("serfHealth", "passing", service="")}
    lost = {("n", "serfHealth"): check("serfHealth", "critical", "", service="")}
    assert statuses(hold_restarted(serf, lost, Restarts(), Instant(0.0), hold=HOLD)[0]) == ["critical"]
