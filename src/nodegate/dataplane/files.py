"""Files that only nodegate reads and writes: private, and replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

from nodegate.errors import Unavailable


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` in one step, readable by this user only; nothing is written when it
    says the same already. Raises Unavailable when the disk does not take it: the old file stays."""
    if read_text(path) == text:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def read_text(path: Path) -> str | None:
    """The text of `path`, None when there is no such file. Raises Unavailable when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def make_private(directory: Path) -> None:
    """Make `directory` for this user only. Raises Unavailable when that is impossible."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be made: {error.strerror}") from error
