"""A stream of client requests in a child process, so that it neither waits for what measures nor makes it
wait. Each line on the child's standard input ends a phase: the child answers with that phase's report."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any, Self

import uvloop

from bench.environment import clean_environment
from nodegate.errors import Unavailable
from nodegate.lab.load import Load, LoadOptions
from nodegate.model import Seconds

LONGEST = Seconds(600.0)
"""Seconds after which the child ends by itself, should it be forgotten."""


class Clients:
    """The parent's side. Use it as an async context manager; requests flow inside."""

    def __init__(self, url: str, *, connections: int, rate: float | None = None) -> None:
        self._arguments = [url, "--connections", str(connections)]
        self._arguments += [] if rate is None else ["--rate", str(rate)]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.clients", *self._arguments,
            limit=16 * 1024 * 1024,  # a report names every node that answered
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=clean_environment(),
        )  # fmt: skip
        await self.phase()  # the answer says that it runs
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def phase(self) -> dict[str, Any]:
        """What came of the requests since the last call, as `nodegate lab load --json` prints it.

        Raises Unavailable when the child has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        line = await self._process.stdout.readline()
        try:
            document: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise Unavailable("the clients' process ended too early") from error
        return document

    async def during(self, seconds: float) -> dict[str, Any]:
        """The report of a phase of so many seconds that begins now."""
        await self.phase()
        await asyncio.sleep(seconds)
        return await self.phase()

    async def settle(self) -> dict[str, Any]:
        """End the stream: nothing more is sent, answers under way are waited for. The last phase's report."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        out, _ = await self._process.communicate()
        document: dict[str, Any] = json.loads(out)
        return document


async def _serve(options: LoadOptions) -> None:
    """The child's side."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    load = Load(options)
    await load.start()
    while await reader.readline():
        print(json.dumps(load.restart_counts().document()), flush=True)
    report = await load.stop()
    print(json.dumps(report.document()), flush=True)


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    uvloop.run(
        _serve(LoadOptions(url=given.url, connections=given.connections, rate=given.rate, duration=LONGEST))
    )


if __name__ == "__main__":
    main()
