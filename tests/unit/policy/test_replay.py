"""An access log under another policy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access_lines import REFUSED, line
from nodegate.documents import parse
from nodegate.policy import replay as module
from nodegate.policy.document import load_policy
from nodegate.policy.prices import converted
from nodegate.policy.replay import Replay
from nodegate.policy.values import Policy, Price
from nodegate.views.access import AccessLine

TRYTES = {"method": "getTrytes", "class": "heavy", "lane": "heavy", "cost": 25}
"""A getTrytes of ten hashes: 5 + 2 * 10 units."""


def policy(toml: str, kind: str = "iri") -> Policy:
    return load_policy(kind, parse(toml, file="own.toml")).policy


def refused_line(second: float = 0, **fields: Any) -> AccessLine:
    return line(second, **(REFUSED | fields))


def replayed(toml: str, *lines: AccessLine, before: str = "", kind: str = "iri") -> dict[str, Any]:
    run = Replay(policy(before, kind), policy(toml, kind))
    for each in lines:
        run.feed(each)
    return run.document()


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.tuples(
            st.floats(0, 300),
            st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "-"]),
            st.sampled_from(
                [
                    {},
                    TRYTES,
                    {"method": "getTransactionsToApprove", "cost": 260},
                    {"body": '{"command":"getTips"}'},
                    REFUSED | {"rule": "json-syntax"},
                    REFUSED | {"rule": "banned"},
                    REFUSED | {"rule": "method-unknown"},
                    {"verdict": "refused", "rule": "rate", "method": "getTips", "cost": 50},
                    {"kind": "evm"},
                ]
            ),
        ),
        max_size=40,
    ),
    toml=st.sampled_from(["", "[budget]\nper_10s = 300\nban_after = 2", "[methods.getTips]\ndeny = true"]),
)
def test_a_policy_replayed_against_itself_changes_nothing(
    lines: list[tuple[float, str, dict[str, Any]]], toml: str
):
    found = replayed(
        toml,
        *(line(second, **{**fields, "client": client}) for second, client, fields in sorted(lines, key=lambda each: each[0])),
        before=toml,
    )  # fmt: skip
    assert (found["now_refused"], found["now_allowed"], found["methods"], found["clients"]) == (0, 0, {}, {})
    assert found["cost_before"] == found["cost_after"]
    assert found["requests"] + found["other_kinds"] == len(lines)


def test_a_closed_method_refuses_and_says_whom():
    found = replayed(
        "[methods.getTrytes]\ndeny = true",
        line(0, **TRYTES),
        line(1, **TRYTES, client="192.0.2.7", key="-"),
        line(2),
    )
    assert found["now_refused"] == 2
    assert found["methods"] == {
        "getTrytes": {
            "requests": 2,
            "now_refused": 2,
            "now_allowed": 0,
            "cost_before": 50,
            "cost_after": 0,
            "rules": {"method-denied": 2},
        }
    }
    assert list(found["clients"]) == ["203.0.113.5", "192.0.2.7"]
    assert (found["clients_that_differ"], found["agrees"], found["requests"]) == (2, 3, 3)
    assert found["not_judged"] == {}


def test_an_opened_method_is_known_by_what_the_client_was_told():
    named = refused_line(rule="method-denied", reason="getTips is not served here")
    unnamed = refused_line(1, rule="method-denied")
    unknown = refused_line(2, rule="method-unknown", reason="this method is not served here")
    found = replayed("", named, unnamed, unknown, before="[methods.getTips]\ndeny = true")
    assert (found["now_allowed"], found["methods"]["getTips"]["rules"]) == (1, {"method-denied": 1})
    assert found["not_judged"] == {module.EARLY: 1, module.CONTENT: 1}
    assert found["cost_after"] == 50
    priced = refused_line(rule="method-denied", reason="attachToTangle is not served here")
    opened = replayed("[methods.attachToTangle]\ndeny = false", priced)
    assert (opened["now_allowed"], opened["not_judged"]) == (1, {module.NO_PRICE: 1})


def test_a_new_price_is_worked_out_from_the_logged_cost():
    found = replayed("[methods.getTrytes]\ncost = { base = 1, per_item = { hashes = 3 } }", line(**TRYTES))
    assert (found["cost_before"], found["cost_after"]) == (25, 31)
    odd = replayed(
        "[methods.findTransactions]\ncost = { base = 10, per_item = { addresses = 9 } }",
        line(method="findTransactions", cost=30),
    )
    assert (odd["cost_after"], odd["not_judged"]) == (30, {module.NO_PRICE: 1})


@pytest.mark.parametrize(
    ("former", "price", "cost"),
    [
        (Price(base=5), Price(base=7), 7),
        (Price(base=5, per_item={"a": 2}), Price(base=7), 7),
        (Price(base=5, per_item={"a": 2}), Price(base=1, per_item={"a": 3}), 31),
        (Price(base=5, per_value={"a": 2}), Price(base=5, per_value={"a": 4}), 45),
        (Price(base=5, per_item={"a": 2, "b": 1}), Price(base=9, per_item={"a": 2, "b": 1}), 29),
        (Price(base=5, per_item={"a": 2}), Price(base=5, per_item={"b": 2}), None),
        (Price(base=5), Price(base=5, per_item={"b": 2}), None),
    ],
)
def test_prices_convert_where_the_cost_says_enough(former: Price, price: Price, cost: int | None):
    assert converted(25, former, price) == cost


def test_a_smaller_budget_refuses_the_greedy_client_and_no_other():
    greedy = [line(second / 10, **TRYTES, client="192.0.2.1") for second in range(20)]
    modest = [line(second, client="192.0.2.2") for second in range(3)]
    lines = sorted([*greedy, *modest], key=lambda each: each.at)
    found = replayed("[budget]\nper_10s = 100\nban_after = 0", *lines)
    assert list(found["clients"]) == ["192.0.2.1"]
    assert found["clients"]["192.0.2.1"]["rules"] == {"budget-10s": 16}


def test_a_ban_that_the_new_policy_brings_is_seen():
    greedy = [line(second / 10, **TRYTES) for second in range(20)]
    found = replayed("[budget]\nper_10s = 100\nban_after = 3\nban_seconds = 60", *greedy)
    assert found["clients"]["203.0.113.5"]["rules"] == {"banned": 13, "budget-10s": 3}


def test_trusted_clients_have_no_limits_and_denied_ones_no_requests():
    lines = [line(second / 10, **TRYTES, client="192.0.2.1") for second in range(20)]
    tight = "[budget]\nper_10s = 100\n[client]\n"
    assert replayed(tight + 'trusted = ["192.0.2.0/24"]', *lines)["now_refused"] == 0
    denied = replayed('[client]\ndenied = ["192.0.2.0/24"]', *lines)
    assert denied["methods"]["getTrytes"]["rules"] == {"network-denied": 20}


def test_keys_are_known_by_name():
    known = f'[keys.bob]\nhash = "{"a" * 64}"\n'
    lines = [line(0, key="bob"), line(1, key="bob", **TRYTES)]
    gone = replayed("", *lines, before=known)
    assert gone["keys"]["bob"]["rules"] == {"key-unknown": 2}
    fewer = replayed(known + 'methods = ["getNodeInfo"]', *lines, before=known)
    assert fewer["keys"]["bob"]["rules"] == {"key-method": 1}
    needed = replayed(known + "[client]\nkey_required = true", *lines, line(2), before=known)
    assert needed["now_refused"] == 1


def test_without_bodies_argument_rules_are_not_judged_and_that_is_said():
    asked = {"method": "getTransactionsToApprove", "cost": 260}
    toml = "[methods.getTransactionsToApprove.args.depth]\nmax = 2"
    blind = replayed(toml, line(**asked))
    assert (blind["now_refused"], blind["not_judged"]) == (0, {module.NO_BODY: 1})
    body = json.dumps({"command": "getTransactionsToApprove", "depth": 3})
    seeing = replayed(toml, line(**asked, body=body))
    assert (seeing["now_refused"], seeing["not_judged"]) == (1, {})
    assert seeing["methods"]["getTransactionsToApprove"]["rules"] == {"arg-value": 1}
    shortened = replayed(toml, line(**asked, body=body + "…"))
    assert shortened["not_judged"] == {module.NO_BODY: 1}
    cut = replayed(toml, line(**asked, body=body[:-4]))
    assert (cut["now_refused"], cut["not_judged"]) == (0, {module.NO_BODY: 1})


def test_what_was_refused_for_its_content_stays_refused_and_is_counted():
    found = replayed(
        "[body]\nmax_depth = 9", refused_line(rule="json-depth"), refused_line(1, rule="concurrent")
    )
    assert (found["now_allowed"], found["now_refused"]) == (0, 0)
    assert found["not_judged"] == {module.CONTENT: 1, module.NOT_COUNTED: 1}


def test_an_open_block_range_needs_the_head_of_its_time():
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x1", "toBlock": "latest"}]}  # fmt: skip
    asked = line(kind="evm", method="eth_getLogs", cost=30, body=json.dumps(call))
    found = replayed("[methods.eth_getLogs]\ncost = 1", asked, kind="evm")
    assert module.NO_HEAD in found["not_judged"]
    assert found["now_refused"] == 0


def test_a_log_of_another_policy_shows_in_what_agrees():
    lines = [line(second, **TRYTES) for second in range(4)]
    found = replayed("", *lines, before="[methods.getTrytes]\ndeny = true")
    assert (found["agrees"], found["requests"]) == (0, 4)
