"""How long requests take, from the end of the access log: a sample, so that its cost does not grow with traffic."""

from __future__ import annotations

from pathlib import Path

from nodegate.errors import Malformed
from nodegate.views.access import parse_line

SAMPLE = 65_536
"""Bytes that are read at most for one sample: some 130 requests, the newest ones."""


class LogTail:
    """The end of the access log at `path`, which HAProxy appends to and which is cut when it is put aside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset: int | None = None

    def sample(self) -> tuple[float, ...]:
        """Seconds that requests took which nodes have answered since the last call; of many only the newest.

        None where there is no log. Blocks for a read of `SAMPLE` bytes.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                begin = size if self._offset is None else self._offset
                begin = max(0 if size < begin else begin, size - SAMPLE)
                file.seek(begin)
                data = file.read(size - begin)
        except OSError:
            self._offset = None
            return ()
        whole, newline, rest = data.rpartition(b"\n")
        self._offset = size - len(rest) if newline else begin
        return tuple(took for line in whole.split(b"\n") if (took := _took(line)) is not None)


def _took(line: bytes) -> float | None:
    try:
        known = parse_line(line)
    except Malformed:
        return None  # also the line that a sample begins in the middle of
    return known.total_ms / 1000 if known.verdict == "served" and known.total_ms is not None else None
