"""One attack under way: its connections, and the count of what comes back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Final

from nodegate.errors import Malformed
from nodegate.lab.attack_report import Sent
from nodegate.lab.attack_scripts import Aim, Script
from nodegate.lab.attacks import Attack
from nodegate.lab.exchange import Target, read_answer
from nodegate.model import Seconds

_PAUSE: Final = 0.05  # after a refused connection, so that it is not tried in a busy loop
_CONNECT: Final = 5.0
_MAX_HEAD: Final = 64 * 1024
_RULE_HEADER: Final = "x-nodegate-rule"


@dataclass(slots=True)
class _Counts:
    sent: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    unheard: int = 0
    unconnected: int = 0
    open: int = 0
    most_open: int = 0


class Assault:
    """One attack under way."""

    def __init__(self, attack: Attack, target: Target, aim: Aim, place: int) -> None:
        self._attack = attack
        self._target = target
        self._scripts = attack.scripts(aim)
        self._counts = _Counts()
        self._taken = 0
        self._ends = 0.0
        self._began = 0.0
        # On Linux all of 127.0.0.0/8 is this machine.
        self._source = (f"127.66.{place >> 8}.{place & 255}", 0) if "." in target.host else None

    async def run(self, seconds: Seconds, connections: int) -> Sent:
        """Attack for so long; requests under way are waited for as long as their patience."""
        self._began = time.monotonic()
        self._ends = self._began + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(connections * self._attack.crowd):
                group.create_task(self._attacker())
        counts = self._counts
        return Sent(
            sent=counts.sent, by_status=dict(counts.by_status), by_rule=dict(counts.by_rule), cut=counts.cut,
            unheard=counts.unheard, unconnected=counts.unconnected, most_open=counts.most_open,
        )  # fmt: skip

    async def _attacker(self) -> None:
        while True:
            place, self._taken = self._taken, self._taken + 1
            # Who is late does not catch up: the rate and the end bound what is sent.
            at = max(self._began + place / self._attack.rate, time.monotonic())
            if at >= self._ends:
                return
            await asyncio.sleep(at - time.monotonic())
            self._counts.sent += 1
            await self._attempt(self._scripts[place % len(self._scripts)])

    async def _attempt(self, script: Script) -> None:
        """One connection: send the script, count what comes back."""
        counts, target = self._counts, self._target
        try:
            async with asyncio.timeout(_CONNECT):
                reader, writer = await asyncio.open_connection(
                    target.host, target.port, limit=_MAX_HEAD, local_addr=self._source
                )
        except (OSError, TimeoutError):
            counts.unconnected += 1
            await asyncio.sleep(_PAUSE)
            return
        counts.open += 1
        counts.most_open = max(counts.most_open, counts.open)
        try:
            await self._converse(script, reader, writer)
        finally:
            counts.open -= 1
            writer.transport.abort()

    async def _converse(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        slow = script.drips or not script.pieces
        sending = asyncio.create_task(_send(script, writer))
        heard = 0
        try:
            async with asyncio.timeout_at(_loop_time(self._ends) if slow else _in(script.patience)):
                while heard < script.answers:
                    await self._hear(reader)
                    heard += 1
        except TimeoutError:
            # Silence after an answer: the server took the rest for nothing, or honest clients will notice.
            self._counts.unheard += not slow and not heard
        except (OSError, EOFError, Malformed, asyncio.LimitOverrunError):
            self._counts.cut += not heard
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        answer, _ = await read_answer(reader, without_body=False)
        self._counts.by_status[answer.status] += 1
        if (rule := answer.headers.get(_RULE_HEADER)) is not None:
            self._counts.by_rule[rule] += 1


async def _send(script: Script, writer: asyncio.StreamWriter) -> None:
    """Write the script's pieces; a broken connection is the reader's to notice."""
    again = repeat(script.pieces[-1]) if script.drips else ()
    with suppress(OSError):
        for piece in chain(script.pieces, again):
            if writer.is_closing():  # uvloop refuses to write then, and not with an OSError
                return
            writer.write(piece)
            await writer.drain()
            if script.pause:
                await asyncio.sleep(script.pause)


def _in(seconds: Seconds) -> float:
    return asyncio.get_running_loop().time() + seconds


def _loop_time(monotonic: float) -> float:
    """A moment of the monotonic clock on the loop's own clock."""
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
