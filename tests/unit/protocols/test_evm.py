"""Kind `evm`: one batch or single calls, strict quantities, what may be missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed
from nodegate.model import Answer, Instant, Node, Reading, Seconds
from nodegate.protocols.evm import Evm, quantity

evm = Evm()
RESULTS: dict[str, Any] = {
    "eth_chainId": "0x2276",
    "eth_syncing": False,
    "eth_blockNumber": "0x1b4",
    "eth_getBlockByNumber": {"number": "0x1b4", "timestamp": "0x65f0c3a0", "hash": "0xabc"},
    "web3_clientVersion": "Geth/v1.13.14-stable-2bd6bd01/linux-amd64/go1.21.7",
    "net_peerCount": "0x19",
}
NO_METHOD = {"error": {"code": -32601, "message": "the method does not exist"}}


def a_node(**options: str | int | float | bool) -> Node:
    return Node(id="n", url="http://192.0.2.1:8545", kind="evm", options=options)


def an_answer(body: Any, status: int = 200) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, body=raw, duration=Seconds(0.01))


def element(method: str, number: int, changes: dict[str, Any]) -> dict[str, Any]:
    value = changes.get(method, RESULTS[method])
    body = value if isinstance(value, dict) and "error" in value else {"result": value}
    return {"jsonrpc": "2.0", "id": number, **body}


def batched(**changes: Any) -> Answer:
    return an_answer([element(method, number, changes) for number, method in enumerate(RESULTS, start=1)])


def singles(**changes: Any) -> tuple[Answer, ...]:
    return tuple(an_answer(element(method, 1, changes)) for method in RESULTS)


READING = Reading(
    height=436,
    claimed_tip=436,
    syncing=False,
    peers=25,
    chain="8822",
    app="Geth",
    version="1.13.14-stable-2bd6bd01",
    head_time=Instant(1_710_277_536.0),
)


def test_asks_everything_in_one_batch() -> None:
    (question,) = evm.ask(a_node(), ())
    calls = json.loads(question.body)
    assert [call["method"] for call in calls] == list(RESULTS)
    assert [call["id"] for call in calls] == [1, 2, 3, 4, 5, 6]
    assert all(call["jsonrpc"] == "2.0" for call in calls)
    assert calls[3]["params"] == ["latest", False]
    assert question.headers["Content-Type"] == "application/json"
    assert evm.ask(a_node(), (batched(),)) == ()


def test_reads_a_batch_in_any_order() -> None:
    assert evm.read(a_node(), (batched(),)) == READING
    shuffled = an_answer(list(reversed(json.loads(batched().body))))
    assert evm.read(a_node(), (shuffled,)) == READING


@pytest.mark.parametrize(
    "refusal",
    [
        an_answer(b"", 415),
        an_answer(b"Bad Request", 400),
        an_answer(b"", 501),
        an_answer(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batches not supported"}}
        ),
        an_answer({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}, 400),
    ],
)
def test_falls_back_to_single_calls_when_batches_are_refused(refusal: Answer) -> None:
    questions = evm.ask(a_node(), (refusal,))
    assert [json.loads(question.body)["method"] for question in questions] == list(RESULTS)
    assert evm.read(a_node(), (refusal, *singles())) == READING
    assert evm.ask(a_node(), (refusal, *singles())) == ()


@pytest.mark.parametrize(
    "answer", [an_answer(b"", 503), an_answer(b"", 401), an_answer(b"<html>"), an_answer({})]
)
def test_a_sick_node_is_not_asked_six_more_questions(answer: Answer) -> None:
    assert evm.ask(a_node(), (answer,)) == ()
    with pytest.raises(Malformed):
        evm.read(a_node(), (answer,))


def test_asks_single_calls_at_once_without_the_option_batch() -> None:
    node = a_node(batch=False)
    assert len(evm.ask(node, ())) == 6
    assert evm.ask(node, singles()) == ()
    assert evm.read(node, singles()) == READING


def test_peers_are_unknown_where_the_node_has_no_such_method() -> None:
    assert evm.read(a_node(), (batched(net_peerCount=NO_METHOD),)).peers is None


def test_peers_are_not_asked_without_the_option() -> None:
    node = a_node(peers=False)
    (question,) = evm.ask(node, ())
    assert "net_peerCount" not in [call["method"] for call in json.loads(question.body)]
    answer = an_answer(json.loads(batched().body)[:5])
    assert evm.read(node, (answer,)).peers is None


def test_zero_peers_are_zero_where_they_are_asked() -> None:
    assert evm.read(a_node(), (batched(net_peerCount="0x0"),)).peers == 0


@pytest.mark.parametrize(
    ("value", "syncing", "tip"),
    [
        (False, False, 436),
        (True, True, 436),
        ({"currentBlock": "0x1b4", "highestBlock": "0x200"}, True, 512),
        ({"stages": []}, True, 436),
        ({"highestBlock": None}, True, 436),
    ],
)
def test_syncing(value: Any, syncing: bool, tip: int) -> None:
    reading = evm.read(a_node(), (batched(eth_syncing=value),))
    assert (reading.syncing, reading.claimed_tip) == (syncing, tip)


def test_a_number_without_a_block_is_only_a_claim() -> None:
    reading = evm.read(a_node(), (batched(eth_blockNumber="0x1ff"),))
    assert (reading.height, reading.claimed_tip) == (436, 511)


@pytest.mark.parametrize(
    ("name", "app", "version"),
    [
        ("Geth/mynode/v1.10.1-stable-c2d2f4ed/linux-amd64/go1.16", "Geth", "1.10.1-stable-c2d2f4ed"),
        ("Nethermind/v1.25.4+20b10b35/linux-x64/dotnet8.0.2", "Nethermind", "1.25.4+20b10b35"),
        ("erigon/2.60.0/linux-amd64/go1.22.0", "erigon", "2.60.0"),
        ("anvil/v1.0.0", "anvil", "1.0.0"),
        ("wasp/evmproxy", "wasp", None),
        (NO_METHOD, None, None),
        (None, None, None),
    ],
)
def test_client_software_and_version(name: Any, app: str | None, version: str | None) -> None:
    reading = evm.read(a_node(), (batched(web3_clientVersion=name),))
    assert (reading.app, reading.version) == (app, version)


@pytest.mark.parametrize("method", ["eth_chainId", "eth_syncing", "eth_blockNumber", "eth_getBlockByNumber"])
@pytest.mark.parametrize(
    "value", [None, 436, "436", "0x", "0x01", "0X1", "0xg", " 0x1", "0x1\n", [], NO_METHOD]
)
def test_a_result_that_is_none_is_named(method: str, value: Any) -> None:
    with pytest.raises(Malformed, match=method):
        evm.read(a_node(), (batched(**{method: value}),))


@pytest.mark.parametrize(
    "block", [{"number": "0x1"}, {"timestamp": "0x1"}, {"number": None, "timestamp": "0x1"}]
)
def test_a_block_without_number_or_time_is_malformed(block: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"eth_getBlockByNumber: (number|timestamp) is missing or null"):
        evm.read(a_node(), (batched(eth_getBlockByNumber=block),))


def test_an_error_is_quoted() -> None:
    error = {"error": {"code": -32000, "message": "header not found"}}
    with pytest.raises(Malformed, match='eth_getBlockByNumber: error -32000 "header not found"'):
        evm.read(a_node(), (batched(eth_getBlockByNumber=error),))


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7},
        {"id": 1},
        {"id": True},
        {"id": "2"},
        {"id": None},
        {"jsonrpc": "1.0"},
        {"error": {"code": 1}},
    ],
)
def test_answers_with_wrong_ids_or_shapes_are_malformed(change: dict[str, Any]) -> None:
    elements = json.loads(batched().body)
    elements[1].update(change)
    with pytest.raises(Malformed):
        evm.read(a_node(), (an_answer(elements),))


def test_a_missing_answer_is_named() -> None:
    with pytest.raises(Malformed, match="no answer to web3_clientVersion"):
        evm.read(a_node(), (an_answer([e for e in json.loads(batched().body) if e["id"] != 5]),))


def test_largest_quantity_is_64_bits() -> None:
    assert quantity("0xffffffffffffffff", "x") == 2**64 - 1
    with pytest.raises(Malformed):
        quantity("0x10000000000000000", "x")


def test_options_are_checked() -> None:
    assert evm.faults(a_node(peers=False, batch=True)) == ()
    assert [fault.split(":")[0] for fault in evm.faults(a_node(peers="no", path="/x"))] == ["path", "peers"]


def test_a_success_must_not_look_like_a_failure() -> None:
    assert "eth_sendRawTransaction" not in evm.traffic.idempotent
    assert {"eth_call", "eth_blockNumber", "eth_getLogs"} <= evm.traffic.idempotent


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("0x1"),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
results = st.dictionaries(st.sampled_from(list(RESULTS)), json_values, max_size=3)
answers_ = st.one_of(
    st.builds(an_answer, st.binary(max_size=40), st.sampled_from([200, 400, 500])),
    st.builds(an_answer, json_values, st.sampled_from([200, 200, 301, 400, 503])),
    st.builds(lambda changes: batched(**changes), results),
)


@settings(max_examples=200, deadline=None)
@given(answers=st.lists(answers_, max_size=8), batch=st.booleans(), peers=st.booleans())
def test_any_bytes_are_a_reading_or_malformed(answers: list[Answer], batch: bool, peers: bool) -> None:
    node = a_node(batch=batch, peers=peers)
    for count in range(len(answers) + 1):
        evm.ask(node, tuple(answers[:count]))
    complaint = ""
    try:
        reading = evm.read(node, tuple(answers))
    except Malformed as error:
        complaint = str(error)
    if complaint:
        assert complaint.isprintable()
        return
    assert reading.height is not None
    assert reading.claimed_tip is not None
    assert reading.height <= reading.claimed_tip
    assert reading.chain is not None


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_quantity_is_read_as_it_was_written(number: int) -> None:
    assert quantity(hex(number), "x") == number
