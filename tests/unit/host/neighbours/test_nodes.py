"""Both kinds of node over real HTTP: a lab's IRI node and a simulated HORNET."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.host.neighbours.nodes import Hornet, Iri, node
from nodegate.host.neighbours.values import NodeKind
from nodegate.lab.hornet import HornetNode, address_of
from nodegate.lab.lab import Lab, LabOptions
from nodegate.model import Seconds
from support import free_port, until

NEW = "tcp://new.example.net:15600"


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """A server that answers each request with the bytes that `answer` makes of it, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(request))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


async def test_iri_neighbours_are_read_added_and_removed() -> None:
    async with Lab(LabOptions(trust_loopback=True, interval=Seconds(0.2))) as lab:
        (one,) = await lab.start(1)
        there = Iri(one.url)
        before = await there.neighbours()
        assert [each.uri for each in before] == [f"tcp://192.0.2.{n}:15600" for n in (1, 2, 3)]
        assert set(before[0].counters.known_values()) == {
            "all", "new", "invalid", "stale", "sent", "requested", "dropped",
        }  # fmt: skip
        assert await there.add([NEW, before[0].uri]) == 1
        assert [each.uri for each in await there.neighbours()][-1] == NEW

        async def moves() -> bool:
            now = await there.neighbours()
            return (now[0].counters.new or 0) > (before[0].counters.new or 0)

        await until(moves, what="counters move")
        assert await there.remove([NEW, "tcp://never.example.net:1"]) == 1
        assert len(await there.neighbours()) == 3
        await there.close()


@pytest.mark.parametrize(
    ("domain", "uri"),
    [("peer.example.net", "tcp://peer.example.net:15600"), ("2001:db8::1", "tcp://[2001:db8::1]:15600"),
     ("", "tcp://192.0.2.1:15600")],
)  # fmt: skip
def test_an_answer_of_hornet_0_has_its_own_counters(domain: str, uri: str) -> None:
    one = Iri("http://n")._neighbour(
        {"address": "192.0.2.1:15600", "port": 15600, "domain": domain, "connectionType": "tcp", "connected": False,
         "numberOfAllTransactions": 9, "numberOfNewTransactions": 4, "numberOfKnownTransactions": 5,
         "numberOfReceivedTransactionReq": 2},
    )  # fmt: skip
    assert (one.uri, one.connected) == (uri, False)
    assert one.counters.known_values() == {"all": 9, "new": 4, "known": 5, "requested": 2}


async def test_a_refusal_by_iri_says_what_to_do() -> None:
    async with Lab(LabOptions()) as lab:
        (one,) = await lab.start(1)
        there = Iri(one.url)
        for act in (there.neighbours(), there.add([NEW]), there.remove([NEW])):
            with pytest.raises(Refused, match=r"COMMAND \w+ is not available.*REMOTE_TRUSTED_API_HOSTS"):
                await act
        await there.close()


@pytest.mark.parametrize("generation", [1, 2])
async def test_hornet_peers_are_read_added_and_removed_in_both_generations(generation: Literal[1, 2]) -> None:
    async with HornetNode(2, generation=generation, jwt="the.token") as simulated:
        there = node(NodeKind.HORNET, simulated.url + "/", jwt="the.token")
        first, _ = await there.neighbours()
        assert (first.uri, first.name, first.connected) == (simulated.peers[0].id, "peer-1", True)
        assert set(first.counters.known_values()) == {"all", "new", "known", "sent", "requested", "dropped"}
        assert await there.add([address_of(9), address_of(1)], "nine") == 1
        added = (await there.neighbours())[-1]
        assert (added.name, added.address) == ("nine", "/ip4/192.0.2.9/tcp/15600")
        assert await there.remove([address_of(9), first.uri, "12D3KooWnobodynobodynobody"]) == 2
        assert len(await there.neighbours()) == 1
        await there.close()


@pytest.mark.parametrize("jwt", [None, "wrong"])
async def test_a_refusal_by_hornet_says_where_the_token_goes(jwt: str | None) -> None:
    async with HornetNode(jwt="the.token") as simulated:
        there = Hornet(simulated.url, jwt=jwt)
        with pytest.raises(Refused, match=r"unauthorized.*--jwt-file.*NODEGATE_JWT"):
            await there.neighbours()
        await there.close()


async def test_iri_asked_as_hornet_is_told() -> None:
    async with answering(lambda request: http(404, b"{}")) as url:
        there = Hornet(url)
        with pytest.raises(NotFound, match="/api/core/v2/peers"):
            await there.neighbours()
        await there.close()


async def test_nobody_there_and_nobody_answering_are_unavailable() -> None:
    there = Iri(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match=r"no node answers.*--node"):
        await there.neighbours()
    await there.close()
    async with Lab(LabOptions()) as lab:
        (one,) = await lab.start(1)
        await lab.fault(one.id, "hang")
        there = Iri(one.url, timeout=0.3)
        with pytest.raises(Unavailable, match=r"within 0.3 s"):
            await there.neighbours()
        await there.close()


@pytest.mark.parametrize(
    ("kind", "response", "error", "words"),
    [
        ("iri", http(200, b"<html>"), Malformed, "no JSON"),
        ("iri", http(200, b"[]"), Malformed, "as a node does"),
        ("iri", http(200, b"{}"), Malformed, "without a list"),
        ("iri", http(200, b'{"neighbors":[5]}'), Malformed, "without an address"),
        ("iri", http(400, b'{"error":"Command [getNeighbors] is unknown"}'), Malformed, "is unknown"),
        ("iri", http(500, b'{"exception":"boom"}'), Unavailable, "boom"),
        ("iri", http(200, b'{"neighbors":"' + b"x" * 9_000_000 + b'"}'), Malformed, "8 MiB"),
        ("iri", b"nonsense\r\n\r\n", Unavailable, "failed"),
        ("hornet", http(200, b'{"data":{}}'), Malformed, "without a list"),
        ("hornet", http(200, b'{"data":[{"alias":"x"}]}'), Malformed, "without an identity"),
    ],
)  # fmt: skip
async def test_a_strange_answer_is_an_error_in_words_and_never_an_empty_list(
    kind: str, response: bytes, error: type[NodegateError], words: str
) -> None:
    async with answering(lambda request: response) as url:
        there = node(NodeKind(kind), url)
        with pytest.raises(error, match=words):
            await there.neighbours()
        await there.close()


IRI, HORNET = Iri("http://n"), Hornet("http://n")  # once: each makes a TLS context
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["address", "domain", "connectionType", "connected", "numberOfNewTransactions"]), JSON),
    st.dictionaries(st.sampled_from(["id", "alias", "multiAddresses", "gossip", "connected", "relation"]), JSON),
)  # fmt: skip
def test_whatever_a_neighbour_is_it_is_read_or_malformed(iri: dict[str, Any], hornet: dict[str, Any]) -> None:
    for read, found in ((IRI._neighbour, iri), (HORNET._neighbour, hornet)):
        try:
            one = read(found)
        except Malformed:
            continue
        assert one.uri
        assert all(value >= 0 for value in one.counters.known_values().values())
