"""Files from which HAProxy starts: private, and written only where they say something new. All functions block."""

from __future__ import annotations

from pathlib import Path

from nodegate.errors import Unavailable
from nodegate.systemfile.private import read_private, write_private


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text`; nothing is written when it says the same already. Raises as `write_private`."""
    if read_text(path) != text:
        write_private(path, text)


def read_text(path: Path) -> str | None:
    """The text of `path`, None when there is no such file. Raises Unavailable when it cannot be read."""
    return read_private(path, errors="replace")


def make_private(directory: Path) -> None:
    """Make `directory` for this user only. Raises Unavailable when that is impossible."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be made: {error.strerror}") from error
