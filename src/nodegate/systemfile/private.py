"""Text files that only nodegate reads and writes: readable by its user alone, and replaced as a whole. All functions
block."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nodegate.errors import Unavailable


def read_private(path: Path, *, errors: str = "strict") -> str | None:
    """The text of `path`, None when there is no such file. `errors` is what becomes of bytes that are not UTF-8, as
    in `bytes.decode`. Raises Unavailable when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors=errors)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step. Raises Unavailable when the disk does not take it: the old file stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
