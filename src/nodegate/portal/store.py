"""The portal's memory: one SQLite file, used by one thread of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nodegate.errors import Unavailable

T = TypeVar("T")

SCHEMA = 1
APPLICATION = 0x6E6F6470  # "nodp": not the registry's file

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


class Store:
    """The file at `path`, made at the first use, mode 0600. All methods raise Unavailable, in words."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="portal")

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in one transaction; what it raises rolls back and goes on."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, self._transact, work)
        except RuntimeError as error:  # the executor is shut down
            raise Unavailable("the portal's store is closed: nodegate is stopping") from error

    async def close(self) -> None:
        """Close the file. May be called again."""
        with suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._worker, self._close)
        self._worker.shutdown(wait=False)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = self._db or self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise Unavailable(
                f"the portal's store {self._path} cannot be used: {error}; check the disk, owner and mode. If it is "
                "damaged, put a backup in its place, or move it away: nodes keep serving, their owners register anew"
            ) from error
        return result

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, timeout=5.0, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and application == 0 and not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(
                    f"BEGIN; {_TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"
                )
            elif application != APPLICATION or version != SCHEMA:
                raise sqlite3.DatabaseError(f"it is not a store of this version (schema {version})")
            elif (found := str(db.execute("PRAGMA quick_check(1)").fetchone()[0])) != "ok":
                raise sqlite3.DatabaseError(found)
            # A link that was used, or a ban, must outlive a power cut.
            db.execute("PRAGMA synchronous = FULL")
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db = None
