from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import BadDocument
from nodegate.host.neighbours.addresses import checked, same
from nodegate.host.neighbours.values import NodeKind

IDENTITY = "12D3KooWEYHtkdMVrrj7yGKXcn1yMdMpZu3qEzKA7qkPmKGWQBSV"
PEER = f"/dns/peer.example.net/tcp/15600/p2p/{IDENTITY}"


def test_good_addresses_pass_each_once() -> None:
    uris = ("tcp://node.example.net:15600", "udp://192.0.2.1:14600", "tcp://[2001:db8::1]:15600")
    assert checked(NodeKind.IRI, [*uris, uris[0]], to_add=True) == uris
    assert checked(NodeKind.HORNET, [PEER], to_add=True) == (PEER,)
    assert checked(NodeKind.HORNET, [PEER, IDENTITY], to_add=False) == (IDENTITY,)


@pytest.mark.parametrize(
    "uri",
    ["", "node:15600", "tcp://node", "tcp://node:0", "tcp://node:99999", "http://node:1", "tcp://:15600",
     "tcp://n:1/path", "tcp://me@n:1", "tcp://n:1 tcp://m:1", 'tcp://n":1', "tcp://$(id):1", "tcp://[::1:15600"],
)  # fmt: skip
def test_what_is_no_neighbour_is_refused_with_an_example(uri: str) -> None:
    with pytest.raises(BadDocument, match=r"write tcp://HOST:PORT|characters"):
        checked(NodeKind.IRI, [uri], to_add=True)


@pytest.mark.parametrize(
    "uri", [IDENTITY, "/dns/x/tcp/1/p2p/short", "/dns/x/udp/1/p2p/" + IDENTITY, "tcp://a:1"]
)
def test_what_is_no_peer_is_refused(uri: str) -> None:
    with pytest.raises(BadDocument, match="write /dns/HOST"):
        checked(NodeKind.HORNET, [uri], to_add=True)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(BadDocument) as caught:
        checked(NodeKind.IRI, ["x", "tcp://good:1", "y"], to_add=True)
    assert len(caught.value.faults) == 2


def test_two_spellings_of_one_neighbour_are_the_same() -> None:
    assert same("TCP://Node.example.net:15600") == same("node.example.net:15600")
    assert same(PEER) == same(IDENTITY) == IDENTITY
    assert same("udp://a:1") != same("tcp://a:1")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.sampled_from(NodeKind), st.booleans())
def test_any_text_is_taken_or_refused_in_words(text: str, kind: NodeKind, to_add: bool) -> None:
    for candidate in (text, f"tcp://{text}:15600"):
        try:
            (good,) = checked(kind, [candidate], to_add=to_add)
        except BadDocument:
            continue
        assert not set(good) & set(" \"'\n,;$`\\")
