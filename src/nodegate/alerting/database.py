"""The file behind events and alerts: one SQLite database, opened with care, its failures told in words.

It is a log, not the truth: a file that is damaged, or that a newer nodegate wrote, is put aside (never deleted) and a new
one is begun, so that the gateway runs on. Everything here runs on one thread.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from nodegate.systemfile.sqlite import Form, SqliteFile

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
# NORMAL: a power cut may take the last events, it cannot damage the file.
_FORM = Form(
    name="event log", application=0x6E6F6465, schema=1, tables=_TABLES, synchronous="NORMAL"
)  # fmt: skip


class EventFile(SqliteFile):
    """The database at `path`. All methods raise Unavailable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _FORM)
        self.put_aside: str | None = None
        """What was wrong with a file that had to be put aside, and where it is now."""

    def _connect(self) -> sqlite3.Connection:
        try:
            return super()._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not permitted: no damage
                raise
            self._set_aside(str(error))
            return super()._connect()

    def _set_aside(self, why: str) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        self._path.replace(aside)
        for ending in ("-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        self.put_aside = f"the event log could not be read ({why}); it is {aside} now, and a new one is begun"
