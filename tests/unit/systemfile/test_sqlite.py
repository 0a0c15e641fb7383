"""What all SQLite files of nodegate have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodegate.errors import Unavailable
from nodegate.systemfile.sqlite import Form, NewerSchema, SqliteFile, connected

FORM = Form(
    name="notes", application=0x74657374, schema=2, tables="CREATE TABLE notes (text TEXT);", busy=0.05
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(tmp_path / "notes.db", FORM)
    yield file
    file.close()


def note(file: SqliteFile, text: str) -> None:
    file.transact(lambda db: db.execute("INSERT INTO notes VALUES (?)", (text,)))


def notes(file: SqliteFile) -> list[str]:
    rows = file.transact(lambda db: db.execute("SELECT text FROM notes").fetchall(), write=False)
    return [row[0] for row in rows]


def test_it_is_made_for_its_owner_alone_and_kept(file: SqliteFile, tmp_path: Path) -> None:
    note(file, "a")
    file.close()
    assert notes(file) == ["a"]
    assert (tmp_path / "notes.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "notes.db") as db:
        assert db.execute("PRAGMA application_id").fetchone() == (FORM.application,)
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()


def test_what_fails_in_the_middle_leaves_nothing_and_goes_on_as_it_was(file: SqliteFile) -> None:
    def fail(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO notes VALUES ('half')")
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        file.transact(fail)
    assert notes(file) == []


def test_another_program_that_holds_the_file_is_waited_for_and_then_told(
    file: SqliteFile, tmp_path: Path
) -> None:
    note(file, "a")
    other = sqlite3.connect(tmp_path / "notes.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"notes .*notes\.db: database is locked"):
        note(file, "b")
    assert notes(file) == ["a"]  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    note(file, "b")
    assert notes(file) == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("PRAGMA application_id = 1; CREATE TABLE x (y);", "a database of something else"),
        ("CREATE TABLE x (y);", "a database of something else"),
        ("PRAGMA application_id = 1;", "a database of something else"),
        ("PRAGMA application_id = 0x74657374; PRAGMA user_version = 1;", "schema 1 never was"),
        ("PRAGMA application_id = 0x74657374; PRAGMA user_version = 3;", "schema 3, this one knows 2"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    file: SqliteFile, tmp_path: Path, script: str, said: str
) -> None:
    strange = sqlite3.connect(tmp_path / "notes.db")
    strange.executescript(script)
    strange.close()
    before = (tmp_path / "notes.db").read_bytes()
    with pytest.raises(Unavailable, match=said):
        notes(file)
    assert (tmp_path / "notes.db").read_bytes() == before


def test_an_empty_file_is_filled_only_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(sqlite3.DatabaseError, match="something else"):
        connected(str(tmp_path / "empty.db"), FORM, make=False)
    connected(str(tmp_path / "empty.db"), FORM).close()
    connected(str(tmp_path / "empty.db"), FORM, make=False).close()


def test_a_newer_file_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    connected(
        str(tmp_path / "new.db"), Form(name="n", application=1, schema=9, tables="CREATE TABLE t (x);")
    ).close()
    with pytest.raises(NewerSchema):
        connected(
            str(tmp_path / "new.db"), Form(name="n", application=1, schema=8, tables="CREATE TABLE t (x);")
        )


def test_a_damaged_file_is_told_and_works_again_once_it_is_whole(file: SqliteFile, tmp_path: Path) -> None:
    note(file, "a")
    file.close()
    whole = (tmp_path / "notes.db").read_bytes()
    (tmp_path / "notes.db").write_bytes(whole[:100] + b"x" * (len(whole) - 100))
    with pytest.raises(Unavailable, match="notes"):
        notes(file)
    (tmp_path / "notes.db").write_bytes(whole)
    assert notes(file) == ["a"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory; check its directory"):
        notes(SqliteFile(tmp_path / "nowhere" / "notes.db", FORM))
