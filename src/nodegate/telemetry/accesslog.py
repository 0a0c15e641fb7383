"""Reading the access log: one request by its id, newest first, and all lines in order.

HAProxy appends to `access.log`; full ones are copied to `access.log.1` and so on, and cut. So files are read
with `pread`, never mapped: a mapped file that is cut under its reader kills the process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodegate.errors import Malformed, NotFound, Unavailable
from nodegate.views.access import AccessLine, parse_line

NAME = "access.log"
ROTATED = 9
"""Older files that are looked for at most."""
CHUNK = 1_048_576
"""Bytes read at once. 300 MB backwards take about a tenth of a second from the page cache."""
MAX_LINE = 262_144
"""Bytes of one line at most; what is longer was not written by the gateway."""


def log_files(directory: Path) -> tuple[Path, ...]:
    """The access log's files, newest first; only those that exist."""
    names = [NAME, *(f"{NAME}.{number}" for number in range(1, ROTATED + 1))]
    return tuple(path for path in (directory / name for name in names) if path.is_file())


def find_request(directory: Path, request_id: str) -> AccessLine:
    """The newest line of that request.

    Raises NotFound, saying how far back the log goes; Unavailable when there is no log or it cannot be read.
    """
    files = log_files(directory)
    if not files:
        raise Unavailable(
            f"there is no {NAME} in {directory}; a gateway with a policy writes it, "
            "and --state DIR names its state directory"
        )
    needle = json.dumps(request_id, ensure_ascii=False).encode("utf-8", "replace")
    for path in files:
        for raw in _lines_with(path, needle):
            try:
                line = parse_line(raw)
            except Malformed:
                continue
            if line.id == request_id:
                return line
    raise NotFound(
        f"the access log does not know request {request_id!r}; it goes back to {oldest(files) or 'nowhere: it is empty'}"
    )


def oldest(files: tuple[Path, ...]) -> str | None:
    """The time of the oldest line in `files` (newest first); None when no line says one."""
    for path in reversed(files):
        for raw in raw_lines(path):
            try:
                return parse_line(raw).time
            except Malformed:
                continue
    return None


def raw_lines(path: Path) -> Iterator[bytes]:
    """The whole lines of one file, in order, without their ends. What is longer than MAX_LINE comes cut: it
    will not be understood, and is counted by who reads. Raises Unavailable."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                if not line.endswith(b"\n"):
                    while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                yield line.rstrip(b"\n")
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _lines_with(path: Path, needle: bytes) -> Iterator[bytes]:
    """Every line of the file that holds `needle`, last first."""
    with _opened(path) as handle:
        end = os.fstat(handle).st_size
        tail = b""  # the end of a line whose front is in the chunk before
        while end > 0:
            start = max(0, end - CHUNK)
            data = os.pread(handle, end - start, start) + tail
            first = data.find(b"\n") + 1 if start > 0 else 0
            whole = start == 0 or first > 0
            if whole:
                yield from _backwards(data, needle, first)
            tail = data[:first] if whole else data
            tail = tail if len(tail) <= MAX_LINE + CHUNK else b""
            end = start


def _backwards(data: bytes, needle: bytes, first: int) -> Iterator[bytes]:
    """The lines with `needle` in data[first:], last first, each once."""
    end = len(data)
    while (found := data.rfind(needle, first, end)) >= 0:
        begin = data.rfind(b"\n", first, found) + 1 or first
        stop = data.find(b"\n", found)
        yield data[begin : stop if stop >= 0 else len(data)]
        end = begin


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    try:
        yield handle
    finally:
        os.close(handle)
