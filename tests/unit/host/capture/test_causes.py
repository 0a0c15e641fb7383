"""Findings name a likely cause, and a rule that there is."""

from __future__ import annotations

import pytest

from nodegate.host.capture.causes import CAUSES, LOCKED, Silence, findings_of
from nodegate.lab.iri import SERIALISED
from nodegate.policy.document import default_document
from nodegate.policy.limits import GATEWAY_RULES
from nodegate.policy.reasons import RULES


def silence(command: str, *, reference: bool = False, count: int = 17, shortest: float = 61.0) -> Silence:
    return Silence(command=command, reference=reference, count=count, shortest=shortest, longest=shortest * 2)


def test_the_stall_of_2018_is_named_with_the_rule_that_refuses_it() -> None:
    (finding,) = findings_of([silence("getTransactionsToApprove", reference=True)])
    assert finding.text.startswith(
        "17 getTransactionsToApprove with a reference unanswered for > 61 s: the old-reference stall; "
    )
    assert "see policy rule body-pattern (body.denied of policy iri)" in finding.text


@pytest.mark.parametrize(
    ("silences", "causes"),
    [
        ([silence("getTransactionsToApprove")], ["tip-selection"]),
        ([silence("attachToTangle")], ["proof-of-work"]),
        ([silence("getTrytes")], ["unanswered"]),
        (
            [
                silence("getTrytes", count=90),
                silence("getTransactionsToApprove", reference=True),
                silence("eth_call"),
            ],
            ["old-reference-stall", "behind-the-stall", "unanswered"],
        ),
        ([], []),
    ],
)
def test_the_first_cause_that_holds_is_told_and_the_stall_stands_first(
    silences: list[Silence], causes: list[str]
) -> None:
    assert [finding.cause for finding in findings_of(silences)] == causes


def test_every_rule_and_key_that_is_named_is_in_the_default_policy() -> None:
    for cause in CAUSES:
        if not cause.rule:
            continue
        assert cause.rule in RULES or cause.rule in GATEWAY_RULES
        place: object = default_document("iri").data
        for part in cause.key.split("."):
            assert isinstance(place, dict)
            place = place[part]
        assert place


def test_what_waits_behind_the_stall_is_what_shares_its_lock() -> None:
    assert LOCKED | {"getTransactionsToApprove"} == SERIALISED
