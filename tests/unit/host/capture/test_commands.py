"""What a request is called."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import rpc
from nodegate.host.capture.commands import MAX_EXCERPT, commands_of, excerpt, has_reference


@pytest.mark.parametrize(
    ("method", "target", "body", "names"),
    [
        ("POST", b"/", b'{"command":"getNodeInfo"}', ["getNodeInfo"]),
        ("POST", b"/", b'{ "addresses": [], "command" :\n"getBalances"}', ["getBalances"]),
        ("POST", b"/", b'{"x":{"command":"inner"},"command":"outer"}', ["outer"]),
        ("POST", b"/", rb'{"tag":"\"command\":\"no\"","command":"yes"}', ["yes"]),
        ("POST", b"/", json.dumps(rpc("eth_call")).encode(), ["eth_call"]),
        (
            "POST",
            b"/",
            json.dumps([rpc("eth_call"), rpc("eth_chainId")]).encode(),
            ["eth_call", "eth_chainId"],
        ),
        ("POST", b"/", b'{"command":"attachToTangle","trytes":["AAA', ["attachToTangle"]),
        ("POST", b"/rpc", b"not json", ["POST /rpc"]),
        ("POST", b"/", b'{"command":7}', ["POST /"]),
        (
            "GET",
            b"/api/v1/messages/0123456789abcdef0123456789abcdef/raw?x=1",
            b"",
            ["GET /api/v1/messages/{id}/raw"],
        ),
        ("GET", b"/milestones/12345", b"", ["GET /milestones/{id}"]),
        ("GET", b"", b"", ["GET /"]),
    ],
)
def test_the_name_is_what_is_asked_for(method: str, target: bytes, body: bytes, names: list[str]) -> None:
    assert list(commands_of(method, target, body)) == names


def test_a_reference_is_noticed() -> None:
    assert has_reference(b'{"command":"getTransactionsToApprove","reference": "AAA"}')
    assert not has_reference(b'{"command":"getTransactionsToApprove","depth":3}')


def test_an_excerpt_is_one_short_printable_line() -> None:
    text = excerpt(b'{"a":\n"\x1b[31m' + b"x" * 900)
    assert len(text) == MAX_EXCERPT
    assert text.endswith("…")
    assert text.isprintable()


@settings(max_examples=200, deadline=None)
@given(
    target=st.binary(max_size=100),
    body=st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:comandeth\\ ').map(str.encode)),
)
def test_hostile_bytes_have_a_bounded_printable_name(target: bytes, body: bytes) -> None:
    for name in commands_of("POST", target, body):
        assert name.isprintable()
        assert len(name) <= 100
    assert excerpt(body).isprintable()
