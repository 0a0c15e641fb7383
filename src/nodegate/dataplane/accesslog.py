"""The access log's rotation. HAProxy holds the file open for ever, so it is copied and then emptied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nodegate.errors import Unavailable

KEPT = 3
"""Older logs that are kept, as NAME.1 (the newest) to NAME.3."""


def rotate(log: Path, limit: int) -> bool:
    """Put `log` aside once it has more than `limit` bytes; True when it was. Lines that HAProxy writes
    between copy and truncation, some milliseconds, are lost. Raises Unavailable when the disk fails."""
    try:
        if not log.exists() or log.stat().st_size <= limit:
            return False
        for number in range(KEPT, 1, -1):
            older = _numbered(log, number - 1)
            if older.exists():
                older.replace(_numbered(log, number))
        shutil.copyfile(log, _numbered(log, 1))
        _numbered(log, 1).chmod(0o600)
        os.truncate(log, 0)  # HAProxy appends, so its next line is the first
    except OSError as error:
        raise Unavailable(f"{log} cannot be put aside: {error.strerror}") from error
    return True


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
