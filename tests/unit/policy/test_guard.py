"""The reference guard: whole requests, REST, and never another exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.documents import parse
from nodegate.policy.document import load_policy
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.head import Outcome
from nodegate.policy.values import Policy

INFO = b'{"command":"getNodeInfo"}'
REST = """
[methods.blocks]
path = "/api/blocks/{id:0x[0-9a-f]+}"
[methods.tips]
path = "/api/blocks/tips"
query = true
[methods.peers]
path = "/api/peers"
deny = true
"""
ALL_HEADERS = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20)), max_size=4)


def rest() -> Policy:
    return load_policy("http", parse(REST, file="rest.toml")).policy


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["iri", "evm", "http"]),
    method=st.sampled_from(["GET", "POST", "OPTIONS", "", "é"]),
    target=st.binary(max_size=30),
    headers=ALL_HEADERS,
    body=st.binary(max_size=60),
)
def test_any_bytes_get_a_verdict(
    kind: str, method: str, target: bytes, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    request = GuardRequest(method=method, target=target, headers=headers, body=body, peer="192.0.2.1")
    verdict = guard(load_policy(kind).policy, request)
    assert verdict.allowed or (verdict.rule and verdict.status >= 400 and verdict.reason)


def test_the_api_version_header_is_required_of_all_but_options() -> None:
    policy = load_policy("iri").policy
    assert guard(policy, GuardRequest(body=INFO)).rule == "header-required"
    assert guard(policy, GuardRequest(method="OPTIONS")).outcome is Outcome.PREFLIGHT
    assert guard(policy, GuardRequest(body=INFO, headers=[("x-iota-api-version", b"1")])).allowed


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ([("X-IOTA-API-Version", b"1"), ("x-iota-api-version", b"1")], "header-repeated"),
        ([("X-IOTA-API-Version", b"1;")], "header-malformed"),
        ([("X-IOTA-API-Version", b"1"), ("Content-Encoding", b"gzip")], "content-encoding"),
        ([("X-IOTA-API-Version", b"1"), ("X-Pad", b"p" * 9000)], "head-size"),
        ([("X-IOTA-API-Version", b"1"), ("Upgrade", b"h2c")], "upgrade"),
    ],
)
def test_bad_heads_are_refused(headers: list[tuple[str, bytes]], rule: str) -> None:
    assert guard(load_policy("iri").policy, GuardRequest(headers=headers, body=INFO)).rule == rule


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (b"/api/blocks/0xab", "blocks"),
        (b"/api/%62locks/0xab", "blocks"),
        (b"/api/blocks/tips?limit=2", "tips"),
        (b"/api/blocks/0xab?x", "query"),
        (b"/api/peers", "method-denied"),
        (b"/api/peers?/health", "method-denied"),
        (b"/api/blocks/..%2fpeers", "path-encoding"),
        (b"/api/blocks/%252e", "path-encoding"),
        (b"/api/blocks/%00", "path-encoding"),
        (b"/api/blocks/../peers", "path-form"),
        (b"/api/blocks/%2e%2e/peers", "path-form"),
        (b"//api/peers", "path-form"),
        (b"/api\\peers", "path-form"),
        (b"/api/peers;x=1", "path-form"),
        (b"/api/%c0%ae", "path-encoding"),
        (b"/api/blocks/0xzz", "path-unknown"),
        (b"/other", "path-unknown"),
    ],
)
def test_rest_paths_are_decoded_before_they_are_matched(target: bytes, said: str) -> None:
    verdict = guard(rest(), GuardRequest(method="GET", target=target))
    assert (verdict.facts.method if verdict.facts is not None else verdict.rule) == said


def test_a_known_path_with_another_method_is_405() -> None:
    assert guard(rest(), GuardRequest(method="POST", target=b"/api/blocks/tips")).status == 405


def test_unlisted_methods_share_one_name_when_they_are_let_through() -> None:
    policy = load_policy(
        "evm", parse("default = 'allow'\n[unlisted]\nunknown_args = 'allow'", file="o")
    ).policy
    body = b'{"jsonrpc":"2.0","id":1,"method":"%b","params":[1]}'
    facts = guard(policy, GuardRequest(body=body % b"made_up")).facts
    assert facts is not None
    assert facts.method == "unlisted"
    assert guard(policy, GuardRequest(body=body % b"ETH_SENDTRANSACTION")).rule == "method-unknown"


def test_a_known_height_prices_an_open_range() -> None:
    policy = load_policy("evm").policy
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x64"}]}'
    assert guard(policy, GuardRequest(body=body)).rule == "range-open"
    facts = guard(policy, GuardRequest(body=body, height=600)).facts
    assert facts is not None
    assert facts.cost == 30 + 500 // 10
    assert guard(policy, GuardRequest(body=body, height=2000)).rule == "range-size"
