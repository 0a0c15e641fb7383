from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nodegate import systemfile
from nodegate.errors import Conflict, NotFound, Unavailable
from nodegate.host.neighbours import store

NOW = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "iri"
    path.write_bytes(b"X=1\n\xff\n")
    path.chmod(0o640)
    return path


def test_a_change_keeps_mode_and_foreign_bytes_and_leaves_a_backup(file: Path) -> None:
    pending = store.prepare(file, lambda text: text.replace("X=1", "X=2"))
    assert file.read_bytes() == b"X=1\n\xff\n"
    backup = store.commit(pending, NOW)
    assert file.read_bytes() == b"X=2\n\xff\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert backup is not None
    assert backup.read_bytes() == b"X=1\n\xff\n"
    assert backup.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in file.parent.iterdir()) == sorted([file.name, backup.name])


def test_no_change_writes_nothing(file: Path) -> None:
    before = file.stat().st_mtime_ns
    assert store.commit(store.prepare(file, lambda text: text)) is None
    assert file.stat().st_mtime_ns == before
    assert list(file.parent.iterdir()) == [file]


def test_a_link_is_followed(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    store.commit(store.prepare(link, lambda text: text + "Y=1\n"))
    assert link.is_symlink()
    assert file.read_bytes().endswith(b"Y=1\n")


def test_what_somebody_else_wrote_meanwhile_is_not_lost(file: Path) -> None:
    pending = store.prepare(file, lambda text: text + "Y=1\n")
    file.write_text("theirs\n")
    with pytest.raises(Conflict, match="somebody else"):
        store.commit(pending)
    assert file.read_text() == "theirs\n"


def test_only_the_newest_backups_are_kept(file: Path) -> None:
    for count in range(store.BACKUPS + 3):
        pending = store.prepare(file, lambda text, count=count: f"X={count + 10}\n")  # type: ignore[misc]
        store.commit(pending, NOW + timedelta(seconds=count))
    kept = sorted(file.parent.glob("iri.nodegate-*.bak"))
    assert len(kept) == store.BACKUPS
    assert kept[-1].read_text() == f"X={store.BACKUPS + 11}\n"


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        systemfile.read(tmp_path / "none")
    with pytest.raises(Unavailable, match="cannot be read"):
        systemfile.read(tmp_path)


def test_a_failed_write_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device; it is as before"):
        store.commit(store.prepare(file, lambda text: text + "Y=1\n"))
    assert file.read_bytes() == b"X=1\n\xff\n"
    assert not list(file.parent.glob(".iri.*"))
