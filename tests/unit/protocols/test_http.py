"""Kind `http`: status and body of one request against what is expected."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed
from nodegate.model import Answer, Node, Question, Reading, Scalar, Seconds
from nodegate.protocols.http import Http, statuses

http = Http()


def a_node(**options: Scalar) -> Node:
    return Node(id="n", url="http://192.0.2.1:8080/base", kind="http", options=options)


def an_answer(status: int = 200, body: bytes = b"", location: str | None = None) -> Answer:
    return Answer(status=status, body=body, duration=Seconds(0.01), location=location)


def test_asks_get_of_the_urls_own_path_by_default() -> None:
    assert http.ask(a_node(), ()) == (Question(method="GET", path="", headers={"Accept": "*/*"}),)
    assert http.ask(a_node(), (an_answer(),)) == ()


def test_asks_what_the_options_say() -> None:
    (question,) = http.ask(a_node(method="HEAD", path="/health?deep=1"), ())
    assert (question.method, question.path) == ("HEAD", "/health?deep=1")


@pytest.mark.parametrize(
    ("expect", "status", "met"),
    [
        (None, 200, True),
        (None, 204, True),
        (None, 299, True),
        (None, 301, False),
        (None, 404, False),
        (None, 503, False),
        (200, 200, True),
        (200, 204, False),
        ("200,204", 204, True),
        ("200, 300-399", 302, True),
        ("200, 300-399", 400, False),
        ("401", 401, True),
    ],
)
def test_expected_status(expect: Scalar | None, status: int, met: bool) -> None:
    node = a_node() if expect is None else a_node(expect_status=expect)
    reading = http.read(node, (an_answer(status),))
    assert reading.expected is met
    assert met or f"status {status}" in reading.note


def test_a_redirect_that_is_not_expected_says_where_to() -> None:
    reading = http.read(a_node(), (an_answer(302, location="https://example.org/login"),))
    assert reading.note == 'status 302 (redirect to "https://example.org/login"), expected 200-299'


def test_expected_body() -> None:
    node = a_node(expect_body="größe: ok")
    assert http.read(node, (an_answer(body="x größe: ok y".encode()),)) == Reading()
    reading = http.read(node, (an_answer(body=b"\xff\x00"),))
    assert (reading.expected, reading.note) == (False, 'the body does not contain "größe: ok"')


def test_no_answer_is_no_pass() -> None:
    with pytest.raises(Malformed):
        http.read(a_node(), ())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": "health"}, "path"),
        ({"path": "/a b"}, "path"),
        ({"path": "/a#b"}, "path"),
        ({"path": "/a\r\nX: y"}, "path"),
        ({"path": 7}, "path"),
        ({"method": "get"}, "method"),
        ({"method": "DELETE"}, "method"),
        ({"expect_status": "2xx"}, "expect_status"),
        ({"expect_status": "299-200"}, "expect_status"),
        ({"expect_status": ""}, "expect_status"),
        ({"expect_status": True}, "expect_status"),
        ({"expect_status": 99}, "expect_status"),
        ({"expect_body": ""}, "expect_body"),
        ({"expect_body": 1}, "expect_body"),
        ({"method": "HEAD", "expect_body": "x"}, "expect_body"),
        ({"paht": "/x"}, "paht"),
    ],
)
def test_bad_options_are_named(options: dict[str, Scalar], named: str) -> None:
    (fault,) = http.faults(a_node(**options))
    assert fault.startswith(f"{named}: ")


def test_good_options_are_no_fault() -> None:
    assert (
        http.faults(a_node(path="/h?x=1", method="GET", expect_status="200,300-399", expect_body="ok")) == ()
    )


@settings(max_examples=100, deadline=None)
@given(status=st.integers(100, 599), body=st.binary(max_size=50), expect=st.text(max_size=8))
def test_any_answer_is_a_reading_or_malformed(status: int, body: bytes, expect: str) -> None:
    try:
        reading = http.read(a_node(expect_status=expect, expect_body="ok"), (an_answer(status, body),))
    except Malformed:
        with pytest.raises(ValueError, match="is not a status"):
            statuses(expect)
        return
    assert reading.expected is (any(status in part for part in statuses(expect)) and b"ok" in body)
