"""Words between gateways: what is told comes back, and nothing that was not signed is believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.cluster.signed import (
    Telling,
    Word,
    answer_signature,
    fingerprint,
    question_signature,
    read_telling,
    same,
    telling_json,
    word_of,
)
from nodegate.errors import Malformed
from nodegate.model import Failure, FailureKind, Instant, Node, Observation, Reading, Seconds

TEXT = st.text(max_size=20)
OPTIONAL = st.none() | TEXT
FLOATS = st.floats(0, 1e6, allow_nan=False).map(lambda number: round(number, 3))

READINGS = st.builds(
    Reading,
    height=st.none() | st.integers(0, 2**60),
    claimed_tip=st.none() | st.integers(0, 2**60),
    syncing=st.none() | st.booleans(),
    peers=st.none() | st.integers(0, 1000),
    chain=OPTIONAL,
    app=OPTIONAL,
    version=OPTIONAL,
    head_time=st.none() | FLOATS.map(Instant),
    exposed=st.lists(TEXT, max_size=3).map(tuple),
    features=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    expected=st.booleans(),
    note=TEXT,
)
FAILURES = st.builds(Failure, kind=st.sampled_from(FailureKind), text=TEXT)
WORDS = st.builds(
    Word,
    node_id=TEXT,
    print=TEXT,
    age=FLOATS.map(Seconds),
    outcome=READINGS | FAILURES,
    duration=FLOATS.map(Seconds),
    latency=st.none() | FLOATS.map(Seconds),
    address=OPTIONAL,
)
TELLINGS = st.builds(
    Telling,
    cursor=TEXT,
    words=st.lists(WORDS, max_size=4).map(tuple),
    others=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
)


@given(TELLINGS)
@settings(max_examples=200, deadline=None)
def test_what_is_told_comes_back(telling: Telling) -> None:
    assert read_telling(telling_json(telling)) == telling


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_there_is_no_other_error_than_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_telling(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"cursor": "a", "words": [{}]}',
        b'{"cursor": "a", "words": [{"node": "a", "print": "", "age": -1, "duration": 0, "reading": {}}]}',
        b'{"cursor": "a", "words": [{"node": "a", "print": "", "age": 1e300, "duration": 0, "reading": {}}]}',
        b'{"cursor": "a", "words": [{"node": "a", "print": "", "age": 0, "duration": 0, "failure": "x", "text": ""}]}',
        b'{"words": []}',
    ],
)
def test_words_that_cannot_be_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_telling(raw)


def test_ages_travel_not_times_so_that_clocks_may_differ() -> None:
    seen = Observation(node_id="n", at=Instant(100.0), duration=Seconds(0.1), outcome=Reading(height=1))
    word = word_of("p", seen, Instant(101.5))
    assert word.age == 1.5
    assert word.observation(Instant(5000.0)).at == 4998.5


def node(**changes: object) -> Node:
    return Node(**({"id": "n", "url": "http://192.0.2.1:1", "kind": "iri"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://192.0.2.2:1"},
        {"kind": "evm"},
        {"pool": "other"},
        {"tls_verify": False},
        {"options": {"a": 1}},
    ],
)
def test_a_node_that_is_asked_differently_has_another_print(changes: dict[str, object]) -> None:
    assert fingerprint(node(**changes)) != fingerprint(node())


def test_what_does_not_change_the_question_does_not_change_the_print() -> None:
    assert fingerprint(node(weight=1, version=7)) == fingerprint(node())


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40), st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_signature_holds_for_one_secret_one_question_and_one_answer_only(
    secret: bytes, other: bytes, body: bytes
) -> None:
    right = answer_signature(secret, nonce="n1", body=body)
    assert same(right, answer_signature(secret, nonce="n1", body=body))
    assert not same(right, answer_signature(secret, nonce="n2", body=body))
    assert not same(right, answer_signature(secret, nonce="n1", body=body + b"!"))
    if secret.rstrip(b"\0") != other.rstrip(b"\0"):  # HMAC pads its key with zeros
        assert not same(right, answer_signature(other, nonce="n1", body=body))
    asked = question_signature(secret, path="/a", time="1", nonce="n1")
    assert not same(asked, question_signature(secret, path="/b", time="1", nonce="n1"))
    assert not same("é", asked)
