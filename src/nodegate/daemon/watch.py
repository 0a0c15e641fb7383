"""What charts, events and alerts need beside the passes: counters, the certificate, policies, other gateways."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nodegate.alerting.facts import Facts
from nodegate.alerting.service import Alerting
from nodegate.daemon.history import History
from nodegate.daemon.latency import LogTail
from nodegate.daemon.policies import Policies
from nodegate.dataplane.certificate import certificate_ends
from nodegate.dataplane.tables import Tables
from nodegate.errors import NodegateError
from nodegate.model import Instant, Snapshot
from nodegate.ports import Clock
from nodegate.views.cluster import GatewaysDocument

EVERY = 1.0
"""Seconds between two points of a chart."""
FACTS_EVERY = 5
"""Points between two looks at what changes rarely."""


class Refusals(Protocol):
    """What is needed of `nodegate.dataplane.firewall`."""

    async def refusals(self) -> Tables:
        """Rules and bans. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchParts:
    """What is watched, and who is told. `certificate` is the listener's file, None where there is none."""

    snapshot: Callable[[], Snapshot]
    history: History
    alerting: Alerting
    firewall: Refusals
    policies: Policies
    gateways: Callable[[], GatewaysDocument]
    clock: Clock
    access_log: Path
    certificate: Path | None


class Watch:
    """Runs beside the passes."""

    def __init__(self, parts: WatchParts) -> None:
        self._parts = parts
        self._tail = LogTail(parts.access_log)
        self._facts = Facts()

    async def run(self) -> None:
        """A point of every chart each second, and every few seconds the facts, for ever."""
        count = 0
        while True:
            await self.chart()
            if count % FACTS_EVERY == 0:
                await self.look()
            count += 1
            await asyncio.sleep(EVERY)

    async def chart(self) -> None:
        """The state of this moment for the charts."""
        parts = self._parts
        now = parts.clock.now()
        parts.history.take(parts.snapshot(), now)
        parts.history.latencies(await asyncio.to_thread(self._tail.sample), now)
        tables = await self._tables()
        if tables is None:
            return
        totals: Counter[str] = Counter()
        for rule in tables.rules:
            totals[rule.rule] += rule.refused
        parts.history.refused(totals, now)
        bans = {ban.client: ban.until for ban in tables.bans}
        automatic = frozenset(ban.client for ban in tables.bans if ban.automatic)
        if (bans, automatic) != (self._facts.bans, self._facts.automatic):
            self._facts = replace(self._facts, bans=bans, automatic=automatic)
            parts.alerting.knows(self._facts)

    async def look(self) -> None:
        """What changes rarely, for events and alerts."""
        policies = self._parts.policies
        self._facts = replace(
            self._facts,
            certificate_ends=await asyncio.to_thread(_ends, self._parts.certificate),
            policies={kind: policies.version(kind) for kind in policies.kinds()},
            policy_faults=tuple(policies.faults),
            peers=_peers(self._parts.gateways()),
        )
        self._parts.alerting.knows(self._facts)

    async def _tables(self) -> Tables | None:
        """None while HAProxy cannot be asked: then nothing is known of bans."""
        if self._parts.snapshot().running is None:
            return None
        try:
            return await self._parts.firewall.refusals()
        except NodegateError:
            return None


def _ends(path: Path | None) -> Instant | None:
    if path is None:
        return None
    try:
        return certificate_ends(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        return None  # whoever takes the file over says what is wrong with it


def _peers(document: GatewaysDocument) -> Mapping[str, bool] | None:
    if document.me is None:
        return None
    return {row.name: row.alive for row in document.gateways if not row.this}
