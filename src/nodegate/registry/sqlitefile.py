"""The embedded registry's file: made once and whole, opened with care, its failures told in words.

Everything here runs on one thread. The rules, all of them so that a broken file is never an empty one:

- The file is made only if there is none at the first use, and in one step: a file that is there has all
  its tables. An empty file, or none where there was one, is damage.
- Every commit is moved into the file at once. So the one file is always whole, a copy of it is a backup,
  and damage from outside is seen at the next use instead of being hidden by a cache.
- A file that something else has changed, replaced or removed is opened and checked anew. So a healed one
  works again without a restart.
- Nothing is ever deleted or made again by itself.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

from nodegate.errors import Unavailable
from nodegate.systemfile.sqlite import Form, NewerSchema, SqliteFile, code_of, connected, lay_out

SCHEMA = 1

_TABLES = """
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        latest INTEGER NOT NULL CHECK (typeof(latest) = 'integer')
    );
    INSERT INTO state VALUES (1, 0);
    CREATE TABLE nodes (
        id TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL CHECK (typeof(version) = 'integer'),
        record TEXT NOT NULL
    ) WITHOUT ROWID;
"""
# "nodg". FULL: an intent that was confirmed ("drained") must outlive a power cut. A write of ours holds the lock for
# milliseconds.
_FORM = Form(
    name="registry", application=0x6E6F6467, schema=SCHEMA, tables=_TABLES, synchronous="FULL", busy=2.0
)  # fmt: skip

_Mark = tuple[int, int, int, int]


class DatabaseFile(SqliteFile):
    """The SQLite file at `path`. All methods raise Unavailable, with what to do, when it cannot be used."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _FORM)
        self._mark: _Mark | None = None  # the file as we left it
        self._commits = 0  # what SQLite counts up when another connection commits
        self._seen = False

    def _ready(self) -> sqlite3.Connection:
        mark = self._look()
        as_left = mark is not None and mark == self._mark
        if self._db is not None and as_left and _commits(self._db) == self._commits:
            return self._db
        self.close()
        if mark is None:
            if self._seen:
                raise Unavailable(
                    f"registry {self._path} is gone; put it back, or restart nodegate to begin with an empty one"
                )
            self._create()
        self._db = self._connect()
        self._commits = _commits(self._db)
        self._seen = True
        self._mark = self._look()
        return self._db

    def _look(self) -> _Mark | None:
        """What changes when another writes, replaces or removes the file. (It must not be opened for that:
        closing it again would drop the locks that SQLite holds on it in this process.)"""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _create(self) -> None:
        """Make the file, mode 0600, in one step; if another process was quicker, its file is the one."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=f".{self._path.name}-") as directory:
            draft = Path(directory) / "draft"
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(draft, isolation_level=None)
            try:
                lay_out(db, self._form)
            finally:
                db.close()
            with suppress(FileExistsError):
                os.link(draft, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # or a power cut may take the name of the file away again
        finally:
            os.close(folder)

    def _connect(self) -> sqlite3.Connection:
        """A connection to a file that is whole and ours. `mode=rw`: SQLite must not make one."""
        if not self._path.stat().st_size:
            raise sqlite3.DatabaseError("it is an empty file")
        db = connected(f"{self._path.as_uri()}?mode=rw", self._form, uri=True, make=False)
        try:
            db.execute("SELECT latest FROM state, nodes LIMIT 0")
        except BaseException:
            db.close()
            raise
        return db

    def _committed(self, db: sqlite3.Connection) -> None:
        """Move what was committed into the file. It is safe in the log already: a reader in another process
        that is in the way, or a full disk, only puts this off."""
        with suppress(sqlite3.Error):
            db.execute("PRAGMA busy_timeout = 0")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.execute(f"PRAGMA busy_timeout = {int(self._form.busy * 1000)}")
        self._mark = self._look()

    def _words(self, error: Exception) -> str:
        path = self._path
        if isinstance(error, OSError):
            return f"registry {path}: {error.strerror}; check its directory"
        if isinstance(error, UnicodeDecodeError):  # SQLite quotes a damaged schema, and Python expects text
            return _damaged(path, "its schema is not text")
        if isinstance(error, NewerSchema):
            return (
                f"registry {path} was written by a newer nodegate ({error}); run that version, or point --state to "
                "another directory"
            )
        if advice := _ADVICE.get(code_of(error)):
            return f"registry {path} {advice.replace('FILE', str(path))} ({error})"
        return _damaged(path, str(error))


def _commits(db: sqlite3.Connection) -> int:
    """Changes whenever another connection, of this process or another, has committed."""
    version: int = db.execute("PRAGMA data_version").fetchone()[0]
    return version


def _damaged(path: Path, found: str) -> str:
    what = " ".join(found.removeprefix("*** in database main ***").split())
    return (
        f"registry {path} is damaged ({what}); nodegate leaves it as it is. Put a backup in its place, or "
        f"rescue it with `sqlite3 {path} .recover`; to begin with an empty one, move it away and restart"
    )


_ADVICE = {
    sqlite3.SQLITE_BUSY: "is locked by another program (`fuser FILE` names it); all goes on once it lets go",
    sqlite3.SQLITE_LOCKED: "is locked by another program (`fuser FILE` names it); all goes on once it lets go",
    sqlite3.SQLITE_READONLY: "cannot be written; check owner and mode of the file and its directory, and the mount",
    sqlite3.SQLITE_PERM: "cannot be opened; check owner and mode of the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check owner and mode of the file and its directory, and the mount",
    sqlite3.SQLITE_FULL: "cannot be written, the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written; check the disk, its free space and quota",
}
