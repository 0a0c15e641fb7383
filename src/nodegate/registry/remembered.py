"""What Consul said last, kept in the state directory: nodegate starts from it while Consul is away."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nodegate.catalog import Check, Instance
from nodegate.consul.kv import Entry
from nodegate.errors import Unavailable
from nodegate.model import Instant
from nodegate.ports import Clock
from nodegate.systemfile.private import write_private

log = logging.getLogger("nodegate.registry")

FORMAT = 1
CONFIRM_EVERY = 10.0
"""Seconds between two notes that the kept inventory is still true; each is one call to the file system."""
KEEPING = 0.05
"""Share of the time that writing may take: 5,000 services are 2 MB, at each change of one check."""
LATER = 0.5
"""Seconds after a change until it is written: first it has to be applied, and others often follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Everything that an inventory is made of. `store` tells one Consul's data from another's, `index` is the
    inventory's."""

    store: str
    index: int
    read_at: Instant
    entries: Mapping[str, Entry]
    instances: tuple[Instance, ...]


class Keeper:
    """Keeps the file at `path` (None: nothing is kept) as current as costs little. A disk that does not take it is
    said in the log; it does not stop anything."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._make: Callable[[], Memory] | None = None  # what is not written yet
        self._confirm: Instant | None = None  # when it was read again, if that is not noted yet
        self._work: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._known = False
        self._confirmed = Instant(0.0)
        self._not_before = 0.0
        self._complaint = ""

    def recall(self) -> Memory | None:
        """What the file holds, None when there is nothing of use."""
        memory = read_memory(self._path) if self._path is not None else None
        self._known = memory is not None
        return memory

    def keep(self, make: Callable[[], Memory], *, same: bool) -> None:
        """Keep what `make` returns, soon; `same`: it is what was kept before. Whoever waits for a change does not
        wait for the disk."""
        now = self._clock.now()
        if self._make is not None or not same or not self._known:
            self._make = make
        elif now - self._confirmed >= CONFIRM_EVERY:
            self._confirm = now
        else:
            return
        if self._path is not None and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self._keep_up(self._path), name="the kept inventory")

    async def finish(self) -> None:
        """Write what is not written yet."""
        if self._work is not None:
            self._hurry.set()
            await self._work
            self._hurry.clear()

    async def _keep_up(self, path: Path) -> None:
        """Until everything is written, or the disk does not take it: then the next read tries again."""
        while True:
            if self._make is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(LATER, self._not_before - self._clock.now())):
                        await self._hurry.wait()
                await self._write(path, self._make)
                if not self._known:
                    return
            elif self._confirm is not None:
                self._confirmed, self._confirm = self._confirm, None
                await asyncio.to_thread(confirm_memory, path, self._confirmed)
            else:
                return

    async def _write(self, path: Path, make: Callable[[], Memory]) -> None:
        began = self._clock.now()
        self._make, self._known, self._confirmed = None, True, began
        try:
            await asyncio.to_thread(write_memory, path, make())
        except Unavailable as error:
            if str(error) != self._complaint:
                log.error("%s", error)
            self._complaint, self._known = str(error), False
        else:
            self._complaint = ""
        now = self._clock.now()
        self._not_before = now + (now - began) / KEEPING


def write_memory(path: Path, memory: Memory) -> None:
    """Replace the file in one step, readable by the owner alone. Raises Unavailable when the disk does not let us."""
    document = {
        "format": FORMAT,
        "store": memory.store,
        "index": memory.index,
        "read_at": memory.read_at,
        "entries": [
            {"key": one.key, "value": base64.b64encode(one.value).decode(), "version": one.version}
            for one in memory.entries.values()
        ],
        "instances": [_document(one) for one in memory.instances],
    }
    try:
        write_private(path, json.dumps(document, separators=(",", ":")))  # three times as fast as `dump`
    except Unavailable as error:
        raise Unavailable(f"the inventory cannot be kept: {error}") from error


def _document(instance: Instance) -> dict[str, Any]:
    """As `dataclasses.asdict`, at a twentieth of its cost."""
    document: dict[str, Any] = {name: getattr(instance, name) for name in _INSTANCE}
    for name in ("checks", "node_checks"):
        document[name] = [{key: getattr(check, key) for key in _CHECK} for check in document[name]]
    return document


_INSTANCE = tuple(field.name for field in fields(Instance))
_CHECK = tuple(field.name for field in fields(Check))


def confirm_memory(path: Path, read_at: Instant) -> None:
    """Note that the file's content was read again at `read_at`: the file's own time says so."""
    with suppress(OSError):
        os.utime(path, (read_at, read_at))


def read_memory(path: Path) -> Memory | None:
    """What the file holds, None (said in the log) when there is none or it cannot be understood."""
    try:
        document = json.loads(path.read_bytes())
        confirmed = path.stat().st_mtime
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used and is left aside: %s", path, error)
        return None
    try:
        return _memory(document, confirmed)
    except (KeyError, TypeError, ValueError) as error:
        log.warning("%s is not what nodegate wrote and is left aside: %r", path, error)
        return None


def _memory(document: Any, confirmed: float) -> Memory:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']!r}")
    entries = (
        Entry(
            key=one["key"], value=base64.b64decode(one["value"], validate=True), version=int(one["version"])
        )
        for one in document["entries"]
    )
    return Memory(
        store=str(document["store"]),
        index=int(document["index"]),
        read_at=Instant(max(float(document["read_at"]), confirmed)),
        entries={entry.key: entry for entry in entries},
        instances=tuple(_instance(one) for one in document["instances"]),
    )


def _instance(document: Mapping[str, Any]) -> Instance:
    checks = {name: tuple(Check(**check) for check in document[name]) for name in ("checks", "node_checks")}
    return Instance(**{**document, **checks, "tags": tuple(document["tags"])})
