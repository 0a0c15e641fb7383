"""What goes into a bundle, each from where it is. Nothing is read through a link, nothing outside the named places."""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import httpx

from nodegate import __version__

MAX_FILE = 2_000_000
"""Bytes of one file; of logs the end, of others the beginning."""
JOURNAL_LINES = 3000
_UNITS = ("nodegate", "nodegate-haproxy", "keepalived", "consul")
_TEXTS = (".cfg", ".toml", ".json", ".jsonl", ".conf", ".log", ".txt", ".map", ".lst", ".acl")
_NEVER = ("token", "registry.db", "cookie", "secret")
"""Names in the state directory that are not taken at all, not even cleaned."""
DAEMON = {
    "status": "/api/v1/status", "plan": "/api/v1/plan", "nodes": "/api/v1/nodes", "gateways": "/api/v1/gateways",
    "events": "/api/v1/events", "alerts": "/api/v1/alerts", "policies": "/api/v1/policies", "scaling": "/api/v1/scaling",
    "metrics": "/metrics",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of the bundle as it was found, or in `missing` why it is not in it. `source` says where it is from."""

    name: str
    source: str
    text: str = ""
    missing: str | None = None


def versions() -> Item:
    """nodegate, Python, the system, and everything installed beside them."""
    packages = sorted(
        {f"{found.metadata['Name']} {found.version}" for found in distributions()}, key=str.lower
    )
    document = {
        "nodegate": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "packages": packages,
    }
    return Item(name="versions.json", source="this Python", text=json.dumps(document, indent=2))


def one_file(path: Path, name: str) -> Item:
    """A single file that was named, such as nodegate.toml."""
    try:
        return Item(name=name, source=str(path), text=read_plain(path, end=path.suffix in {".log", ".jsonl"}))
    except OSError as error:
        return Item(name=name, source=str(path), missing=_words(error))


def read_plain(path: Path, *, end: bool = False) -> str:
    """The text of a regular file, its last or first MAX_FILE bytes. Raises OSError, also for links and devices."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        cut = info.st_size > MAX_FILE
        if cut and end:
            file.seek(-MAX_FILE, os.SEEK_END)
        text = file.read(MAX_FILE).decode("utf-8", "replace")
    # A log begins with a whole line: the first half of a secret would not be known for one.
    return text.partition("\n")[2] if cut and end else text


def state_files(state: Path) -> Iterator[Item]:
    """A listing of the state directory, and its texts: configuration, logs, maps; policies too."""
    listing = []
    for folder, names, files in os.walk(state, followlinks=False):
        names.sort()
        for name in sorted([*files, *(name for name in names if (Path(folder) / name).is_symlink())]):
            path = Path(folder) / name
            place = path.relative_to(state)
            try:
                info = path.lstat()
            except OSError:
                continue
            listing.append(f"{stat.filemode(info.st_mode)} {info.st_uid:6} {info.st_size:12,} {place}")
            if stat.S_ISLNK(info.st_mode):
                yield Item(name=f"state/{place}", source=str(path), missing="a link: not followed")
            elif any(word in name.lower() for word in _NEVER):
                yield Item(name=f"state/{place}", source=str(path), missing="holds secrets by its nature")
            elif stat.S_ISREG(info.st_mode) and path.suffix in _TEXTS:
                yield one_file(path, f"state/{place}")
    yield Item(name="state/LISTING", source=str(state), text="\n".join(listing) + "\n")


def daemon(url: str, token: str) -> Iterator[Item]:
    """What a running nodegate says of itself."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=15.0, trust_env=False
    ) as client:
        for name, path in DAEMON.items():
            file = f"daemon/{name}.{'txt' if name == 'metrics' else 'json'}"
            try:
                answer = client.get(path)
            except httpx.HTTPError as error:
                yield Item(name=file, source=f"{url}{path}", missing=f"no answer: {error}")
                continue
            if answer.is_success:
                yield Item(name=file, source=f"{url}{path}", text=answer.text[:MAX_FILE])
            else:
                yield Item(name=file, source=f"{url}{path}", missing=f"status {answer.status_code}")


def journal() -> Iterator[Item]:
    """The last lines of the units that belong to a gateway."""
    for unit in _UNITS:
        command = ["journalctl", "--no-pager", "-q", "-n", str(JOURNAL_LINES), "-u", unit]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        except FileNotFoundError:
            yield Item(name="journal", source="journalctl", missing="journalctl is not installed")
            return
        except subprocess.TimeoutExpired:
            yield Item(
                name=f"journal/{unit}.log", source=" ".join(command), missing="journalctl took over 30 s"
            )
            continue
        text = done.stdout.decode("utf-8", "replace")
        if text.strip():
            yield Item(name=f"journal/{unit}.log", source=" ".join(command), text=text[-MAX_FILE:])


def _words(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link: not followed"
    return error.strerror or str(error)
