"""TCP sockets by local port from the kernel's inet_diag over netlink. Needs no root.

Layouts: linux/inet_diag.h, linux/sock_diag.h and linux/tcp.h.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nodegate.errors import NotFound, Refused, Unavailable

SOCK_DIAG_BY_FAMILY = 20
NETLINK_SOCK_DIAG = 4
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR = 0x10
INET_DIAG_INFO = 2
CLONE_NEWNET = 0x40000000
BUFFER = 1 << 20
ATTEMPTS = 3
ENOENT = 2

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_ATTRIBUTE = struct.Struct("=HH")
_BASE = 16 + 72
INFO_SIZE = 160
"""Bytes of tcp_info up to data_segs_out (Linux 4.6); of it last_data_sent and last_data_recv (milliseconds ago),
bytes_received and data_segs_out count."""

ESTABLISHED, FIN_WAIT2, CLOSE_WAIT, LISTEN = 1, 5, 8, 10
"""States of TCP sockets that count here, as the kernel numbers them."""
LISTENING = 1 << LISTEN
CONNECTED = 1 << ESTABLISHED | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The sockets of one local port.

    `owed` are established connections whose client said something and got nothing since, for the seconds asked about
    or longer; `unread` are connections with bytes that the node has not read at all. `backlog` of `backlog_limit`
    connections wait to be accepted. `inodes` are the listening sockets, `uids` who owns them.
    """

    established: int
    close_wait: int
    fin_wait: int
    owed: int
    unread: int
    listening: int
    backlog: int
    backlog_limit: int
    inodes: tuple[int, ...]
    uids: tuple[int, ...]


