"""The pipe through which HAProxy writes its access log, and the program at its other end.

HAProxy takes away the append mode of a file that it is given, so that nobody could ever shorten it.
`logwriter` appends for it; it outlives nodegate as HAProxy does, and ends with the last worker. Workers inherit the pipe, and so does the master when it starts itself
anew for a reload.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from nodegate.dataplane import logwriter

PIPE_BYTES = 1_048_576
"""Lines of the access log under way; HAProxy drops those that do not fit rather than wait."""


def attached(log: Path) -> tuple[int, int]:
    """Start the writer; returns the pipe's end for HAProxy and the writer's process id, a child of this process."""
    reader, lines = _pipe()
    try:
        return lines, _spawn_writer(reader, log)
    except OSError:
        os.close(lines)
        raise
    finally:
        os.close(reader)


def detached(log: Path) -> int:
    """Start a writer that is nobody's child, so that the HAProxy which this process becomes does not have to
    wonder about its end; returns the pipe's end for HAProxy."""
    reader, lines = _pipe()
    if (child := os.fork()) == 0:
        try:
            _spawn_writer(reader, log)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reader)
    return lines


def _pipe() -> tuple[int, int]:
    reader, lines = os.pipe()
    fcntl.fcntl(lines, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader, lines


def _spawn_writer(reader: int, log: Path) -> int:
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", logwriter.__file__],
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reader, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
    )
