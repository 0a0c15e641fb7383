"""What changes between two policies, in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.documents import parse
from nodegate.policy.difference import differences, price_words
from nodegate.policy.document import KINDS, load_policy
from nodegate.policy.values import Policy, Price


def policy(toml: str, kind: str = "iri") -> Policy:
    return load_policy(kind, parse(toml, file="own.toml")).policy


def told(toml: str, before: str = "") -> list[tuple[str, str, str]]:
    found = differences(policy(before), policy(toml))
    return [(each.place, each.effect.value, each.text) for each in found]


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_does_not_differ_from_itself(kind: str):
    assert differences(policy("", kind), policy("", kind)) == ()


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[methods.getTips]\ndeny = true", ("methods.getTips", "closes", "closed, was open")),
        (
            "[methods.attachToTangle]\ndeny = false",
            (
                "methods.attachToTangle",
                "opens",
                "open, was closed (class pow, 500 + 50 per item of trytes units, 2 in 1 min for one client)",
            ),
        ),
        ("[methods.getTips]\ncost = 60", ("methods.getTips", "tightens", "cost: 60 units, was 50 units")),
        ("[methods.getTips]\ncost = 5", ("methods.getTips", "loosens", "cost: 5 units, was 50 units")),
        (
            "[methods.getTips]\ncost = { base = 1, per_item = { x = 2 } }",
            ("methods.getTips", "changes", "cost: 1 + 2 per item of x units, was 50 units"),
        ),
        (
            '[methods.getTips]\nrate = "5/10s"',
            ("methods.getTips", "tightens", "rate for one client: 5 in 10 s, was no limit"),
        ),
        (
            '[methods.broadcastTransactions]\nrate = ["30/10s", "90/1m"]',
            (
                "methods.broadcastTransactions",
                "changes",
                "rate for one client: 30 in 10 s, 90 in 1 min, was 60 in 1 min",
            ),
        ),
        ("[methods.getTips]\ntimeout = 20", ("methods.getTips", "loosens", "timeout: 20 s, was 10 s")),
        (
            "[methods.getTips]\nconcurrency = 1",
            ("methods.getTips", "changes", "at once per node: 1, was as the class heavy"),
        ),
        (
            "[methods.getTransactionsToApprove.args.depth]\nmax = 5",
            (
                "methods.getTransactionsToApprove",
                "changes",
                "argument depth must be an integer from 1 to 5 (required); "
                "was: argument depth must be an integer from 1 to 15 (required)",
            ),
        ),
        (
            "[methods.getTips.args.x]\nforbidden = true",
            ("methods.getTips", "changes", "new rule: argument x is not accepted"),
        ),
        (
            "[budget]\nper_10s = 100",
            (
                "budget",
                "tightens",
                "units for one client: 100 in 10 s, 18000 in 1 min, was 6000 in 10 s, 18000 in 1 min",
            ),
        ),
        ("[budget]\nban_after = 5", ("budget", "changes", "ban_after: 5, was 100")),
        ("[classes.heavy]\nconcurrency = 9", ("classes.heavy", "changes", "concurrency: 9, was 3")),
        (
            '[client]\ndenied = ["192.0.2.0/24"]',
            ("client", "changes", "denied: 192.0.2.0/24, was none"),
        ),
        (f'[keys.bob]\nhash = "{"a" * 64}"', ("keys.bob", "opens", "a new key")),
    ],
)
def test_one_change_is_one_sentence(toml: str, expected: tuple[str, str, str]):
    assert told(toml) == [expected]


def test_keys_are_compared_without_showing_their_hashes():
    before = f'[keys.bob]\nhash = "{"a" * 64}"\nper_10s = 10'
    found = told(f'[keys.bob]\nhash = "{"b" * 64}"\nper_10s = 20\nmethods = ["getTips"]', before)
    assert [text for _, _, text in found] == [
        "another key; the old one is not taken any more",
        "units: 20 in 10 s, was 10 in 10 s",
        "methods: getTips, was none",
    ]
    assert told("", before) == [("keys.bob", "closes", "the key is not taken any more")]


def test_a_closed_methods_numbers_are_not_told():
    assert told("[methods.attachToTangle]\ncost = 7\ntimeout = 9") == []


def test_a_method_that_is_no_longer_named_is_open_where_the_rest_is_allowed():
    found = told('default = "allow"')
    assert ("default", "changes", "unlisted methods: allow, was deny") in found
    assert all(place in {"default", "unlisted"} for place, _, _ in found)


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(
        st.sampled_from(
            [
                "[methods.getTips]\ndeny = true",
                "[methods.getTrytes]\ncost = 3",
                "[methods.getBalances]\ntimeout = 3",
                "[body]\nmax_cost = 500",
                "[budget]\nper_1m = 7",
            ]
        ),
        unique=True,
    )
)
def test_the_way_back_has_as_many_differences_and_the_opposite_effects(changes: list[str]):
    there, base = policy("\n".join(changes)), policy("")
    opposite = {"opens": "closes", "closes": "opens", "loosens": "tightens", "tightens": "loosens"}
    forth = [(each.place, each.effect.value) for each in differences(base, there)]
    back = [(each.place, each.effect.value) for each in differences(there, base)]
    assert len(forth) == len(changes)
    assert [(place, opposite.get(effect, effect)) for place, effect in forth] == back


def test_batches_are_a_matter_only_where_there_are_some():
    toml = '[methods.eth_chainId]\nrate = "5/10s"'
    texts = [each.text for each in differences(policy("", "evm"), policy(toml, "evm"))]
    assert texts == ["rate for one client: 5 in 10 s, was no limit", "may stand in a batch: no, was yes"]


def test_a_price_of_one_is_one_unit():
    assert price_words(Price()) == "1 unit"
    assert price_words(Price(base=2, per_value={"depth": 3}, per_blocks=10)) == (
        "2 + 3 times depth + 1 per 10 blocks units"
    )
