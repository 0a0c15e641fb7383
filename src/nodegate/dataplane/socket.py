"""HAProxy's runtime socket: many commands in one conversation, bounded in time and size."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path

from nodegate.errors import Malformed, Unavailable
from nodegate.haproxy.wire import OPENING, PROMPT, split_replies

TIMEOUT = 10.0
"""Seconds without a sign of life. Replies trickle in while HAProxy works through thousands of commands."""

LONGEST = 120.0
"""Seconds for one whole conversation; 30,000 commands take 8, and 40 on a machine that is overloaded."""

MAX_BYTES = 256 * 1024 * 1024
"""Bound on all replies together; 10,000 servers report 4 MB."""

_READ = 256 * 1024


class RuntimeSocket:
    """Speaks to the HAProxy that listens at `path`. Holds no connection between calls."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout

    async def send(self, commands: Sequence[str]) -> tuple[str, ...]:
        """One reply for each command, in order; see `wire.accepted` for what a reply says.

        Raises Unavailable when HAProxy does not answer all of them in time.
        """
        if not commands:
            return ()
        lines = [*OPENING, *commands]
        request = "".join(f"{line}\n" for line in lines).encode()
        data = await self._within(self._converse(request, len(lines)))
        try:
            return split_replies(data, len(lines))[len(OPENING) :]
        except Malformed as error:
            raise Unavailable(f"{error} on {self.path}") from error

    async def ask(self, command: str) -> str:
        """The reply to one command, without a prompt: what the master's socket speaks.

        Raises Unavailable as `send` does.
        """
        data = await self._within(self._converse(f"{command}\n".encode(), None))
        return data.decode(errors="replace")

    async def _within(self, conversation: Coroutine[None, None, bytes]) -> bytes:
        try:
            async with asyncio.timeout(LONGEST):
                return await conversation
        except TimeoutError as error:
            raise Unavailable(f"HAProxy does not answer on {self.path}") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Unavailable(f"HAProxy does not run: nobody listens on {self.path}") from error
        except OSError as error:
            raise Unavailable(f"HAProxy is lost on {self.path}: {error.strerror or error}") from error

    async def _converse(self, request: bytes, prompts: int | None) -> bytes:
        """Write `request` and read until `prompts` prompts have come, or, with None, to the end."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=_READ)
        # Both at once: HAProxy stops reading commands while nobody takes its replies.
        sending = asyncio.create_task(self._write(writer, request, end=prompts is None))
        try:
            return await self._read(reader, prompts)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()

    @staticmethod
    async def _write(writer: asyncio.StreamWriter, request: bytes, *, end: bool) -> None:
        for start in range(0, len(request), _READ):
            writer.write(request[start : start + _READ])
            await writer.drain()
        if end:
            writer.write_eof()

    async def _read(self, reader: asyncio.StreamReader, prompts: int | None) -> bytes:
        data = bytearray()
        seen = 0
        while prompts is None or seen < prompts:
            async with asyncio.timeout(self._timeout):
                chunk = await reader.read(_READ)
            if not chunk:
                break
            overlap = max(0, len(data) - len(PROMPT) + 1)  # a prompt may be split between two reads
            data += chunk
            seen += data.count(PROMPT, overlap)
            if len(data) > MAX_BYTES:
                raise Unavailable(f"HAProxy answers more than {MAX_BYTES} bytes on {self.path}")
        return bytes(data)
