"""The program that appends HAProxy's lines to the access log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nodegate.dataplane import logwriter

LINE = b'{"id":"a"}\n'


def written(log: Path, *chunks: bytes) -> bytes:
    """What stands in the log after these chunks went through the program."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", logwriter.__file__], stdin=subprocess.PIPE, stdout=file
        )
    assert process.stdin is not None
    for chunk in chunks:
        process.stdin.write(chunk)
        process.stdin.flush()
    process.stdin.close()
    assert process.wait(30) == 0
    return log.read_bytes()


def test_lines_are_appended_and_notices_left_out(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"{}\n")
    assert written(log, LINE + b"Proxy clients started.\n" + LINE) == b"{}\n" + LINE * 2


def test_a_line_in_two_pieces_is_written_as_one(tmp_path: Path) -> None:
    assert written(tmp_path / "access.log", LINE[:4], LINE[4:] + LINE[:2], LINE[2:]) == LINE * 2


def test_a_line_without_an_end_is_not_written(tmp_path: Path) -> None:
    assert written(tmp_path / "access.log", LINE + b'{"id":"b') == LINE


def test_it_goes_on_in_a_file_that_was_emptied(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        logwriter.append(descriptor, LINE)
        os.truncate(log, 0)
        logwriter.append(descriptor, LINE)
    finally:
        os.close(descriptor)
    assert log.read_bytes() == LINE


def test_a_full_disk_loses_lines_and_does_not_end_it() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        logwriter.append(full, LINE)
    finally:
        os.close(full)
