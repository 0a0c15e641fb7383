"""What nodegate's SQLite files have in common: whose a file is, one transaction at a time, failures in words.

A file is made whole or not at all, and one that is not ours, or not whole, is never written to. All of it runs on
one thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from nodegate.errors import Unavailable

T = TypeVar("T")

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a file is. `application` in its header tells `file` and us whose it is; `tables` are SQL statements.

    `synchronous`: with FULL what was confirmed outlives a power cut; NORMAL may forget the last commits, but is as
    safe against damage. `busy` is how long to wait for another process's lock, in seconds.
    """

    name: str
    application: int
    schema: int
    tables: str
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    busy: float = 2.0


class NewerSchema(sqlite3.DatabaseError):
    """A newer nodegate wrote the file."""


class SqliteFile:
    """The database at `path`, of one `form`; made at the first use, mode 0600. A failure closes it: the next use
    opens it again. All methods raise Unavailable, in words."""

    def __init__(self, path: Path, form: Form) -> None:
        self._path = path
        self._form = form
        self._db: sqlite3.Connection | None = None

    def transact(self, work: Callable[[sqlite3.Connection], T], *, write: bool = True) -> T:
        """The result of `work` in one transaction; what it raises rolls back and goes on."""
        try:
            db = self._ready()
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
            if write:
                self._committed(db)
        except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
            if code_of(error) not in _BUSY:
                self.close()
            raise Unavailable(self._words(error)) from error
        return result

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    # What a kind of file may do in its own way

    def _ready(self) -> sqlite3.Connection:
        """The connection that is open, or a new one."""
        if self._db is None:
            self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        return connected(str(self._path), self._form)

    def _committed(self, db: sqlite3.Connection) -> None:
        """After each write."""

    def _words(self, error: Exception) -> str:
        """What happened to the file and what to do about it."""
        if isinstance(error, OSError):
            return f"{self._form.name} {self._path}: {error.strerror}; check its directory"
        return f"{self._form.name} {self._path}: {error}; check the disk, its free space and the file's owner"


def connected(place: str, form: Form, *, uri: bool = False, make: bool = True) -> sqlite3.Connection:
    """A connection to a file that is whole and of that form; with `make` an empty file gets its tables. Raises
    sqlite3.Error, and DatabaseError for a file that is not ours, or damaged."""
    db = sqlite3.connect(place, uri=uri, isolation_level=None, timeout=form.busy, check_same_thread=False)
    try:
        if make and _is_empty(db):
            lay_out(db, form)
        else:
            _require(db, form)
            db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {form.synchronous}")
    except BaseException:
        db.close()
        raise
    return db


def lay_out(db: sqlite3.Connection, form: Form) -> None:
    """Make the tables in an empty file, all or none."""
    db.execute("PRAGMA journal_mode = WAL")
    marks = f"PRAGMA application_id = {form.application}; PRAGMA user_version = {form.schema};"
    db.executescript(f"BEGIN; {marks} {form.tables} COMMIT;")


def code_of(error: Exception) -> int:
    """SQLite's primary result code, without the detail in the upper bits; 0 for all other errors."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _is_empty(db: sqlite3.Connection) -> bool:
    tables: int = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return not tables and _marks(db) == (0, 0)


def _marks(db: sqlite3.Connection) -> tuple[int, int]:
    """The file's application and schema; (0, 0) for a new one."""
    application: int = db.execute("PRAGMA application_id").fetchone()[0]
    schema: int = db.execute("PRAGMA user_version").fetchone()[0]
    return application, schema


def _require(db: sqlite3.Connection, form: Form) -> None:
    """Raises DatabaseError for a file that is not ours or not whole."""
    application, schema = _marks(db)
    if application != form.application:
        raise sqlite3.DatabaseError("it is a database of something else")
    if schema > form.schema:
        raise NewerSchema(f"schema {schema}, this one knows {form.schema}")
    if schema < form.schema:
        raise sqlite3.DatabaseError(f"schema {schema} never was")
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise sqlite3.DatabaseError(found)
