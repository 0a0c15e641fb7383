"""Call a provider's command: bounded in time and output, without a shell, in a process group of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from nodegate.errors import Unavailable

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
AFTERWARDS = 1.0
"""Seconds for the last output of a command that has ended; what it left in the background may keep the pipe open."""
STDERR_KEPT = 4096
"""Bytes of standard error that are kept, the last ones: the reason stands at the end."""


async def call(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    stdin: bytes,
    timeout: float,
    limit: int,
    directory: Path,
) -> bytes:
    """Run `command`; returns its standard output, at most `limit` + 1 bytes of it.

    Raises Unavailable, with the last line of its standard error, when it cannot be started, fails, or takes
    longer than `timeout` seconds. A cancelled call ends the command too.
    """
    output, complaint = _Kept(first=limit + 1), _Kept(last=STDERR_KEPT)
    async with _pipe(output) as out, _pipe(complaint) as err:
        with _input(stdin) as told:
            try:
                # Pipes of our own: asyncio's would make a process last until everybody has closed them.
                process = await asyncio.create_subprocess_exec(
                    *command, env=environ, cwd=directory, start_new_session=True, stdin=told, stdout=out.fd, stderr=err.fd
                )  # fmt: skip
            except (OSError, ValueError) as error:
                words = getattr(error, "strerror", None) or str(error)
                raise Unavailable(f"{command[0]} cannot be started: {words}") from error
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError as error:
            await _end(process)
            raise Unavailable(
                f"{command[0]} took longer than {timeout:g} s{complaint.last_line()}"
            ) from error
        except BaseException:
            await _end(process)
            raise
    if code != 0:
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise Unavailable(f"{command[0]} {how}{complaint.last_line()}")
    return bytes(output.data)


class _Kept:
    """The first, or the last, so many bytes of a stream."""

    def __init__(self, *, first: int = 0, last: int = 0) -> None:
        self.data = bytearray()
        self._first, self._last = first, last

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if self._first:
            del self.data[self._first :]
        if self._last:
            del self.data[: -self._last]

    def last_line(self) -> str:
        """`: ` and the last line that is not empty, or nothing."""
        lines = [line.strip() for line in self.data.decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:500]}" if lines else ""


class _Pipe:
    """The end of a pipe that a command writes to."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Leave it to the command; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@asynccontextmanager
async def _pipe(kept: _Kept) -> AsyncIterator[_Pipe]:
    """A pipe whose other end is read into `kept`; at its end the last output has `AFTERWARDS` seconds to come."""
    reader, writer = os.pipe()
    pipe = _Pipe(writer)
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", buffering=0)
    )
    reading = asyncio.create_task(_read(stream, kept))
    try:
        yield pipe
    finally:
        pipe.close()
        await asyncio.wait([reading], timeout=AFTERWARDS)
        reading.cancel()
        transport.close()


@contextmanager
def _input(data: bytes) -> Iterator[int]:
    """A descriptor to read `data` from; a command need not read it, and nobody waits for that."""
    handle = os.memfd_create("nodegate-provider")
    try:
        os.write(handle, data)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


async def _read(stream: asyncio.StreamReader, kept: _Kept) -> None:
    while chunk := await stream.read(65_536):
        kept.add(chunk)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the command and all that it started: politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
                return
