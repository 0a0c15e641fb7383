"""What is said between nodegate and a provider, and the ledger's file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import BadDocument, Malformed
from nodegate.model import Instant, Intent, Status
from nodegate.scaling import (
    LIMIT,
    Action,
    Decision,
    Facts,
    Ledger,
    Member,
    Meter,
    Own,
    Phase,
    environment,
    read_ledgers,
    request_document,
    started_from,
    stdin_of,
    write_ledgers,
)

FACTS = Facts(
    pool="main",
    members=(
        Member(id="a", url="http://a:1", kind="iri", status=Status.UP, since=Instant(0), intent=Intent.SERVE),
    ),
)
DECISION = Decision(action=Action.START, why="1 healthy node, 2 wanted", healthy=1, wanted=2)


def test_a_command_is_told_the_same_by_input_and_by_environment() -> None:
    document = request_document(FACTS, DECISION, action=Action.START, node="n", kind="iri", url="")
    assert json.loads(stdin_of(document)) == {
        "version": 1, "action": "start", "pool": "main", "kind": "iri", "node": "n", "url": None,
        "reason": "1 healthy node, 2 wanted", "healthy": 1, "wanted": 2,
        "nodes": [{"id": "a", "url": "http://a:1", "status": "up", "intent": "serve"}],
    }  # fmt: skip
    inherited = {"PATH": "/bin", "NODEGATE_TOKEN": "secret", "NODEGATE_NODE": "old"}
    assert environment(document, inherited) == {
        "PATH": "/bin", "NODEGATE_ACTION": "start", "NODEGATE_POOL": "main", "NODEGATE_KIND": "iri",
        "NODEGATE_NODE": "n", "NODEGATE_URL": "", "NODEGATE_REASON": "1 healthy node, 2 wanted",
    }  # fmt: skip


def test_an_answer_needs_no_more_than_a_url() -> None:
    started = started_from(b'{"url": "http://192.0.2.17:14265/"}')
    assert (started.url, started.weight, started.tls_verify) == ("http://192.0.2.17:14265", 100, True)
    assert started_from(b'{"registers_itself": true}').url is None


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"", "Invalid JSON"),
        (b"started machine 17", "Invalid JSON"),
        (b"{}", "url is missing"),
        (b'{"url": "192.0.2.17"}', "url: Value error, '192.0.2.17' is not a URL"),
        (b'{"url": "http://a:1", "wait": 3}', "wait: Extra inputs"),
        (b'{"url": "http://a:1", "weight": "9"}', "weight: Input should be a valid integer"),
        (b" " * (LIMIT + 1), "more than 65536 bytes"),
    ],
)
def test_a_bad_answer_is_named(output: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        started_from(output)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_output_raises_anything_else(output: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        started_from(b"\x00" + output)
    assert "\n" not in str(caught.value)


owns = st.builds(
    Own, id=st.from_regex("[a-z]{1,9}", fullmatch=True), kind=st.just("iri"), phase=st.sampled_from(Phase),
    started_at=st.floats(0, 1e9).map(Instant), at=st.floats(0, 1e9).map(Instant), joined=st.booleans(),
    missing_since=st.none() | st.floats(0, 1e9).map(Instant), url=st.sampled_from(["", "http://a:1"]),
)  # fmt: skip
ledgers = st.builds(
    Ledger, own=st.lists(owns, max_size=3).map(lambda found: {own.id: own for own in found}),
    acted_at=st.none() | st.floats(0, 1e9).map(Instant), acted=st.text(max_size=9), failure=st.text(max_size=9),
    failures=st.integers(0, 99), surplus_since=st.none() | st.floats(0, 1e9).map(Instant),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["main", "evm"]), ledgers))
@settings(max_examples=100, deadline=None)
def test_ledgers_are_read_as_they_were_written(books: dict[str, Ledger]) -> None:
    assert read_ledgers(write_ledgers(books), file="scaling.json") == books


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "pools": {}}', '{"format": 1, "pools": {"a": 1}}'])
def test_a_damaged_ledger_is_a_fault_and_not_an_empty_one(text: str) -> None:
    with pytest.raises(BadDocument, match=r"scaling\.json: not what nodegate wrote"):
        read_ledgers(text, file="scaling.json")


# The load


def fed(*samples: tuple[float, dict[str, int]]) -> float | None:
    meter = Meter()
    for at, counts in samples:
        meter.seen(Instant(at), counts)
    return meter.rate()


def test_a_rate_needs_a_while() -> None:
    assert fed() is None
    assert fed((0, {"a": 0}), (4, {"a": 400})) is None
    assert fed((0, {"a": 0}), (5, {"a": 500})) == 100


def test_what_was_counted_before_the_first_look_is_no_load() -> None:
    assert fed((0, {"a": 1_000_000}), (10, {"a": 1_000_100})) == 10


def test_counters_that_start_anew_and_servers_that_come_and_go_keep_the_rate() -> None:
    assert fed((0, {"a": 500, "b": 100}), (5, {"a": 50, "b": 100}), (10, {"b": 120, "c": 30})) == 10


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    busy = [(float(at), {"a": 100 * at}) for at in range(0, 41, 5)]
    calm = [(float(at), {"a": 4000}) for at in range(45, 90, 5)]
    assert fed(*busy) == 100
    assert fed(*busy, *calm) == 0
