"""What counts as harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodegate.lab.attack_report import LOST, AttackReport, Campaign, Honest, Sent
from nodegate.lab.attacks import ATTACKS
from nodegate.model import Seconds

QUIET = Honest(ok=400, failed=0, p50=Seconds(0.002), p99=Seconds(0.2))
FORBIDDEN = next(attack for attack in ATTACKS if attack.forbidden)
LIMITED = next(attack for attack in ATTACKS if not attack.forbidden)


def seen(**changes: object) -> Honest:
    return replace(QUIET, **changes)  # type: ignore[arg-type]


def report(**changes: object) -> AttackReport:
    made = AttackReport(
        attack=FORBIDDEN,
        sent=Sent(sent=10, by_status={403: 10}, by_rule={"method-denied": 10}),
        quiet={"reads": QUIET},
        during={"reads": QUIET},
        already=frozenset(),
        seconds=Seconds(4.0),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("during", "harm"),
    [
        (seen(), False),
        (seen(p99=Seconds(0.39)), False),
        (seen(p99=Seconds(0.41)), True),
        (seen(failed=4), False),
        (seen(failed=5), True),
        (seen(ok=0, failed=3, p50=None, p99=None), True),
        (seen(ok=0, failed=0, p50=None, p99=None), True),
    ],
)
def test_harm_is_twice_the_p99_or_one_in_a_hundred_lost(during: Honest, harm: bool) -> None:
    assert during.worse_than(QUIET) is harm


def test_a_tenth_of_a_second_is_the_machines_own_noise() -> None:
    quick = seen(p99=Seconds(0.003))
    assert not seen(p99=Seconds(0.1)).worse_than(quick)
    assert seen(p99=Seconds(0.11)).worse_than(quick)


@given(ok=st.integers(1, 10_000), failed=st.integers(0, 10_000), p99=st.floats(0, 10))
def test_more_failures_and_longer_waits_never_look_better(ok: int, failed: int, p99: float) -> None:
    now = seen(ok=ok, failed=failed, p99=Seconds(p99))
    if now.worse_than(QUIET):
        assert seen(ok=ok, failed=failed + 1, p99=Seconds(p99)).worse_than(QUIET)
        assert seen(ok=ok, failed=failed, p99=Seconds(p99 + 1)).worse_than(QUIET)
    else:
        assert failed <= LOST * (ok + failed)


def test_a_refused_attack_is_harmless() -> None:
    assert report().harmless


def test_a_good_answer_to_a_forbidden_request_is_harm() -> None:
    got = report(sent=Sent(sent=10, by_status={403: 9, 200: 1}))
    assert (got.got_through, got.harmless) == (1, False)


def test_silence_after_a_forbidden_request_is_harm() -> None:
    assert report(sent=Sent(sent=1, unheard=1)).got_through == 1


def test_a_limited_attack_may_be_answered() -> None:
    assert report(attack=LIMITED, sent=Sent(sent=10, by_status={200: 2, 429: 8})).harmless


@pytest.mark.parametrize(
    ("sent", "group", "limited"),
    [
        (Sent(sent=100, by_status={429: 95, 504: 5}), "lookups", True),
        (Sent(sent=100, by_status={429: 95, 504: 5}), "reads", False),
        (Sent(sent=100, by_status={429: 80, 504: 20}), "lookups", False),
        (Sent(sent=100, by_status={504: 90}, unheard=10), "lookups", False),
        (Sent(sent=100, unheard=100), "lookups", False),
    ],
)
def test_only_an_attack_that_was_turned_away_and_made_lookups_wait_is_limited(
    sent: Sent, group: str, limited: bool
) -> None:
    stall = next(attack for attack in ATTACKS if attack.strains)
    made = report(attack=stall, sent=sent, quiet={group: QUIET}, during={group: seen(p99=Seconds(3.0))})
    assert (made.harmless, made.limited, made.borne) == (False, limited, limited)
    assert not report(sent=sent, quiet={group: QUIET}, during={group: seen(p99=Seconds(3.0))}).limited


def test_harm_that_an_earlier_attack_did_is_not_this_ones_but_leaves_it_unproven() -> None:
    late = report(during={"reads": seen(p99=None)}, already=frozenset({"reads"}))
    assert late.harmed == ()
    assert not late.harmless


def test_one_harmful_attack_makes_the_run_harmful() -> None:
    good, bad = report(), report(during={"reads": seen(p99=Seconds(3.0))})
    assert Campaign(url="u", quiet={"reads": QUIET}, reports=(good,)).harmless
    campaign = Campaign(url="u", quiet={"reads": QUIET}, reports=(good, bad))
    document = campaign.document()
    assert not document["harmless"]
    assert [each["harmed"] for each in document["attacks"]] == [[], ["reads"]]
    assert document["quiet"]["reads"]["p99_ms"] == 200.0
