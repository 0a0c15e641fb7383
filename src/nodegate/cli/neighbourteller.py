"""Tells the gateway which neighbours died or came back, as the watch sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from nodegate.cli import output
from nodegate.cli.client import AdminClient
from nodegate.cli.target import Target
from nodegate.errors import NodegateError, NotFound
from nodegate.host.neighbours.tracks import State
from nodegate.host.neighbours.watch import Seen

MOST = 1000
"""Reports that wait for a gateway that is away; the oldest go first."""
PAUSE = 10.0
"""Seconds until a gateway that did not take a report is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One neighbour's death or return; `quiet` are the seconds of its silence."""

    neighbour: str
    dead: bool
    quiet: float


class Teller:
    """Sends reports in order; one that is not taken waits. `node` is the node's id at the gateway."""

    def __init__(self, target: Target, node: str) -> None:
        self._target, self._node = target, node
        self._waiting: deque[Report] = deque(maxlen=MOST)
        self._news = asyncio.Event()
        self._trouble = ""

    def check(self) -> None:
        """Ask for the node. Raises NotFound when the gateway has none of this id, and as AdminClient."""
        with AdminClient(self._target) as gateway:
            gateway.node(self._node)

    def take(self, seen: Seen) -> None:
        """What one look told."""
        self._waiting.extend(
            Report(neighbour=row.neighbour.uri, dead=row.state is State.DEAD, quiet=row.quiet)
            for row in seen.turned
        )
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Send what comes, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.flush():
                await asyncio.sleep(PAUSE)
                self._news.set()

    async def flush(self) -> bool:
        """Send all that waits; whether the gateway took it. Troubles are said once."""
        while self._waiting:
            report = self._waiting[0]
            try:
                await asyncio.to_thread(self._send, report)
            except NotFound as error:
                output.note(f"the gateway was not told of {report.neighbour}: {error}")
            except NodegateError as error:
                if str(error) != self._trouble:
                    output.note(f"the gateway is not told yet: {error}")
                self._trouble = str(error)
                return False
            self._trouble = ""
            self._waiting.popleft()
        return True

    def _send(self, report: Report) -> None:
        with AdminClient(self._target) as gateway:
            gateway.report_neighbour(
                node=self._node, neighbour=report.neighbour, dead=report.dead, quiet=report.quiet
            )
