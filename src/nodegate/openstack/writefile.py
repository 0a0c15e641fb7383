"""Replacing a system file whole: atomic, with mode and owner kept, and a backup beside it.

Run as a program (`python -m nodegate.openstack.writefile FILE DIGEST < TEXT`) it is the one step that needs
root, so that `sudo` gets nothing else to do.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from nodegate import systemfile
from nodegate.errors import Conflict, NodegateError, Refused

BACKUP_SUFFIX = ".nodegate-backup"


def digest(text: str) -> str:
    """A fingerprint of a file's text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def replace(path: Path, text: str, *, expected: str) -> Path:
    """Put `text` into `path` if the file still has the digest `expected`; returns the backup's path.

    A link is followed: what it leads to is replaced. Raises Conflict when somebody changed the file
    meanwhile, Refused when it may not be written (the file is as before then).
    """
    target = path.resolve()
    if digest(systemfile.read(target)) != expected:
        raise Conflict(f"{path} was changed by somebody else meanwhile; run the command again")
    backup = target.with_name(target.name + BACKUP_SUFFIX)
    systemfile.replace(target, text, backup=backup)
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
