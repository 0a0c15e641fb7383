"""The loop: ask the node, keep the tracks, remove who is dead if that is wanted, tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nodegate.errors import Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.host.neighbours import store, tracks
from nodegate.host.neighbours.exporter import Look
from nodegate.host.neighbours.files import Edit, edited
from nodegate.host.neighbours.nodes import Node
from nodegate.host.neighbours.tracks import GRACE, KEEP, Row, State, Tracks
from nodegate.host.neighbours.values import Reading
from nodegate.model import Instant, Seconds

INTERVAL = Seconds(10.0)
"""As often as IOTA's peer manager asked."""
GAP = 3
"""Intervals without an answer that still count as seen: one lost answer is no gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """How to watch; times are in seconds. `file` also loses the neighbours that are removed."""

    interval: Seconds = INTERVAL
    grace: Seconds = GRACE
    remove_dead: bool = False
    keep: int = KEEP
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look told: rows now, who died or came back, who was removed, and `trouble` in words when the node
    did not answer or would not let a neighbour go (the rows are then the last known ones)."""

    rows: tuple[Row, ...]
    turned: tuple[Row, ...]
    removed: tuple[str, ...]
    trouble: str


class Watch:
    """Watches one node. `tell` is called after each look; `now` is a clock in seconds that does not step."""

    def __init__(
        self,
        node: Node,
        options: WatchOptions,
        *,
        now: Callable[[], Instant],
        tell: Callable[[Seen], None],
    ) -> None:
        self._node = node
        self._options = options
        self._now = now
        self._tell = tell
        self._tracks = Tracks()
        self._rows: tuple[Row, ...] = ()
        self._up = False
        self._removed = 0

    @property
    def rows(self) -> tuple[Row, ...]:
        """The neighbours as last known."""
        return self._rows

    def exported(self) -> Look:
        """The newest look for the exporter."""
        at = self._tracks.at
        age = None if at is None else max(0.0, self._now() - at)
        return Look(node=self._node.url, up=self._up, age=age, rows=self._rows, removed=self._removed)

    async def run(self, until: Instant | None = None) -> None:
        """Look until `until`, None: until cancelled. Raises Refused and NotFound of the very first look, for an
        operator mends these; later troubles are told, and the watch goes on."""
        first = True
        while True:
            began = self._now()
            await self.look(first=first)
            first = False
            if until is not None and self._now() >= until:
                return
            await asyncio.sleep(max(0.0, began + self._options.interval - self._now()))

    async def look(self, *, first: bool = False) -> None:
        """One look. Raises as `run`."""
        try:
            found = await self._node.neighbours()
        except (Unavailable, Malformed, Refused, NotFound) as error:
            self._up = False
            if first and isinstance(error, Refused | NotFound):
                raise
            self._tell(Seen(rows=self._rows, turned=(), removed=(), trouble=str(error)))
            return
        self._up = True
        reading = Reading(at=self._now(), neighbours=found)
        longest = Seconds(GAP * self._options.interval)
        self._tracks = tracks.observed(self._tracks, reading, longest=longest)
        after = tracks.rows(self._tracks, grace=self._options.grace)
        turned = tracks.turned(self._rows, after)
        self._rows = after
        removed, trouble = await self._remove() if self._options.remove_dead else ((), "")
        self._tell(Seen(rows=self._rows, turned=turned, removed=removed, trouble=trouble))

    async def _remove(self) -> tuple[tuple[str, ...], str]:
        """Remove who is dead, from the node and from the file; says who, and what went wrong."""
        doomed = tracks.removable(self._rows, grace=self._options.grace, keep=self._options.keep)
        uris = tuple(row.neighbour.uri for row in doomed)
        if not uris:
            return (), ""
        try:
            pending = self._pending(uris)
            await self._node.remove(uris)
        except NodegateError as error:
            return (), f"{', '.join(uris)} cannot be removed: {error}"
        self._removed += len(uris)
        self._tracks = tracks.without(self._tracks, uris)
        self._rows = tracks.rows(self._tracks, grace=self._options.grace)
        try:
            if pending is not None:
                await asyncio.to_thread(store.commit, pending)
        except NodegateError as error:
            return uris, f"removed from the node, but not from the file: {error}"
        return uris, ""

    def _pending(self, uris: Sequence[str]) -> store.Pending | None:
        file = self._options.file
        if file is None:
            return None
        edit = Edit(remove=tuple(uris))
        return store.prepare(file, lambda text: edited(str(file), text, edit))


def utc_now() -> str:
    """The time of day for documents, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def any_dead(rows: Sequence[Row]) -> bool:
    """Whether a neighbour is dead."""
    return any(row.state is State.DEAD for row in rows)
