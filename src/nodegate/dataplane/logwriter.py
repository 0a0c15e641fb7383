"""What appends HAProxy's lines to the access log: a small program of its own, run by `HaproxyProcess`.

It imports nothing of nodegate, because it has to outlive it, as HAProxy does; it ends with the last worker.
HAProxy's own notices of its coming and going, which come through the same pipe, are left out.
"""

from __future__ import annotations

import os
import time

PAUSE = 0.02
"""Seconds between two reads while lines come. A reader that waits for each line is woken for each line, and
the waking costs HAProxy more than the writing. The pipe holds what 50,000 requests a second leave in this time."""

CHUNK = 1_048_576
"""Bytes read at once: a whole pipe."""


def kept(lines: bytes) -> bytes:
    """The lines that are JSON objects, each with its end. `lines` is whole lines."""
    return b"".join(line for line in lines.splitlines(keepends=True) if line.startswith(b"{"))


def append(log: int, lines: bytes) -> None:
    """Write all of `lines`. What a full disk does not take is lost: the next lines may find room again."""
    while lines:
        try:
            lines = lines[os.write(log, lines) :]
        except OSError:
            return


def copy(pipe: int, log: int, pause: float = PAUSE) -> None:
    """Append the pipe's lines to the log until nobody can write into the pipe any more."""
    rest = b""
    while chunk := os.read(pipe, CHUNK):
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        append(log, kept(whole + end))
        time.sleep(pause)


if __name__ == "__main__":
    copy(0, 1)
