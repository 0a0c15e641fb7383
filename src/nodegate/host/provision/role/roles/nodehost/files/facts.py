"""What a host's files, users and programs say. Reads only, with the host's own Python (3.8 or newer)."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
import subprocess
from functools import cache
from typing import Any, Dict  # noqa: UP035  # `dict[str, Any]` at run time needs Python 3.9

ROOT = "/"
"""Where the host's files begin; tests put theirs here."""

Item = Dict[str, Any]  # noqa: UP006


def at(path: str) -> str:
    """`path` on the host."""
    return os.path.join(ROOT, path.lstrip("/"))


def text_of(path: str) -> str:
    """The file's text, empty when there is none."""
    try:
        with open(at(path), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def output(*command: str, whatever: bool = False) -> str:
    """What the command prints; empty when it is not there, or fails (but for `whatever`)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if whatever or done.returncode == 0 else ""


def differs(item: Item) -> bool:
    """Whether a file (or directory, without content and digest) is not as wanted."""
    path = at(item["path"])
    try:
        facts = os.lstat(path)
    except OSError:
        return True
    if item.get("keep"):
        return False
    wanted = item.get("sha256") or (
        "content" in item and hashlib.sha256(item["content"].encode()).hexdigest()
    )
    if wanted and (os.path.islink(path) or not os.path.isfile(path) or digest(path) != wanted):
        return True
    if f"{facts.st_mode & 0o7777:04o}" != item["mode"]:
        return True
    return (name(pwd.getpwuid, facts.st_uid), name(grp.getgrgid, facts.st_gid)) != (
        item["owner"],
        item["group"],
    )


def digest(path: str) -> str:
    """SHA-256 of the file's content."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def name(look: Any, number: int) -> str:
    """The name of a user or group, or its number."""
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)


def user(login: str) -> Any:
    """The user's entry, None when there is no such user."""
    try:
        return pwd.getpwnam(login)
    except KeyError:
        return None


def needless(item: Any) -> bool:
    """Whether something else does the item's work already."""
    others = item.get("unless", []) if isinstance(item, dict) else []
    return bool(others) and any_active(tuple(others))


@cache
def any_active(units: tuple[str, ...]) -> bool:
    """Whether one of the units runs."""
    return "active" in output("systemctl", "is-active", *units, whatever=True).split()


def keys_of(login: str) -> list[str]:
    """The public keys that log the user in, without options and comments."""
    entry = user(login)
    if entry is None:
        return []
    found = []
    for file in (".ssh/authorized_keys", ".ssh/authorized_keys2"):
        for line in text_of(os.path.join(entry.pw_dir, file)).splitlines():
            words = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-\S+) ([A-Za-z0-9+/=]{40,})", line)
            if words and not line.lstrip().startswith("#"):
                found.append(f"{words[1]} {words[2]}")
    return found


def without_comment(key: str) -> str:
    """A public key's type and body."""
    return " ".join(key.split()[:2])
