"""Servers that are added, changed and deleted while HAProxy runs: many in one conversation, none for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from nodegate.dataplane.changes import Key, Order, Trust, key_of, numbered, order, outcome
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.model import Change, ChangeKind

log = logging.getLogger("nodegate.dataplane")

CONVERSATION = 500
"""Changes of servers that share one conversation with HAProxy."""

ADD_BUDGET = 5.0
"""Seconds that a pass may spend on adding servers. HAProxy stops all its threads for each one, which takes
most time just when the machine is short of it."""

IDLE_CLOSE = 0.1
"""Seconds in which HAProxy closes a server's idle connections; a delete is tried once more after them."""


class ServerChanges:
    """Carries changes of servers out over the runtime socket. `free_number` is the first numeric id that no server
    has, as far as it is known; servers that are added count it up."""

    def __init__(self, runtime: RuntimeSocket) -> None:
        self._runtime = runtime
        self.free_number: int | None = None

    async def carry_out(self, changes: Sequence[Change], trust: Trust, failed: set[Key]) -> list[str]:
        """Carry the changes out; returns the refusals and adds what was not added to `failed`.

        A pass must not be held up for long: servers that could not be added within `ADD_BUDGET` are left
        to the next pass, which finds them missing.
        """
        numbers = numbered(changes, self.free_number)
        if self.free_number is not None:
            self.free_number = max(self.free_number, *(number + 1 for number in numbers if number), 0)
        orders = [order(change, trust, number) for change, number in zip(changes, numbers, strict=True)]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ADD_BUDGET
        refused: list[tuple[Order, str]] = []
        left = 0
        for start in range(0, len(orders), CONVERSATION):
            chunk = orders[start : start + CONVERSATION]
            if loop.time() > deadline:
                others = [item for item in chunk if item.change.kind is not ChangeKind.ADD]
                left += len(chunk) - len(others)
                chunk = others
            refused += await self._ask(chunk)
        if left:
            log.info("%d servers more are to be added; the next pass goes on", left)
        if again := [item for item, _ in refused if item.change.kind is ChangeKind.DELETE]:
            # Maintenance closes the idle connections of a server, but not before the next turn.
            await asyncio.sleep(IDLE_CLOSE)
            refused = [pair for pair in refused if pair[0] not in again] + await self._ask(again)
        for item, _ in refused:
            if item.change.kind is ChangeKind.ADD and item.change.server is not None:
                failed.add(key_of(item.change.server))
        return [words for _, words in refused]

    async def _ask(self, orders: Sequence[Order]) -> list[tuple[Order, str]]:
        """Have the orders carried out in one conversation; returns the refused ones with the reason."""
        replies = iter(await self._runtime.send([line for item in orders for line in item.commands]))
        outcomes = [(item, outcome(item, [next(replies) for _ in item.commands])) for item in orders]
        return [(item, words) for item, words in outcomes if words is not None]
