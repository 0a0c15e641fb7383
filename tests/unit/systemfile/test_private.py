"""nodegate's own files: private, replaced as a whole, and never half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodegate.errors import Unavailable
from nodegate.systemfile.private import read_private, write_private


def test_a_file_is_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert read_private(file) is None
    write_private(file, "one\n")
    with file.open() as reader:
        write_private(file, "zwei é\n")
        assert reader.read() == "one\n"  # who reads has the whole old one
    assert read_private(file) == "zwei é\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["token"]


def test_a_file_that_others_could_read_is_private_after_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_fails_is_unavailable_and_leaves_the_old_file_alone(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        write_private(tmp_path / "nowhere" / "token", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        write_private(tmp_path / "folder", "text")
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(Unavailable, match="cannot be read"):
        read_private(tmp_path / "folder")


def test_bytes_that_are_no_text_are_a_fault_unless_they_may_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"a\xffb")
    with pytest.raises(Unavailable, match="cannot be read"):
        read_private(file)
    assert read_private(file, errors="replace") == "a\ufffdb"
