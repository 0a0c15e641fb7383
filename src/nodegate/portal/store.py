"""The portal's memory: one SQLite file, used by one thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nodegate.errors import Unavailable
from nodegate.systemfile.sqlite import Form, SqliteFile

T = TypeVar("T")

_TABLES = """
    CREATE TABLE registrations (
        id TEXT PRIMARY KEY, email TEXT NOT NULL, mailbox TEXT NOT NULL, url TEXT NOT NULL, address TEXT NOT NULL,
        counted_as TEXT NOT NULL, kind TEXT NOT NULL, pool TEXT NOT NULL, state TEXT NOT NULL,
        created_at REAL NOT NULL, reason TEXT NOT NULL, node_id TEXT, confirmed_at REAL, joined_at REAL, ended_at REAL,
        paused INTEGER NOT NULL,
        proven REAL NOT NULL, weight INTEGER, out_since REAL, told_at REAL
    );
    CREATE INDEX by_mailbox ON registrations (mailbox);
    CREATE INDEX by_state ON registrations (state);
    CREATE TABLE mails (
        id INTEGER PRIMARY KEY, letter TEXT NOT NULL, recipient TEXT NOT NULL, registration TEXT NOT NULL,
        created_at REAL NOT NULL, detail TEXT NOT NULL, tries INTEGER NOT NULL, next_at REAL NOT NULL,
        error TEXT NOT NULL, given_up INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE bans (subject TEXT PRIMARY KEY, reason TEXT NOT NULL, at REAL NOT NULL);
    CREATE TABLE used (nonce TEXT PRIMARY KEY, expires REAL NOT NULL);
    CREATE TABLE hits (subject TEXT NOT NULL, at REAL NOT NULL);
    CREATE INDEX by_subject ON hits (subject, at);
"""
# FULL: a link that was used, or a ban, must outlive a power cut. "nodp": not the registry's file.
_FORM = Form(
    name="the portal's store", application=0x6E6F6470, schema=1, tables=_TABLES, synchronous="FULL", busy=5.0
)  # fmt: skip


class _PortalFile(SqliteFile):
    def _connect(self) -> sqlite3.Connection:
        db = super()._connect()
        db.row_factory = sqlite3.Row
        return db

    def _words(self, error: Exception) -> str:
        return (
            f"the portal's store {self._path} cannot be used: {error}; check the disk, owner and mode. If it is "
            "damaged, put a backup in its place, or move it away: nodes keep serving, their owners register anew"
        )


class Store:
    """The file at `path`, made at the first use, mode 0600. All methods raise Unavailable, in words."""

    def __init__(self, path: Path) -> None:
        self._file = _PortalFile(path, _FORM)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="portal")

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in one transaction; what it raises rolls back and goes on."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, self._file.transact, work)
        except RuntimeError as error:  # the executor is shut down
            raise Unavailable("the portal's store is closed: nodegate is stopping") from error

    async def close(self) -> None:
        """Close the file. May be called again."""
        with suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._worker, self._file.close)
        self._worker.shutdown(wait=False)
