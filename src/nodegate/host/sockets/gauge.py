"""The gauge: connections of a node's API, descriptors of its process, and whether that is too much."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from nodegate.errors import NotFound
from nodegate.host.rules import WANTED
from nodegate.host.sockets.inetdiag import Counted, InetDiag

PROC = Path("/proc")
OWED_AFTER = 10.0
"""Seconds: an answer of a healthy node takes less, and the policy of IRI allows most commands 10 to 20."""


class Level(IntEnum):
    """Exit codes of Nagios, by its words."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """At which value a warning and at which the critical state begins."""

    warning: float
    critical: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When it is too much. Warnings begin where the audit of a host fails; critical is four times that, and 19 of 20
    descriptors. `backlog` and `files` are shares of their limits."""

    close_wait: Bounds = field(
        default_factory=lambda: Bounds(warning=WANTED.close_wait, critical=WANTED.close_wait * 4)
    )
    owed: Bounds = field(default_factory=lambda: Bounds(warning=WANTED.owed, critical=WANTED.owed * 4))
    files: Bounds = field(default_factory=lambda: Bounds(warning=WANTED.fd_use, critical=0.95))
    backlog: Bounds = field(default_factory=lambda: Bounds(warning=0.5, critical=0.9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The process that listens. `files` are open descriptors of at most `files_limit`; None where `why` says what
    hides them."""

    pid: int | None
    name: str | None
    files: int | None
    files_limit: int | None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at one port."""

    port: int
    sockets: Counted
    process: Process
    level: Level
    reasons: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "level": self.level.name.lower()}


class Gauge:
    """Looks at the sockets of some ports, as often as it is asked; the process is looked up again only when it is
    another one. Raises as InetDiag when it is made, NotFound for a `pid` that is not there."""

    def __init__(
        self, ports: Sequence[int], *, pid: int | None = None, owed_after: float = OWED_AFTER,
        thresholds: Thresholds | None = None, proc: Path = PROC,
    ) -> None:  # fmt: skip
        self._ports = tuple(ports)
        self._pid = pid
        self._proc = proc
        self._owed_after = owed_after
        self._thresholds = thresholds or Thresholds()
        self._known: dict[int, tuple[int, int]] = {}
        if pid is not None and not (proc / str(pid)).is_dir():
            raise NotFound(f"there is no process {pid}")
        self._diag = InetDiag(self._namespace(pid))

    def close(self) -> None:
        """Give the netlink socket back."""
        self._diag.close()

    def read(self) -> tuple[Reading, ...]:
        """One reading for each port. Raises Unavailable when the kernel does not answer."""
        return tuple(self._one(port) for port in self._ports)

    def _one(self, port: int) -> Reading:
        counted = self._diag.count(port, self._owed_after)
        process = self._process(port, counted)
        level, reasons = judge(counted, process, self._thresholds, self._owed_after)
        return Reading(port=port, sockets=counted, process=process, level=level, reasons=reasons)

    def _process(self, port: int, counted: Counted) -> Process:
        pid = self._pid
        if pid is None and counted.inodes:
            pid = self._owner(port, counted)
        if pid is None:
            why = "nothing listens on the port"
            if counted.inodes:
                users = ", ".join(map(str, counted.uids))
                why = f"its process belongs to user {users}: run it as that user or root, or name --pid"
            return Process(pid=None, name=None, files=None, files_limit=None, why=why)
        return process_of(pid, self._proc)

    def _owner(self, port: int, counted: Counted) -> int | None:
        """Who has the listening socket; as long as it is the same socket, the answer is known."""
        inode = counted.inodes[0]
        known = self._known.get(port)
        if known is not None and known[0] == inode and (self._proc / str(known[1])).exists():
            return known[1]
        self._known.pop(port, None)
        found = owner_of(frozenset(counted.inodes), self._proc)
        if found is not None:
            self._known[port] = (inode, found)
        return found

    def _namespace(self, pid: int | None) -> Path | None:
        """That of the process where it is another one than ours: a container's sockets are not seen from outside."""
        if pid is None:
            return None
        theirs = self._proc / str(pid) / "ns" / "net"
        try:
            same = theirs.samefile(self._proc / "self" / "ns" / "net")
        except PermissionError:
            return None  # of another user; ours is the best guess, and needs no rights
        except FileNotFoundError:
            raise NotFound(f"there is no process {pid}") from None
        return None if same else theirs


def owner_of(inodes: frozenset[int], proc: Path = PROC) -> int | None:
    """The process with one of the sockets open, None when none is to be seen; of several (a parent and its workers)
    the oldest, which has the lowest number."""
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        try:
            with os.scandir(proc / str(pid) / "fd") as entries:
                for entry in entries:
                    if os.readlink(entry.path) in names:
                        return pid
        except OSError:
            continue  # of another user, or gone meanwhile
    return None


def process_of(pid: int, proc: Path = PROC) -> Process:
    """The descriptors of a process against its limit, which is that of the running process and not of its unit."""
    folder = proc / str(pid)
    try:
        name = (folder / "comm").read_text("utf-8", "replace").strip()
        limit = _limit((folder / "limits").read_text("utf-8"))
        files = _files(folder / "fd")
    except OSError as error:
        return Process(
            pid=pid, name=None, files=None, files_limit=None, why=f"process {pid}: {error.strerror}"
        )
    why = (
        None if files is not None else f"only root and its own user may see the descriptors of process {pid}"
    )
    return Process(pid=pid, name=name, files=files, files_limit=limit, why=why)


def _files(folder: Path) -> int | None:
    """Linux says the number as the size of the directory since 6.2, to everybody; before, it has to be listed."""
    if size := folder.stat().st_size:
        return size
    try:
        return len(os.listdir(folder))
    except PermissionError:
        return None


def _limit(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def judge(
    counted: Counted, process: Process, thresholds: Thresholds, owed_after: float
) -> tuple[Level, tuple[str, ...]]:
    """The level, and in words why it is not OK. Pure."""
    if not counted.listening and not counted.established and not counted.close_wait:
        return Level.CRITICAL, ("nothing listens on the port, and it has no connections",)
    values: Mapping[str, tuple[float, Bounds, str]] = {
        "close_wait": (
            counted.close_wait, thresholds.close_wait,
            f"{counted.close_wait:,} connections in CLOSE_WAIT: clients gave up, and the node has not noticed",
        ),
        "owed": (
            counted.owed, thresholds.owed,
            f"{counted.owed:,} connections wait for an answer for {owed_after:g} s or longer: "
            "`nodegate capture` says for which",
        ),
        "files": (
            _share(process.files, process.files_limit), thresholds.files,
            f"{process.files} of {process.files_limit} descriptors are open: raise LimitNOFILE, or find what leaks",
        ),
        "backlog": (
            _share(counted.backlog, counted.backlog_limit), thresholds.backlog,
            f"{counted.backlog} of {counted.backlog_limit} connections wait to be accepted",
        ),
    }  # fmt: skip
    found = [(_level(value, bounds), words) for value, bounds, words in values.values()]
    reasons = tuple(words for level, words in found if level is not Level.OK)
    return max((level for level, _ in found), default=Level.OK), reasons


def _level(value: float, bounds: Bounds) -> Level:
    if value >= bounds.critical:
        return Level.CRITICAL
    return Level.WARNING if value >= bounds.warning else Level.OK


def _share(value: int | None, limit: int | None) -> float:
    return value / limit if value is not None and limit else 0.0
