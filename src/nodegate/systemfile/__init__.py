"""Files of this machine. Here: reading and replacing those that are not nodegate's own, whole or not at all, with mode
and owner kept. `private`: nodegate's own text files. `sqlite`: what its own databases have in common."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from nodegate.errors import NotFound, Refused, Unavailable

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def read(path: Path) -> str:
    """The text of `path`; bytes that are not UTF-8 survive. Raises NotFound, Refused, Unavailable."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except PermissionError as error:
        raise Refused(f"{path} may not be read by this user; try with sudo") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def replace(target: Path, text: str, *, backup: Path) -> None:
    """Put `text` into `target`, which is no link, and what it had into `backup`.

    Raises Refused when this user may not, Unavailable for other failures; the file is as before then.
    """
    try:
        _renamed(backup, target.read_bytes(), like=target)
        _written(target, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        kind = Refused if error.errno in _DENIED else Unavailable
        raise kind(f"{target} cannot be written: {error.strerror}; it is as before") from error


def _written(target: Path, content: bytes) -> None:
    try:
        _renamed(target, content, like=target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A container's hosts file is a bind mount, which cannot be renamed over.
        with target.open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def _renamed(target: Path, content: bytes, *, like: Path) -> None:
    """Write beside `target` and rename over it, with the mode and owner of `like`."""
    known = like.stat()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), known.st_mode & 0o7777)
            if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
