"""The state directory: whose it is, and what is said when it cannot be used."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from nodegate.daemon.state import StateDir
from nodegate.errors import Conflict, Refused, Unavailable


def test_who_holds_a_directory_is_known_while_it_is_held(tmp_path: Path) -> None:
    directory = StateDir(tmp_path)
    assert directory.owner() is None
    with directory.locked():
        assert StateDir(tmp_path).owner() == os.getpid()
    assert directory.owner() is None


def test_a_held_directory_is_refused_with_the_process_that_holds_it(tmp_path: Path) -> None:
    with (
        StateDir(tmp_path).locked(),
        pytest.raises(Conflict, match=rf"process {os.getpid()}\) already runs on"),
        StateDir(tmp_path).locked(),
    ):
        pass


def test_a_lock_that_is_no_file_is_told_by_all_who_need_it(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    directory = StateDir(tmp_path)
    with pytest.raises(Unavailable, match=r"lock: Is a directory; .*--state"), directory.locked():
        pass
    with pytest.raises(Unavailable, match="lock: Is a directory"):
        directory.owner()


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="Not a directory"):
        StateDir(tmp_path / "file").owner()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user than the directory's")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as place:  # tmp_path lies below directories that are root's alone
        os.chmod(place, 0o755)
        StateDir(Path(place) / "s").prepare()
        with StateDir(Path(place) / "s").locked(), ExitStack() as stack:
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
            with pytest.raises(Refused, match="belongs to another user"):
                StateDir(Path(place) / "s").owner()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk without room for another byte."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        StateDir(disk / "s").prepare()
        with (disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1024)):
                pass
        yield disk / "s"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_told(full_disk: Path) -> None:
    with (
        pytest.raises(Unavailable, match=r"lock: No space left on device; .*--state"),
        StateDir(full_disk).locked(),
    ):
        pass
    assert StateDir(full_disk).owner() is None
