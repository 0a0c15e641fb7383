"""Policy documents: shipped defaults, the operator's over them, faults with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodegate.documents import parse
from nodegate.errors import BadDocument
from nodegate.policy.document import KINDS, default_document, kind_of, load_policy
from nodegate.policy.values import Policy


def loaded(kind: str, text: str) -> Policy:
    return load_policy(kind, parse(text, file="own.toml")).policy


def faults(kind: str, text: str) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        loaded(kind, text)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_policy_denies_what_it_does_not_name(kind: str) -> None:
    policy = load_policy(kind).policy
    assert policy.kind == kind
    assert policy.default == "deny"
    assert policy.budget.bounded


def test_a_kind_of_its_own_starts_from_http() -> None:
    assert load_policy("hornet").policy.form == "rest"
    assert default_document("hornet").data["kind"] == "hornet"


def test_one_line_closes_a_method_and_leaves_the_rest() -> None:
    policy = loaded("iri", "methods.getNodeInfo = { deny = true }")
    assert policy.methods["getNodeInfo"].deny
    assert not policy.methods["getBalances"].deny
    assert policy.methods["getNodeInfo"].timeout == load_policy("iri").policy.methods["getNodeInfo"].timeout


def test_tables_merge_key_by_key_and_lists_replace() -> None:
    policy = loaded("iri", "[methods.getTransactionsToApprove.args.depth]\nmax = 4\n[head]\nhttp = ['post']")
    depth = policy.methods["getTransactionsToApprove"].args["depth"]
    assert (depth.min, depth.max, depth.required) == (1, 4, True)
    assert policy.head.http == ("post",)


def test_an_unknown_key_is_a_fault_with_its_line() -> None:
    assert faults("iri", "\n[methods.getNodeInfo]\ncost = 2\nprice = 3\n") == [
        "own.toml:4: methods.getNodeInfo.price: unknown key"
    ]


def test_every_fault_is_reported_at_once() -> None:
    text = '[methods.a]\nrate = "5/2h"\n[methods.b]\nclass = "slow"\n[client]\ndenied = ["10.0.0.1/8"]\n'
    found = faults("iri", text)
    assert [fault.partition(": ")[0] for fault in found] == ["own.toml:6", "own.toml:2", "own.toml:4"]


def test_a_pattern_engines_read_differently_is_a_fault() -> None:
    found = faults("iri", '[methods.x.args]\na = { pattern = "(a|b)+" }\n')
    assert found[0].startswith("own.toml:2: methods.x.args.a.pattern: ")


def test_rates_count_in_the_two_windows() -> None:
    rate = loaded("iri", '[methods.x]\nrate = ["5/10s", "9/1m"]').methods["x"].rate
    assert (rate.per_10s, rate.per_1m) == (5, 9)
    assert "each once" in faults("iri", '[methods.x]\nrate = ["5/10s", "9/10s"]')[0]


def test_a_document_of_another_kind_is_refused() -> None:
    assert faults("iri", 'kind = "evm"') == ["own.toml:1: kind: this policy is for 'evm', not for 'iri'"]
    with pytest.raises(BadDocument, match="say which nodes"):
        kind_of(parse("", file="own.toml"))


def test_a_rest_method_needs_a_path() -> None:
    assert "methods.x needs a path" in faults("http", "[methods.x]\ncost = 1")[0]


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[methods.getNodeInfo]\ncost = 5\n")
    assert load_policy("iri", file).policy.methods["getNodeInfo"].cost.base == 5
