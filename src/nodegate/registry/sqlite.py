"""The embedded registry: SQLite in one file, for one machine, with nothing to install."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nodegate.errors import Conflict, Malformed, NotFound, Unavailable
from nodegate.model import Inventory, Node
from nodegate.ports import Clock
from nodegate.registry.records import read_record, write_record
from nodegate.registry.sqlitefile import DatabaseFile

T = TypeVar("T")

POLL = 0.2
"""Seconds between two looks for writes of other processes; one row is read, that costs microseconds."""


class SqliteRegistry:
    """`ports.Registry` in the file at `path`, which is made at the first use.

    Several processes may share the file. All calls run on one thread of its own, off the event loop.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._file = DatabaseFile(self._path)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="registry")
        self._written = asyncio.Event()  # replaced, not cleared, so that every waiter of the old one wakes
        self._understood: dict[str, tuple[bytes, Node]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<SqliteRegistry {self._path}{' closed' if self._closed else ''}>"

    async def read(self) -> Inventory:
        """All nodes now; records that cannot be understood are in `faults`."""
        read_at = self._clock.now()
        index, nodes, faults = await self._run(lambda: self._file.transact(self._read, write=False))
        return Inventory(nodes=nodes, index=index, read_at=read_at, faults=faults)

    async def changed(self, after: int) -> int:
        """Wait until the index differs from `after`: at once for a write through this object, within
        `POLL` for one of another process."""
        while True:
            written = self._written
            index = await self._run(lambda: self._file.transact(_index, write=False))
            if index != after:
                return index
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await written.wait()

    async def put(self, node: Node) -> Node:
        """Create or replace by compare-and-set on `node.version`."""

        def work(db: sqlite3.Connection) -> int:
            _compare(db, node.id, node.version)
            version = _next_index(db)
            db.execute(
                "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", (node.id, version, write_record(node))
            )
            return version

        return replace(node, version=await self._write(work))

    async def delete(self, node_id: str, version: int) -> None:
        """Delete by compare-and-set on `version`."""

        def work(db: sqlite3.Connection) -> None:
            if _version(db, node_id) is None:
                raise NotFound(f"there is no node {node_id!r} in the registry")
            _compare(db, node_id, version)
            _next_index(db)
            db.execute("DELETE FROM nodes WHERE id = ?", (node_id,))

        await self._write(work)

    async def close(self) -> None:
        """Close the file; later calls raise Unavailable. May be called again."""
        if self._closed:
            return
        closing = self._worker.submit(self._file.close)
        self._closed = True
        self._worker.shutdown(wait=False)
        await asyncio.wrap_future(closing)
        self._announce()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._run(lambda: self._file.transact(work))
        finally:
            self._announce()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable(f"registry {self._path} is closed: nodegate is stopping")
        return await asyncio.wrap_future(self._worker.submit(work))

    def _announce(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    def _read(self, db: sqlite3.Connection) -> tuple[int, tuple[Node, ...], tuple[str, ...]]:
        nodes: list[Node] = []
        faults: list[str] = []
        rows = db.execute("SELECT CAST(id AS BLOB), version, CAST(record AS BLOB) FROM nodes ORDER BY id")
        understood: dict[str, tuple[bytes, Node]] = {}
        for raw_id, version, record in rows:
            node_id = raw_id.decode("utf-8", "backslashreplace")
            known = self._understood.get(node_id)
            try:
                if known is not None and known[0] == record and known[1].version == version:
                    node = known[1]
                else:
                    node = read_record(record, node_id=node_id, version=version)
            except Malformed as error:
                faults.append(str(error))
            else:
                nodes.append(node)
                understood[node_id] = (record, node)
        self._understood = understood
        return _index(db), tuple(nodes), tuple(faults)


def _index(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT latest FROM state").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the table `state` is empty")
    index: int = row[0]
    return index


def _next_index(db: sqlite3.Connection) -> int:
    db.execute("UPDATE state SET latest = latest + 1")
    return _index(db)


def _version(db: sqlite3.Connection, node_id: str) -> int | None:
    row = db.execute("SELECT version FROM nodes WHERE id = ?", (node_id,)).fetchone()
    return None if row is None else row[0]


def _compare(db: sqlite3.Connection, node_id: str, expected: int) -> None:
    """Raise Conflict unless the stored version is the expected one; none is 0."""
    found = _version(db, node_id)
    if (found or 0) == expected:
        return
    if found is None:
        raise Conflict(f"node {node_id!r} was deleted meanwhile (it had version {expected})")
    if expected == 0:
        raise Conflict(f"there is a node {node_id!r} already (version {found})")
    raise Conflict(f"node {node_id!r} was changed meanwhile (version {found}, not {expected}); read it again")
