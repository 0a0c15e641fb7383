"""Replacing a system file whole: atomic, with mode and owner kept, and a backup beside it.

Run as a program (`python -m nodegate.openstack.writefile FILE DIGEST < TEXT`) it is the one step that needs
root, so that `sudo` gets nothing else to do.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nodegate.errors import Conflict, NodegateError, NotFound, Refused, Unavailable

BACKUP_SUFFIX = ".nodegate-backup"


def read(path: Path) -> str:
    """The text of `path`; bytes that are not UTF-8 survive. Raises NotFound, Refused, Unavailable."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except PermissionError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def digest(text: str) -> str:
    """A fingerprint of a file's text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def replace(path: Path, text: str, *, expected: str) -> Path:
    """Put `text` into `path` if the file still has the digest `expected`; returns the backup's path.

    A link is followed: what it leads to is replaced. Raises Conflict when somebody changed the file
    meanwhile, Refused when it may not be written (the file is as before then).
    """
    target = path.resolve()
    if digest(read(target)) != expected:
        raise Conflict(f"{path} was changed by somebody else meanwhile; run the command again")
    backup = target.with_name(target.name + BACKUP_SUFFIX)
    try:
        _copy(target, backup)
        _write(target, text.encode(errors="surrogateescape"))
    except PermissionError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise Refused(f"{path} cannot be written: {error.strerror}") from error
        raise Unavailable(f"{path} cannot be written: {error.strerror}; its backup is {backup}") from error
    return backup


def replace_as_root(path: Path, text: str, *, expected: str) -> None:
    """`replace` by way of sudo, which may ask for a password on the terminal. Raises as `replace`, and Refused when
    there is no sudo or it says no."""
    sudo = shutil.which("sudo")
    if sudo is None:
        raise Refused(
            f"{path} may only be written by root, and there is no sudo; `--file -` prints the block"
        )
    command = [sudo, "--", sys.executable, "-P", "-m", "nodegate.openstack.writefile", str(path), expected]
    done = subprocess.run(
        command, input=text.encode(errors="surrogateescape"), stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"sudo ended with {done.returncode}"
        raise (Conflict if done.returncode == Conflict.exit_code else Refused)(said)


def _copy(source: Path, backup: Path) -> None:
    """A backup that is whole or not there, and no more readable than the file."""
    handle, name = tempfile.mkstemp(prefix=f".{backup.name}.", dir=backup.parent)
    os.close(handle)
    try:
        shutil.copy2(source, name)
        os.replace(name, backup)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _write(target: Path, content: bytes) -> None:
    before = target.stat()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), before.st_mode & 0o7777)
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        if error.errno != errno.EBUSY:
            raise
        # A container's hosts file is a bind mount, which cannot be renamed over.
        with target.open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main(arguments: list[str]) -> int:
    """The privileged step: FILE and the digest it must still have; the new text on standard input."""
    path, expected = arguments
    text = sys.stdin.buffer.read().decode(errors="surrogateescape")
    try:
        replace(Path(path), text, expected=expected)
    except NodegateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
