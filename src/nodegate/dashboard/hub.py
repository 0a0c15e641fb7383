"""One look at the daemon for all open pages: read once, shown many times. While nobody looks, nothing is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nodegate import __version__
from nodegate.dashboard.source import Source
from nodegate.dataplane.tables import Tables
from nodegate.errors import NodegateError
from nodegate.model import Instant, Snapshot
from nodegate.views import PlanDocument, StatusDocument, node_rows, plan_document, status_document

log = logging.getLogger("nodegate.dashboard")

EVERY = 2.0
"""Seconds between two looks. A pass takes place each second; people do not read faster."""
TABLES_EVERY = 3
"""Looks between two readings of HAProxy's tables, which may have 100,000 clients in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at one moment. `tables` is None while HAProxy cannot be asked, `tables_error` says why.
    `rows` are all nodes by id, with the fields of NodeRow."""

    at: Instant
    snapshot: Snapshot
    status: StatusDocument
    plan: PlanDocument
    rows: Mapping[str, dict[str, Any]]
    tables: Tables | None
    tables_error: str = ""
    number: int = 0


Show = Callable[[Look], None]


@dataclass(slots=True)
class _Viewer:
    show: Show
    is_there: Callable[[], bool]
    shown: int = field(default=0)


class Hub:
    """Pages `watch`; `run` keeps looking for them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._viewers: dict[str, _Viewer] = {}
        self._somebody = asyncio.Event()
        self._look: Look | None = None
        self._number = 0

    def watch(self, name: str, show: Show, is_there: Callable[[], bool]) -> None:
        """Call `show` with each look while `is_there` holds (the page's connection may be lost for a while)."""
        self._viewers[name] = _Viewer(show, is_there)
        self._somebody.set()

    def leave(self, name: str) -> None:
        """The page is gone."""
        self._viewers.pop(name, None)
        if not self._viewers:
            self._somebody.clear()

    async def now(self) -> Look:
        """A look for a page that is being built: the last one if it is fresh."""
        look = self._look
        if look is not None and self.source.context.clock.now() - look.at < EVERY:
            return look
        return await self.refresh()

    async def refresh(self) -> Look:
        """Look again."""
        context = self.source.context
        snapshot, now = context.snapshot(), context.clock.now()
        before = self._look
        self._number += 1
        if before is None or self._number % TABLES_EVERY == 0:
            tables, error = await self._tables()
        else:
            tables, error = before.tables, before.tables_error
        same = before is not None and before.snapshot is snapshot
        self._look = Look(
            at=now,
            snapshot=snapshot,
            status=status_document(snapshot, now=now, version=__version__),
            plan=before.plan if same and before is not None else plan_document(snapshot),
            rows=before.rows
            if same and before is not None
            else {row["id"]: row for row in node_rows(snapshot)},
            tables=tables,
            tables_error=error,
            number=self._number,
        )
        return self._look

    async def read_tables(self) -> None:
        """Read HAProxy's tables at the next look: somebody has just changed them."""
        tables, error = await self._tables()
        if self._look is not None:
            fields = {name: getattr(self._look, name) for name in self._look.__slots__}
            self._look = Look(**{**fields, "tables": tables, "tables_error": error})

    async def run(self) -> None:
        """Look and show, for ever."""
        while True:
            await self._somebody.wait()
            await asyncio.sleep(EVERY)
            try:
                await self.show_all()
            except NodegateError as error:
                log.warning("the dashboard cannot look: %s", error)
            except Exception:  # of one look: pages must not stand still for ever
                log.exception("the dashboard cannot look by a fault of nodegate's own")

    async def show_all(self) -> None:
        """One look, for every page that is there. A page that fails is said and left alone."""
        look = await self.refresh()
        for name, viewer in list(self._viewers.items()):
            if not viewer.is_there():
                continue
            try:
                viewer.show(look)
            except Exception:
                log.exception("a page of the dashboard failed by a fault of nodegate's own")
                self.leave(name)
            await asyncio.sleep(0)  # twenty pages in one go would hold up probes

    async def _tables(self) -> tuple[Tables | None, str]:
        try:
            return await self.source.context.firewall.tables(), ""
        except NodegateError as error:
            return None, str(error)