class InetDiag:
    """Asks the kernel about the sockets of one network namespace."""

    def __init__(self, namespace: Path | None = None) -> None:
        """Raises Refused and NotFound when the namespace cannot be entered (None: this process's own)."""
        self._socket = _netlink() if namespace is None else _netlink_in(namespace)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def count(self, port: int, owed_after: float) -> Counted:
        """Count the sockets with the local port. Raises Unavailable when the kernel does not answer.

        The table of connections is walked once for each family, which takes longest; that of listening sockets costs
        nothing, and says which walk can be left out.
        """
        census = _Census(owed_after)
        listening = [family for family in FAMILIES if self._dump(family, port, LISTENING, census)]
        for family in listening or FAMILIES:
            self._dump(family, port, CONNECTED, census)
        return census.counted()

    def _dump(self, family: int, port: int, states: int, census: _Census) -> bool:
        """Count one family's sockets in these states; whether there were any. Once more when the tables changed below
        the kernel's hands."""
        for _ in range(ATTEMPTS):
            parts, torn = self._ask(family, port, states)
            if not torn:
                break
        before = census.total
        for data in parts:
            census.read(data)
        return census.total > before

    def _ask(self, family: int, port: int, states: int) -> tuple[list[bytes], bool]:
        # The kernel sifts by the source port of the request, for dumps too.
        sockid = struct.pack(">HH", port, 0) + bytes(44)
        wants = 1 << (INET_DIAG_INFO - 1)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, wants, states) + sockid
        self._socket.send(_HEADER.pack(16 + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body)
        parts: list[bytes] = []
        torn = False
        while True:
            try:
                data = self._socket.recv(BUFFER)
            except OSError as error:
                raise Unavailable(f"the kernel's inet_diag does not answer: {error.strerror}") from error
            kind, flags = struct.unpack_from("=HH", data, 4)
            torn = torn or bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_ERROR:
                return _refused(data, family)
            if kind == NLMSG_DONE:  # the kernel sends it on its own, or behind the last messages
                return parts, torn
            parts.append(data)
            if _is_done(data):
                return parts, torn


def _refused(data: bytes, family: int) -> tuple[list[bytes], bool]:
    code = -struct.unpack_from("=i", data, 16)[0]
    if code == ENOENT and family == socket.AF_INET6:
        return [], False  # a kernel without IPv6
    raise Unavailable(f"the kernel's inet_diag refuses: {os.strerror(code)} (is the module tcp_diag there?)")


def _is_done(data: bytes) -> bool:
    """Whether the last message says that there are no more; it has 20 bytes, with one number."""
    return len(data) >= 20 and struct.unpack_from("=IH", data, len(data) - 20) == (20, NLMSG_DONE)


class _Census:
    """Counts messages. `total` are all that were counted."""

    def __init__(self, owed_after: float) -> None:
        self.total = 0
        self._after = int(owed_after * 1000)
        self._states = [0] * 16
        self._owed = self._unread = self._backlog = self._limit = 0
        self._inodes: dict[int, int] = {}

    def read(self, data: bytes) -> None:
        """Count the messages of one datagram. Nearly all have the same length, so that a run of them is read in one
        go."""
        view = memoryview(data)
        place, end = 0, len(data)
        while place + _BASE <= end:
            length, kind = struct.unpack_from("=IH", data, place)
            if kind != SOCK_DIAG_BY_FAMILY or length < _BASE:
                return
            step = length + 3 & ~3
            where = _info_at(data, place, length)
            layout = _layout(length, where)
            many = max(1, (end - place) // step)
            run = (
                view[place : place + many * step]
                if place + step <= end
                else bytes(data[place:]).ljust(step, b"\0")
            )
            place += step * self._run(layout, run, length)

    def _run(self, layout: struct.Struct, run: memoryview | bytes, length: int) -> int:
        """Count messages while they have the length; how many there were."""
        states, after = self._states, self._after
        read = 0
        for (
            size,
            kind,
            state,
            received,
            queued,
            uid,
            inode,
            sent_ago,
            heard_ago,
            heard,
            said,
        ) in layout.iter_unpack(run):
            if size != length or kind != SOCK_DIAG_BY_FAMILY:
                break
            read += 1
            states[state & 15] += 1
            if state == ESTABLISHED:
                if received:
                    self._unread += 1
                if heard and heard_ago >= after and (heard_ago < sent_ago or received or not said):
                    self._owed += 1
            elif state == LISTEN:
                self._inodes[inode] = uid
                self._backlog += received
                self._limit += queued
        self.total += read
        return read

    def counted(self) -> Counted:
        """What was counted."""
        return Counted(
            established=self._states[ESTABLISHED],
            close_wait=self._states[CLOSE_WAIT],
            fin_wait=self._states[FIN_WAIT2],
            owed=self._owed,
            unread=self._unread,
            listening=self._states[LISTEN],
            backlog=self._backlog,
            backlog_limit=self._limit,
            inodes=tuple(self._inodes),
            uids=tuple(sorted(set(self._inodes.values()))),
        )


@cache
def _layout(length: int, where: int) -> struct.Struct:
    """One message as a whole: its header, its state and queues, and the times of tcp_info, which are read from
    elsewhere in the message where it is missing and then mean nothing: such a socket never heard anything."""
    head = "=IH10x" + "xB54xIIII"
    step = length + 3 & ~3
    if not where:
        return struct.Struct(f"{head}0s0s0s0s{step - _BASE}x")
    rest = step - where - INFO_SIZE
    return struct.Struct(f"{head}{where - _BASE}x44xI4xI72xQ20xI{rest}x")


def _info_at(data: bytes, place: int, length: int) -> int:
    """Where the kernel's tcp_info begins within the message, 0 when it is not there or too short."""
    at = _BASE
    while at + 4 <= length:
        size, kind = _ATTRIBUTE.unpack_from(data, place + at)
        if kind == INET_DIAG_INFO and size >= 4 + INFO_SIZE:
            return at + 4
        at += max(size + 3 & ~3, 4)
    return 0


def _netlink() -> socket.socket:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG)
    except OSError as error:
        raise Unavailable(f"no inet_diag on this machine: {error.strerror}") from error
    sock.settimeout(10)
    return sock


def _netlink_in(namespace: Path) -> socket.socket:
    """A netlink socket belongs to the namespace in which it was made, so that a short thread is enough."""
    made: list[socket.socket | OSError] = []

    def run() -> None:
        try:
            with namespace.open("rb") as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
            made.append(_netlink())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    found = made[0]
    if isinstance(found, FileNotFoundError):
        raise NotFound(f"there is no network namespace {namespace}") from found
    if isinstance(found, OSError):
        raise Refused(
            f"cannot look into the network namespace {namespace} ({found.strerror}): run it as root"
        ) from found
    return found
