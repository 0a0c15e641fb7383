"""The portal's listener towards clients that bring no request, or none that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from nodegate.api.listen import _Server, bound
from nodegate.portal import serve as served
from nodegate.portal.serve import SERVER
from support import free_port

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server whose patience is a fifth of a second."""
    monkeypatch.setattr(served, "HEAD_WITHIN", 0.2)
    place = free_port()
    with bound(f"127.0.0.1:{place}", key="portal.listen", advice="") as listener:
        config = uvicorn.Config(PlainTextResponse("well"), lifespan="off", log_config=None, **SERVER)
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener.dup()]))
        yield place
        server.should_exit = True
        await running


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What came until the end, also if that is a reset, as for a client whose words were not all read."""
    found = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(60):
            while chunk := await reader.read(4096):
                found += chunk
    return found


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_connection_that_brings_no_whole_head_is_closed(port: int, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    assert b"200" not in await until_closed(reader)
    writer.close()


async def test_one_that_drips_after_a_good_request_is_closed_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST + b"GET / HT")
    found = await until_closed(reader)
    assert found.count(b"200 OK") == 1
    writer.close()


async def test_a_client_that_keeps_asking_is_answered_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < end:
        writer.write(REQUEST)
        async with asyncio.timeout(60):
            assert b"200 OK" in await reader.readuntil(b"well")
    writer.close()


async def test_a_head_without_an_end_is_refused(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20_000)
    assert b"200" not in await until_closed(reader)
    writer.close()
