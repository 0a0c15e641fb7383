"""The ledgers of all pools, in memory and in a file of the state directory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from nodegate.scaling import Ledger, Own, new_ledger, read_ledgers, write_ledgers
from nodegate.systemfile.private import read_private, write_private


class Book:
    """What scaling remembers. Every change is on disk before anything is done because of it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ledgers: dict[str, Ledger] | None = None

    async def load(self) -> None:
        """Read the file, once. Raises BadDocument when it is damaged: without it nobody knows what runs and
        costs money. Raises Unavailable when it cannot be read."""
        if self._ledgers is None:
            self._ledgers = await asyncio.to_thread(self._read)

    def ledger(self, pool: str) -> Ledger:
        """The pool's ledger; an empty one before anything was done."""
        return (self._ledgers or {}).get(pool) or new_ledger()

    async def keep(self, pool: str, ledger: Ledger) -> None:
        """Remember; what did not change is not written. Raises Unavailable when the disk does not take it."""
        if ledger == self.ledger(pool):
            return
        ledgers = {**(self._ledgers or {}), pool: ledger}
        await asyncio.to_thread(write_private, self._file, write_ledgers(ledgers))
        self._ledgers = ledgers

    async def keep_own(self, pool: str, own: Own) -> None:
        """Remember one node. Raises as `keep`."""
        ledger = self.ledger(pool)
        await self.keep(pool, replace(ledger, own={**ledger.own, own.id: own}))

    async def forget_own(self, pool: str, name: str) -> None:
        """Forget a node that was stopped. Raises as `keep`."""
        ledger = self.ledger(pool)
        left = {own.id: own for own in ledger.own.values() if own.id != name}
        await self.keep(pool, replace(ledger, own=left))

    def _read(self) -> dict[str, Ledger]:
        text = read_private(self._file)
        return {} if text is None else read_ledgers(text, file=str(self._file))
