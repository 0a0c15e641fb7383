"""JSON-RPC calls that are looked up: never with another verdict than the guard's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookups import judged, looked_up, near_known
from nodegate.documents import parse
from nodegate.haproxy.shapes import JSON_RPC
from nodegate.policy import shortcuts
from nodegate.policy.document import load_policy
from nodegate.policy.values import Policy

ADDRESS, HASH = "0x" + "Ab" * 20, "0x" + "c4" * 32


def changed(toml: str = "") -> Policy:
    return load_policy("evm", parse(f'kind = "evm"\n{toml}', file="changed.toml")).policy


POLICY = changed()
ENTRIES = shortcuts.entries(POLICY)


def call(method: str, *params: object, **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)} | more


def as_javascript(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


@pytest.mark.parametrize("toml", ["", "[methods.eth_chainId]\ncost = 7\n", "[body]\nmax_values = 16\n"])
def test_what_is_looked_up_is_what_the_guard_would_say(toml: str) -> None:
    policy = changed(toml)
    entries = shortcuts.entries(policy)
    assert entries
    for key, line in entries.items():
        kind, path, shape = key.split("|", 2)
        assert kind == "evm"
        assert judged(policy, JSON_RPC.sample(shape).encode(), path) == line


@settings(max_examples=300, deadline=None)
@given(body=near_known(POLICY, sorted(ENTRIES)), path=st.sampled_from(["/", "/v1/chain/evm"]))
def test_no_body_is_looked_up_as_what_the_guard_would_not_say(body: bytes, path: str) -> None:
    line = looked_up(POLICY, body, path, entries=ENTRIES)
    assert line is None or line == judged(POLICY, body, path)


VIEW = {"to": ADDRESS, "data": "0x70a08231" + "00" * 32}
SENT = (
    {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []},
    {"method": "eth_chainId", "params": [], "id": 42, "jsonrpc": "2.0"},
    {"jsonrpc": "2.0", "id": 3, "method": "eth_gasPrice"},
    {"jsonrpc": "2.0", "id": "1c7f-42aa", "method": "net_version", "params": []},
    call("eth_call", VIEW, "latest"),
    call("eth_call", {"data": "0x18160ddd", "to": ADDRESS}, "0x1b4"),
    call("eth_estimateGas", {"from": ADDRESS, **VIEW}),
    call("eth_estimateGas", {**VIEW, "from": ADDRESS}),
    call("eth_gasPrice", id=8999999999999999),
    call("eth_getBalance", ADDRESS, "latest"),
    call("eth_getCode", ADDRESS, "0x0"),
    call("eth_getBlockByNumber", "latest", False),
    call("eth_getTransactionReceipt", HASH),
    call("eth_getStorageAt", ADDRESS, HASH, "latest"),
)


@pytest.mark.parametrize("body", SENT)
def test_what_libraries_send_is_looked_up(body: dict[str, object]) -> None:
    text = as_javascript(body)
    assert looked_up(POLICY, text, entries=ENTRIES) == judged(POLICY, text)


def test_only_paths_that_the_policy_names_in_full_are_looked_up() -> None:
    entries = shortcuts.entries(changed('[head]\npaths = ["/rpc", "/chains/{id}", "/old/**"]\n'))
    assert {key.split("|")[1] for key in entries} == {"/rpc"}


def test_what_web3_py_sends_is_looked_up() -> None:
    body = {"jsonrpc": "2.0", "method": "eth_getBalance", "params": [ADDRESS, "latest"], "id": 0}
    text = json.dumps(body).encode()
    assert looked_up(POLICY, text, entries=ENTRIES) == judged(POLICY, text)


def test_a_node_of_wasp_is_asked_at_its_own_path() -> None:
    text = as_javascript(SENT[0])
    assert looked_up(POLICY, text, "/v1/chain/evm", ENTRIES)
    assert looked_up(POLICY, text, "/v1/chain/other", ENTRIES) is None


@pytest.mark.parametrize(
    "body",
    [
        call("eth_call", VIEW, "latest", {ADDRESS: {"code": "0x00"}}),
        call("eth_getBalance", HASH, "latest"),
        call("eth_getTransactionByHash", ADDRESS),
        call("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x2"}),
        call("eth_feeHistory", "0x400", "latest"),
        call("eth_sendRawTransaction", "0x02"),
        call("eth_newFilter"),
        call("admin_peers"),
        call("eth_chainId", id=None),
        call("eth_chainId", id=2**53 + 2),
        call("eth_chainId", id=10**16),
        call("eth_chainId", jsonrpc="1.0"),
        [call("eth_chainId")],
    ],
)
def test_what_has_no_one_verdict_goes_to_the_guard(body: object) -> None:
    assert looked_up(POLICY, as_javascript(body), entries=ENTRIES) is None


@pytest.mark.parametrize(
    ("toml", "method"),
    [
        ('[methods.eth_call.args]\n0 = { type = "object" }\n"0.to" = { pattern = "0x0{40}" }\n', "eth_call"),
        ('[methods.eth_getBalance.args]\n0 = { type = "string", pattern = "0x[0-9a-f]{40}" }\n', "eth_getBalance"),
        ('[methods.eth_getCode.args]\n0 = { type = "string", one_of = ["0x1"] }\n', "eth_getCode"),
        ('[methods.eth_getBlockByNumber.args]\n0 = { type = "block", max = 400 }\n', "eth_getBlockByNumber"),
        ("[methods.eth_gasPrice]\ndeny = true\n", "eth_gasPrice"),
        ('[methods.eth_call]\ncost = { base = 1, per_value = { 1 = 1 } }\n', "eth_call"),
    ],
)  # fmt: skip
def test_rules_that_look_at_a_value_leave_it_to_the_guard(toml: str, method: str) -> None:
    entries = shortcuts.entries(changed(toml))
    assert not any(f'"{method}","params":[' in key and '"params":[]' not in key for key in entries)


def test_denied_texts_could_stand_behind_any_mark() -> None:
    assert shortcuts.entries(changed('[body]\ndenied = ["dead"]\n')) == {}
