"""The runtime socket against a fake HAProxy that speaks bytes, in pieces and with faults."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodegate.dataplane import socket
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.errors import Unavailable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def fake(handler: Handler) -> AsyncIterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="ng-"))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, directory / "s")
    try:
        yield directory / "s"
    finally:
        server.close()
        shutil.rmtree(directory)


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Repeat every command after the two of the opening, as HAProxy's interactive mode frames replies."""
    number = 0
    while line := await reader.readline():
        number += 1
        writer.write((b"" if number <= 2 else line) + b"\n> ")
        await writer.drain()


async def test_each_command_has_its_reply() -> None:
    async with fake(echoing) as path:
        assert await RuntimeSocket(path).send(["a", "b c"]) == ("a\n", "b c\n")
        assert await RuntimeSocket(path).send([]) == ()


async def test_replies_may_come_byte_by_byte() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        for byte in b"\n> \n> first\nreply\n\n> second\n\n> ":
            writer.write(bytes([byte]))
            await writer.drain()
        await reader.read()

    async with fake(slow) as path:
        assert await RuntimeSocket(path).send(["x", "y"]) == ("first\nreply\n", "second\n")


async def test_very_many_commands_and_long_replies_do_not_block_each_other() -> None:
    async def wordy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"x" * 1000 + b"\n> ")
            await writer.drain()  # reads no further command while its reply is not taken

    async with fake(wordy) as path:
        replies = await RuntimeSocket(path).send(["command" * 20] * 5000)
    assert len(replies) == 5000
    assert set(replies) == {"x" * 1000}


async def test_a_silent_haproxy_is_unavailable_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with fake(silent) as path:
        with pytest.raises(Unavailable, match="does not answer"):
            await RuntimeSocket(path, timeout=0.05).send(["x"])


async def test_slow_work_is_waited_for_as_long_as_replies_come() -> None:
    gate = asyncio.Event()

    async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(8):
            await reader.readline()
            await asyncio.sleep(0.05)
            writer.write(b"\n> ")
        gate.set()

    async with fake(steady) as path:
        assert len(await RuntimeSocket(path, timeout=0.3).send(["x"] * 6)) == 6
    assert gate.is_set()


@pytest.mark.parametrize("data", [b"", b"\n> ", b"\n> \n> half a rep", b"\n> \n> one\n\n> more than asked"])
async def test_a_conversation_that_ends_early_or_oddly_is_unavailable(data: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(data)
        await writer.drain()

    async with fake(cut) as path:
        with pytest.raises(Unavailable):
            await RuntimeSocket(path).send(["x"])


async def test_a_flood_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "MAX_BYTES", 100_000)

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with fake(flood) as path:
        with pytest.raises(Unavailable, match="more than 100000 bytes"):
            await RuntimeSocket(path).send(["x"])


async def test_nobody_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not run"):
        await RuntimeSocket(tmp_path / "missing").send(["x"])
    async with fake(echoing) as path:
        left = path
    with pytest.raises(Unavailable, match="does not run"):
        await RuntimeSocket(left).ask("x")


async def test_the_masters_socket_is_read_to_its_end() -> None:
    async def master(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"show proc\n"
        writer.write(b"one\n> not a prompt here\n")
        await writer.drain()

    async with fake(master) as path:
        assert await RuntimeSocket(path).ask("show proc") == "one\n> not a prompt here\n"
