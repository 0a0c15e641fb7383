"""Where SSH answers: the hardened port first, and nobody waits for a port that does not matter any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nodegate.host.provision.document import Fleet
from nodegate.host.provision.reach import WayIn, find_ways
from support import free_port


@asynccontextmanager
async def listener(greeting: bytes) -> AsyncIterator[int]:
    """Says `greeting` to everybody; empty: nothing, as a port whose packets are dropped."""
    held: list[asyncio.StreamWriter] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        writer.write(greeting)

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()


async def found(port: int, first: int, *, patience: float) -> WayIn | str:
    fleet = Fleet.model_validate(
        {
            "ssh": {"user": "admin", "first_user": "root", "port": port, "first_port": first},
            "hosts": [{"name": "node1", "address": "127.0.0.1"}],
        }
    )
    async with asyncio.timeout(60):
        return (await find_ways(fleet, fleet.hosts, patience=patience))["node1"]


async def test_a_hardened_host_is_entered_without_waiting_for_its_closed_port() -> None:
    async with listener(b"SSH-2.0-x\r\n") as port, listener(b"") as silent:
        assert await found(port, silent, patience=3600) == WayIn(user="admin", port=port)


async def test_a_bare_host_is_entered_by_its_first_port() -> None:
    async with listener(b"SSH-2.0-x\r\n") as first:
        assert await found(free_port(), first, patience=3600) == WayIn(user="root", port=first)


async def test_what_does_not_answer_is_told_for_both_ports() -> None:
    async with listener(b"220 mail\r\n") as mail, listener(b"") as silent:
        said = await found(mail, silent, patience=0.3)
    assert isinstance(said, str)
    assert f"port {mail}: what answers there is not SSH" in said
    assert f"port {silent}: no answer in 0.3 s" in said
