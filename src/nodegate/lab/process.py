"""A lab in a child process: `nodegate lab nodes` started, read, spoken to and ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from nodegate.errors import Unavailable
from nodegate.lab.remote import LabNode, RemoteLab

_READY_WITHIN: Final = 30.0
_STOP_WITHIN: Final = 10.0


class LabProcess:
    """A running child with a lab in it. Make one with `LabProcess.start`."""

    def __init__(
        self, process: asyncio.subprocess.Process, nodes: tuple[LabNode, ...], remote: RemoteLab
    ) -> None:
        self._process = process
        self.nodes = nodes
        """The nodes it started with."""
        self.remote = remote
        """Faults and counters, over the control port."""

    @classmethod
    async def start(cls, count: int = 5, kind: str = "iri", *, arguments: Sequence[str] = ()) -> LabProcess:
        """Start a lab; `arguments` are further options of `nodegate lab nodes`.

        Raises Unavailable with the child's own words when it does not become ready.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nodegate", "lab", "nodes", "--json", "--control", "0"),
            *("--count", str(count), "--kind", kind, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,  # the ready line of ten thousand nodes is long
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_READY_WITHIN):
                line = await process.stdout.readline()
            document = json.loads(line)
        except (TimeoutError, ValueError) as error:
            raise Unavailable(f"the lab did not start: {await _ended(process)}") from error
        except BaseException:
            await _ended(process)
            raise
        nodes = tuple(LabNode(**node) for node in document["nodes"])
        return cls(process, nodes, RemoteLab(document["control"]))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def stop(self) -> None:
        """End the child in order; after ten seconds, in disorder."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(_STOP_WITHIN):
                    await self._process.communicate()
            except TimeoutError:
                await _ended(self._process)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _ended(process: asyncio.subprocess.Process) -> str:
    """Kill the child and return what it said on its standard error."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    _, said = await process.communicate()
    return said.decode("utf-8", "replace").strip() or "it said nothing"
