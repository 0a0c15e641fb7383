"""Files of the cluster in the state directory: private, and replaced as a whole. All functions block."""

from __future__ import annotations

import os
from pathlib import Path

from nodegate.errors import Unavailable


def write_text(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by this user only. Raises Unavailable when the disk does not take
    it: the old file stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def read_text(path: Path) -> str | None:
    """The file's text, None when there is none. Raises Unavailable when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error
