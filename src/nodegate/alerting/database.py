"""The file behind events and alerts: one SQLite database, opened with care, its failures told in words.

It is a log, not the truth: a file that is damaged, or that a newer nodegate wrote, is put aside (never deleted) and a new
one is begun, so that the gateway runs on. Everything here runs on one thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nodegate.errors import Unavailable

T = TypeVar("T")

SCHEMA = 1
APPLICATION = 0x6E6F6465
"""In the file's header: tells `file` and us whose it is."""
BUSY = 2.0

_TABLES = """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, subject TEXT NOT NULL,
        text TEXT NOT NULL, data TEXT NOT NULL
    );
    CREATE INDEX events_by_subject ON events (subject, id);
    CREATE INDEX events_by_kind ON events (kind, id);
    CREATE TABLE said (
        topic TEXT NOT NULL, subject TEXT NOT NULL, word TEXT NOT NULL, PRIMARY KEY (topic, subject)
    ) WITHOUT ROWID;
    CREATE TABLE alerts (
        rule TEXT NOT NULL, subject TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (rule, subject)
    ) WITHOUT ROWID;
    CREATE TABLE silences (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule TEXT NOT NULL, subject TEXT NOT NULL, until REAL NOT NULL, reason TEXT NOT NULL
    );
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        channel TEXT NOT NULL, made_at REAL NOT NULL, payload TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL, error TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX outbox_by_channel ON outbox (channel, id);
"""


class EventFile:
    """The database at `path`, made at the first use (mode 0600). All methods raise Unavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self.put_aside: str | None = None
        """What was wrong with a file that had to be put aside, and where it is now."""

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` in one transaction; what it raises rolls back and goes on."""
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
        except sqlite3.Error as error:
            self.close()
            raise Unavailable(
                f"event log {self._path}: {error}; check the disk, its free space and the file's owner"
            ) from error
        except OSError as error:
            self.close()
            raise Unavailable(f"event log {self._path}: {error.strerror}; check its directory") from error
        return result

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens the file again."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _open(self) -> sqlite3.Connection:
        try:
            self._db = self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not permitted: no damage
                raise
            self._set_aside(str(error))
            self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(handle)
        db = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY, check_same_thread=False)
        try:
            fresh = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not fresh:
                _check(db)
            db.execute("PRAGMA journal_mode = WAL")
            # NORMAL: a power cut may take the last events, it cannot damage the file.
            db.execute("PRAGMA synchronous = NORMAL")
            if fresh:
                db.executescript(
                    f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; {_TABLES} COMMIT;"
                )
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        self._path.replace(aside)
        for ending in ("-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        self.put_aside = f"the event log could not be read ({why}); it is {aside} now, and a new one is begun"


def _check(db: sqlite3.Connection) -> None:
    """Raises DatabaseError for a file that is not ours or not whole."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    schema = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise sqlite3.DatabaseError("it is a database of something else")
    if schema != SCHEMA:
        raise sqlite3.DatabaseError(f"it has schema {schema}, this nodegate knows {SCHEMA}")
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
