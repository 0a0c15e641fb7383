"""Which address of a name is asked: the choice sticks, a broken name server changes nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from nodegate.model import Answer, Failure, FailureKind, Node, Question
from nodegate.probe import addresses as module
from nodegate.probe.addresses import PATIENCE, Addresses, is_address
from nodegate.probe.exchange import Deadline, Exchanged, Exchanger, Target

HOST = "pool.example"


class Names:
    """A name server: what `getaddrinfo` answers now."""

    def __init__(self) -> None:
        self.answer: list[str] | Exception = []
        self.lookups = 0
        self.gate = threading.Event()
        self.gate.set()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.lookups += 1
        self.gate.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.answer]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    served = Names()
    monkeypatch.setattr(socket, "getaddrinfo", served.getaddrinfo)
    yield served
    served.gate.set()


@pytest.fixture
async def addresses(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Addresses]:
    """Every call looks the name up again, so that tests need not wait for the age."""
    monkeypatch.setattr(module, "LOOKUP_AGE", -1.0)
    one = Addresses()
    yield one
    one.close()


async def settled(one: Addresses) -> tuple[str, ...] | Failure:
    """The candidates once the lookup that runs behind the known addresses is through."""
    await one.candidates(HOST, 80)
    for name in one._names.values():
        if name.lookup is not None:
            await name.lookup
    return await one.candidates(HOST, 80)


async def test_an_address_that_worked_stays_while_the_name_has_it(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    assert await addresses.candidates(HOST, 80) == ("192.0.2.1", "192.0.2.2")
    addresses.worked(HOST, 80, "192.0.2.2")
    assert await settled(addresses) == ("192.0.2.2",)
    names.answer = ["192.0.2.3", "192.0.2.2"]
    assert await settled(addresses) == ("192.0.2.2",)
    names.answer = ["192.0.2.3"]
    assert await settled(addresses) == ("192.0.2.3",)


async def test_a_name_server_that_fails_for_now_changes_nothing(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1"]
    await addresses.candidates(HOST, 80)
    names.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert await settled(addresses) == ("192.0.2.1",)


async def test_a_name_that_is_gone_is_a_failure(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1"]
    await addresses.candidates(HOST, 80)
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    found = await settled(addresses)
    assert found == Failure(
        kind=FailureKind.NAME, text="the name pool.example does not resolve: name or service not known"
    )


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
        socket.gaierror(),
        UnicodeError("label too long"),
        OSError(5, "x"),
    ],
)
async def test_a_name_that_never_resolved_is_a_failure(
    names: Names, addresses: Addresses, error: Exception
) -> None:
    names.answer = error
    found = await addresses.candidates(HOST, 80)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.NAME
    assert HOST in found.text


async def test_a_dead_address_is_given_up_after_a_while(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    await addresses.candidates(HOST, 80)
    addresses.worked(HOST, 80, "192.0.2.2")
    for _ in range(PATIENCE):
        assert await settled(addresses) == ("192.0.2.2",)
        addresses.failed(HOST, 80, "192.0.2.2")
    assert await settled(addresses) == ("192.0.2.3", "192.0.2.1", "192.0.2.2")


async def test_silent_addresses_take_turns_until_one_answers(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    first = []
    for _ in range(4):
        found = await settled(addresses)
        assert not isinstance(found, Failure)
        first.append(found[0][-1])
        addresses.failed(HOST, 80, found[0])
    assert first == ["1", "2", "3", "1"]


async def test_one_answer_forgives_all_failures(names: Names, addresses: Addresses) -> None:
    names.answer = ["192.0.2.1", "192.0.2.2"]
    await addresses.candidates(HOST, 80)
    addresses.worked(HOST, 80, "192.0.2.1")
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            addresses.failed(HOST, 80, "192.0.2.1")
        addresses.worked(HOST, 80, "192.0.2.1")
    assert await settled(addresses) == ("192.0.2.1",)


async def test_ports_of_one_name_choose_for_themselves(names: Names, addresses: Addresses) -> None:
    names.answer = ["::1", "127.0.0.1"]
    addresses.worked(HOST, 80, "127.0.0.1")
    assert await addresses.candidates(HOST, 80) == ("127.0.0.1",)
    assert await addresses.candidates(HOST, 81) == ("::1", "127.0.0.1")


async def test_many_nodes_of_one_name_share_a_lookup(names: Names) -> None:
    one = Addresses()
    names.answer = ["192.0.2.1"]
    found = await asyncio.gather(*(one.candidates(HOST, port) for port in range(1, 50)))
    assert set(found) == {("192.0.2.1",)}
    assert names.lookups == 1


async def test_hosts_that_are_gone_are_forgotten(names: Names) -> None:
    one = Addresses()
    names.answer = ["192.0.2.1"]
    await one.candidates(HOST, 80)
    one.worked(HOST, 80, "192.0.2.1")
    one.keep(set())
    assert (one._names, one._choices) == ({}, {})


async def test_a_name_server_that_does_not_answer_is_a_timeout(names: Names) -> None:
    names.gate.clear()
    target = Target.of(Node(id="n", url=f"http://{HOST}", kind="http"))
    began = time.monotonic()
    async with Exchanger(max_bytes=100) as exchanger:
        exchanged = await exchanger.ask(target, Question(), Deadline.within(0.2))
    assert time.monotonic() - began < 2
    assert exchanged == Exchanged(
        outcome=Failure(kind=FailureKind.TIMEOUT, text="the name pool.example was not resolved within 0.2 s"),
        address=None,
    )


async def test_a_refused_address_is_followed_by_the_next_within_one_probe(
    names: Names, serve: Any, sending: Any
) -> None:
    server = await serve(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    names.answer = ["127.0.0.2", "127.0.0.1"]  # the server listens on the second one only
    target = Target.of(Node(id="n", url=f"http://{HOST}:{server.port}", kind="http"))
    async with Exchanger(max_bytes=100) as exchanger:
        for _ in range(2):
            exchanged = await exchanger.ask(target, Question(), Deadline.within(5))
            assert isinstance(exchanged.outcome, Answer)
            assert exchanged.address == "127.0.0.1"
    assert f"Host: {HOST}:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", True), ("10.0.0.1", True), ("a.b", False), ("10.0.0", False)]
)
def test_addresses_and_names_are_told_apart(host: str, expected: bool) -> None:
    assert is_address(host) is expected
