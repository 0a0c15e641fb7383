from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.lab.answers import Reply
from nodegate.lab.evm import CHAIN_ID, FIRST_HEIGHT, MAX_BATCH, METHODS, OTHER_CHAIN_ID, Chain, EvmNode
from nodegate.lab.faults import fault
from nodegate.lab.http1 import Request
from nodegate.model import Instant, Seconds

NOW = Instant(1_600_000_000.0)
HEIGHT = FIRST_HEIGHT + 99


@pytest.fixture
def node() -> EvmNode:
    return EvmNode(Chain(seed="test", now=NOW), name="evm-1", delay=Seconds(0.0), peers=8)


def sent(node: EvmNode, body: bytes, *, method: str = "POST", now: Instant = NOW) -> tuple[int, Any]:
    request = Request(method=method, target="/", headers={}, body=body, keep_alive=True)
    _, reply = node.admit(request, now)
    assert isinstance(reply, Reply)
    encoded = node.encode(reply, Seconds(0.0))
    return reply.status, json.loads(encoded) if encoded else None


def call(node: EvmNode, name: str, *params: Any, now: Instant = NOW) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": name, "params": params}).encode()
    status, document = sent(node, body, now=now)
    assert (status, document["jsonrpc"], document["id"]) == (200, "2.0", 7)
    return document.get("result", document.get("error"))


def test_a_node_tells_its_chain_height_and_peers(node: EvmNode) -> None:
    assert call(node, "eth_chainId") == hex(CHAIN_ID)
    assert call(node, "net_version") == str(CHAIN_ID)
    assert call(node, "eth_blockNumber") == hex(HEIGHT)
    assert call(node, "eth_syncing") is False
    assert call(node, "net_peerCount") == "0x8"


def test_every_method_answers(node: EvmNode) -> None:
    for name in METHODS:
        answer = call(node, name, "latest" if name == "eth_getBlockByNumber" else "0x0", False)
        assert not isinstance(answer, dict) or "code" not in answer


def test_blocks_are_chained_and_found_by_number_tag_and_hash(node: EvmNode) -> None:
    latest = call(node, "eth_getBlockByNumber", "latest", False)
    before = call(node, "eth_getBlockByNumber", hex(HEIGHT - 1), False)
    assert latest["number"] == hex(HEIGHT)
    assert latest["parentHash"] == before["hash"]
    assert int(latest["timestamp"], 16) == NOW
    assert int(before["timestamp"], 16) == NOW - 2
    assert call(node, "eth_getBlockByHash", before["hash"], False) == before
    assert call(node, "eth_getBlockByNumber", hex(HEIGHT + 1), False) is None
    assert call(node, "eth_getBlockByHash", "0x00", False) is None
    assert call(node, "eth_getBlockByNumber", "earliest", False)["number"] == "0x0"
    assert call(node, "eth_getBlockByNumber", "finalized", False)["number"] == hex(HEIGHT - 64)


def test_the_chain_grows_and_forgets_only_what_is_far_back() -> None:
    chain = Chain(seed="test", now=NOW, history=10)
    for step in range(3000):
        newest = chain.extend(Instant(NOW + step + 1))
    assert chain.height(Instant(NOW + 1e6)) == newest == FIRST_HEIGHT + 9 + 3000
    assert chain.height(Instant(NOW + 2999)) == newest - 1
    assert chain.time_of(FIRST_HEIGHT) < chain.time_of(newest)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b"5", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":"eth_made_up"}', -32601),
        (b'{"id":1,"method":"eth_chainId","params":{}}', -32602),
        (b'{"id":1,"method":"eth_getBlockByNumber"}', -32602),
        (b'{"id":1,"method":"eth_getBlockByNumber","params":["zz"]}', -32602),
        (b'{"id":1,"method":"eth_getBlockByHash","params":[5]}', -32602),
        (b"[" + b"1," * MAX_BATCH + b"1]", -32600),
    ],
)
def test_faulty_calls_get_the_standard_codes(node: EvmNode, body: bytes, code: int) -> None:
    status, document = sent(node, body)
    assert (status, document["error"]["code"]) == (200, code)


def test_a_batch_is_answered_in_order(node: EvmNode) -> None:
    body = b'[{"id":1,"method":"eth_chainId"},{"id":2,"method":"nope"},{"id":"c","method":"net_listening"}]'
    _, documents = sent(node, body)
    assert [each["id"] for each in documents] == [1, 2, "c"]
    assert [("result" in each) for each in documents] == [True, False, True]


def test_only_posts_are_calls_and_options_are_allowed(node: EvmNode) -> None:
    assert sent(node, b"", method="GET") == (405, None)
    assert sent(node, b"", method="OPTIONS") == (200, None)


def test_faults_of_speech_show(node: EvmNode) -> None:
    node.suffer(fault("lag", milestones=5), NOW)
    assert call(node, "eth_blockNumber") == hex(HEIGHT - 5)
    assert call(node, "eth_syncing")["highestBlock"] == hex(HEIGHT)
    assert call(node, "eth_getBlockByNumber", hex(HEIGHT - 4), False) is None
    node.suffer(fault("lie", milestones=1000), NOW)
    assert call(node, "eth_blockNumber") == hex(HEIGHT + 1000)
    assert call(node, "eth_getBlockByNumber", "latest", False)["number"] == hex(HEIGHT + 1000)
    node.suffer(fault("wrong-chain"), NOW)
    assert call(node, "eth_chainId") == hex(OTHER_CHAIN_ID)
    node.suffer(fault("frozen"), NOW)
    node.chain.extend(Instant(NOW + 2))
    assert call(node, "eth_blockNumber", now=Instant(NOW + 60)) == hex(HEIGHT)
    node.suffer(None, NOW)
    assert call(node, "eth_blockNumber", now=Instant(NOW + 60)) == hex(HEIGHT + 1)


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(sorted(METHODS)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["method", "id", "params", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_get_a_json_rpc_answer(body: bytes) -> None:
    node = EvmNode(Chain(seed="test", now=NOW, history=2), name="n", delay=Seconds(0.0))
    status, document = sent(node, body)
    assert status == 200
    for each in document if isinstance(document, list) else [document]:
        assert ("result" in each) != ("error" in each)
