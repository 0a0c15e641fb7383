"""Lines of the access log: what HAProxy writes is read, whatever a client put into it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access_lines import START, line, raw, refused
from nodegate.errors import Malformed
from nodegate.views.access import document, parse_line


def test_a_served_request_is_read_whole():
    found = line(0.25)
    assert (found.at, found.time) == (START + 0.25, "2026-01-02T03:03:04.250Z")
    assert (found.client, found.method, found.class_, found.cost) == (
        "203.0.113.5",
        "getNodeInfo",
        "read",
        1,
    )
    assert (found.status, found.node, found.response_ms, found.retries) == (200, "n1", 7, 0)


def test_what_haproxy_writes_for_nothing_is_not_known():
    found = parse_line(refused(rule="json-syntax"))
    assert (found.method, found.node, found.key, found.queue_ms) == (None, None, None, None)
    assert found.class_ is None, "the guard's refusal has its status where the class stands"


def test_a_plus_before_the_tries_says_that_another_node_was_asked():
    assert (line(retries="+2").retries, line(retries="+2").moved) == (2, True)
    assert (line(retries="2").retries, line(retries="2").moved) == (2, False)


def test_what_was_no_request_has_the_peer_as_client_and_no_id():
    found = parse_line(refused(client="-", id="-", rule="-", verdict="failed"))
    assert (found.client, found.id) == ("203.0.113.5", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"[1]", "not one JSON object"),
        (raw(verdict="maybe"), "verdict"),
        (raw(time="yesterday"), "time"),
        (raw(time="2026-01-02T03:04:05"), "time"),
        (raw(cost=1.5), "cost"),
        (raw(cost=True), "cost"),
        (raw(retries="many"), "retries"),
        (raw(node=["n1"]), "node is not a text"),
    ],
)
def test_what_is_no_line_is_named(text: bytes, words: str):
    with pytest.raises(Malformed, match=words):
        parse_line(text)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=80)
    | st.text(max_size=80)
    | st.builds(
        json.dumps,
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: st.dictionaries(st.sampled_from(["time", "verdict", "cost", "x"]), inner),
        ),
    )
)
def test_any_bytes_are_a_line_or_malformed(text: bytes | str):
    with suppress(Malformed):
        parse_line(text)


@settings(max_examples=100, deadline=None)
@given(path=st.text(max_size=30), method=st.text(max_size=30))
def test_a_line_says_what_was_asked_letter_by_letter(path: str, method: str):
    found = line(path=path, method=method)
    absent = {"", "-"}
    assert found.path == (None if path in absent else path)
    assert found.method == (None if method in absent else method)
    assert document(found)["cost"] == 1
