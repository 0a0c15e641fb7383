"""What a policy says of the rule that refused."""

from __future__ import annotations

import pytest

from nodegate.documents import parse
from nodegate.haproxy import refusals
from nodegate.policy.document import load_policy
from nodegate.policy.limits import GATEWAY_RULES, Limit, limit_of
from nodegate.policy.reasons import RULES

OWN = f'[keys.bob]\nhash = "{"a" * 64}"\nper_10s = 7\n[methods.getTips]\nrate_overall = "9/10s"'
POLICY = load_policy("iri", parse(OWN, file="own.toml")).policy


@pytest.mark.parametrize(
    ("rule", "method", "key", "text", "place"),
    [
        ("rate", "getTransactionsToApprove", None, "10 in 10 s, 30 in 1 min", "methods.getTransactionsToApprove.rate"),
        ("rate-overall", "getTips", None, "9 in 10 s", "methods.getTips.rate_overall"),
        ("budget-10s", None, None, "6000 units in 10 s", "budget.per_10s"),
        ("budget-10s", None, "bob", "the key bob may spend 7 units", "keys.bob.per_10s"),
        ("budget-1m", None, "bob", "18000 units in 1 min", "keys.bob.per_1m"),
        ("concurrent", None, None, "20 requests under way", "client.max_concurrent"),
        ("banned", None, None, "100 refusals within a minute ban a client for 300 s", "budget.ban_after"),
        ("queue", "getTips", None, "the lane heavy holds 3 at once per node; others wait 10 s", "classes.heavy.concurrency"),
        ("queue", "getTransactionsToApprove", None, "holds 1 at once", "methods.getTransactionsToApprove.concurrency"),
        ("timeout", "getTips", None, "10 s to answer getTips", "methods.getTips.timeout"),
        ("body-size", None, None, "43008 bytes", "body.max_bytes"),
        ("method-denied", "addNeighbors", None, "addNeighbors is not served", "methods.addNeighbors.deny"),
        ("arg-value", "getTrytes", None, "argument of getTrytes", "methods.getTrytes.args"),
        ("no-node", None, None, "no node of the pool serves", None),
    ],
)  # fmt: skip
def test_a_limit_comes_with_its_number_and_the_key_to_change(
    rule: str, method: str | None, key: str | None, text: str, place: str | None
):
    limit = limit_of(POLICY, rule, method=method, key=key)
    assert limit is not None
    assert text in (limit.text or "")
    assert limit.key == place


@pytest.mark.parametrize(
    "rule", sorted({*RULES, *GATEWAY_RULES, *refusals.GATEWAY_ANSWERS, *refusals.SUSPECT})
)
def test_every_rule_that_can_refuse_is_known_and_has_words(rule: str):
    limit = limit_of(POLICY, rule, method="getTips", key=None)
    assert limit is not None
    if rule.startswith("header-"):  # which header it is, the refusal alone knows
        assert limit.text is None
    else:
        assert limit.text
        assert "{}" not in limit.text


def test_where_the_log_names_no_method_the_refusal_is_not_said_twice():
    limit = limit_of(POLICY, "method-denied", method=None, key=None)
    assert limit == Limit(text=None, key="methods.METHOD.deny")


def test_a_rule_of_nobodys_is_not_explained():
    assert limit_of(POLICY, "made up", method=None, key=None) is None
