from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.lab import http1
from nodegate.lab.http1 import Request, RequestReader, head

PLAIN = b"POST /x HTTP/1.1\r\nHost: a\r\nX-Thing:  v \r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"


def test_a_request_is_read_whole() -> None:
    (request,) = RequestReader().feed(PLAIN)
    assert request == Request(
        method="POST",
        target="/x",
        headers={"host": "a", "x-thing": "v", "content-length": "4"},
        body=b"body",
        keep_alive=True,
    )


def test_a_chunked_body_is_put_together() -> None:
    (request,) = RequestReader().feed(CHUNKED)
    assert request.body == b"abcde"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([PLAIN, CHUNKED]), min_size=1, max_size=4), st.data())
def test_requests_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader, found = RequestReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert [request.body for request in found] == [b"body" if part is PLAIN else b"abcde" for part in parts]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_requests_or_malformed(data: bytes) -> None:
    reader = RequestReader()
    for at in range(0, len(data), 7):
        found = reader.feed(data[at : at + 7])
        assert all(isinstance(request, Request) for request in found)


def test_requests_before_a_malformed_one_are_still_good() -> None:
    reader = RequestReader()
    assert [request.body for request in reader.feed(PLAIN + b"nonsense\r\n\r\n" + PLAIN)] == [b"body"]
    assert reader.malformed is not None
    assert reader.feed(PLAIN) == []


@pytest.mark.parametrize(
    "stream",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : v\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    ],
)
def test_what_is_not_http_is_malformed(stream: bytes) -> None:
    reader = RequestReader()
    assert reader.feed(stream) == []
    assert reader.malformed is not None


@pytest.mark.parametrize(
    "stream", [b"G" * 2_000, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000]
)
def test_a_line_without_end_is_cut_off(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "MAX_HEAD", 1_000)
    reader = RequestReader()
    assert reader.feed(stream) == []
    assert reader.malformed is not None


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_connections_are_kept_as_the_version_says(version: str, connection: str, kept: bool) -> None:
    line = f"Connection: {connection}\r\n" if connection else ""
    (request,) = RequestReader().feed(f"GET / HTTP/{version}\r\n{line}\r\n".encode())
    assert request.keep_alive is kept


def test_a_client_that_asks_is_told_to_go_on_once() -> None:
    reader = RequestReader()
    assert reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n") == []
    assert reader.continue_wanted() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert reader.continue_wanted() == b""
    assert [request.body for request in reader.feed(b"ok")] == [b"ok"]


def test_a_head_says_status_length_and_what_becomes_of_the_connection() -> None:
    written = head(503, {"A": "b"}, 7, keep_alive=False)
    assert written == (
        b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\nContent-Length: 7\r\nConnection: close\r\n\r\n"
    )
