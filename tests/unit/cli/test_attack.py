"""What `nodegate lab attack` says in words."""

from __future__ import annotations

from nodegate.cli.attack import outcome
from nodegate.lab.attack_report import AttackReport, Honest, Sent
from nodegate.lab.attacks import ATTACKS
from nodegate.model import Seconds

QUIET = Honest(ok=400, failed=0, p50=Seconds(0.002), p99=Seconds(0.004))
HARMED = Honest(ok=0, failed=9, p50=None, p99=None)


def said(sent: Sent, *, during: Honest = QUIET, already: frozenset[str] = frozenset()) -> str:
    return outcome(
        AttackReport(
            attack=ATTACKS[0], sent=sent, quiet={"reads": QUIET}, during={"reads": during},
            already=already, seconds=Seconds(1.0),
        )
    )  # fmt: skip


def test_the_rules_that_refused_are_named_the_busiest_first() -> None:
    sent = Sent(sent=9, by_status={403: 6, 429: 3}, by_rule={"banned": 3, "method-denied": 6})
    assert said(sent) == "refused by method-denied, banned"


def test_a_refusal_without_a_rule_is_one_too() -> None:
    assert said(Sent(sent=3, by_status={401: 3})) == "refused"
    assert said(Sent(sent=3, cut=3)) == "refused"


def test_what_got_through_and_who_was_harmed_is_told_together() -> None:
    text = said(Sent(sent=1, by_status={200: 1}), during=HARMED)
    assert text == "a node worked on what no node should get; honest clients were harmed (reads)"


def test_harm_of_an_earlier_attack_is_not_blamed_on_this_one() -> None:
    text = said(Sent(sent=1, by_status={403: 1}), during=HARMED, already=frozenset({"reads"}))
    assert text == "cannot be told: reads had not recovered from the attack before"


def test_connections_that_did_no_harm_were_borne() -> None:
    assert said(Sent(sent=800, most_open=800)) == "borne, 800 connections at once"
