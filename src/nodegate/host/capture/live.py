"""Where captures come from: a file, a stream such as tcpdump's, or an interface of this machine."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from ctypes import addressof, create_string_buffer
from pathlib import Path
from typing import Protocol

from nodegate.errors import Malformed, NotFound, Refused, Unavailable
from nodegate.host.capture.pcapfile import CaptureReader, Frame

CHUNK = 1 << 18
BUFFER = 16 << 20
"""Bytes of the socket's buffer: a second of 130 Mbit/s while Python is busy elsewhere."""
FRAME = 1 << 19
RAW_IP = 101
BATCH = 512
LAST_WORDS = 1.0
"""Seconds in which a stream may end after Ctrl-C."""
LAST = 200
"""Batches at the end: as much as the buffer holds, and no more where packets never cease."""
ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
STAMP = struct.Struct("@qq")

Instruction = tuple[int, int, int, int]


class Source(Protocol):
    """Frames, as they come. `dropped` counts what was lost on the way, `damage` says what is wrong with the
    capture (None: nothing), `done` and `total` are bytes, for showing progress (0: not known)."""

    dropped: int
    damage: str | None
    done: int
    total: int

    def frames(self, wait: float) -> Iterator[list[Frame]]:
        """Lists of frames until the end; an empty list after `wait` seconds without any. Raises Malformed for what
        is no capture, Unavailable when it cannot be read."""

    def stop(self) -> None:
        """Give what has come already, and end. May be called by a signal's handler."""


class FileSource:
    """A capture file, or a stream of one (`-` is standard input)."""

    def __init__(self, path: str) -> None:
        self.dropped = 0
        self.damage: str | None = None
        self.done = self.total = 0
        self._path = path
        self._stream = path == "-"
        self._end: float | None = None
        if self._stream and sys.stdin.isatty():
            raise Malformed(
                "standard input is a terminal: `tcpdump -U -s 0 -w - 'tcp port P' | nodegate capture -`"
            )

    def frames(self, wait: float) -> Iterator[list[Frame]]:
        """See Source."""
        descriptor = sys.stdin.fileno() if self._stream else self._open()
        try:
            yield from self._frames(descriptor, wait)
        finally:
            if not self._stream:
                os.close(descriptor)

    def stop(self) -> None:
        """See Source. Ctrl-C ends tcpdump too, which then writes what it still has."""
        self._end = time.monotonic() + LAST_WORDS

    def _open(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
            self.total = os.fstat(descriptor).st_size
        except FileNotFoundError:
            raise NotFound(f"{self._path}: no such file") from None
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from error
        return descriptor

    def _frames(self, descriptor: int, wait: float) -> Iterator[list[Frame]]:
        name = "standard input" if self._stream else self._path
        reader = CaptureReader()
        while self._end is None or (self._stream and time.monotonic() < self._end):
            if self._stream and not select.select([descriptor], [], [], wait)[0]:
                yield []
                continue
            try:
                data = os.read(descriptor, CHUNK)
            except OSError as error:
                raise Unavailable(f"{name}: {error.strerror}") from error
            try:
                if not data:
                    reader.finish()
                    self.damage = reader.damage
                    return
                self.done += len(data)
                frames = reader.feed(data)
            except Malformed as error:
                raise Malformed(f"{name}: {error}") from None
            self.damage = reader.damage
            yield frames
            if reader.damage is not None:
                return


class InterfaceSource:
    """An interface, or `any`. The kernel sifts out the ports before anything is copied.

    Needs CAP_NET_RAW and nothing else. Frames start at the IP header; on the loopback, where each packet is seen
    twice, the outgoing one is left out.
    """

    def __init__(self, interface: str, ports: Sequence[int], seconds: float | None = None) -> None:
        self.damage: str | None = None
        self.done = self.total = 0
        self.dropped = 0
        self._end = None if seconds is None else time.monotonic() + seconds
        self._socket = _open(interface, ports)

    def frames(self, wait: float) -> Iterator[list[Frame]]:
        """See Source."""
        with self._socket as sock:
            sock.setblocking(False)
            while self._end is None or time.monotonic() < self._end:
                left = wait if self._end is None else max(0.0, min(wait, self._end - time.monotonic()))
                if select.select([sock], [], [], left)[0]:
                    yield self._batch(sock)
                else:
                    yield []
                self._count_drops(sock)
            for _ in range(LAST):
                if not (frames := self._batch(sock)):
                    break
                yield frames
            self._count_drops(sock)

    def stop(self) -> None:
        """See Source."""
        self._end = time.monotonic()

    def _batch(self, sock: socket.socket) -> list[Frame]:
        frames: list[Frame] = []
        for _ in range(BATCH):
            try:
                data, control, _, sender = sock.recvmsg(FRAME, 64)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    continue
                raise Unavailable(f"capturing: {error.strerror}") from error
            if sender[0] == "lo" and sender[2] == socket.PACKET_OUTGOING:
                continue
            frames.append((_stamp(control), RAW_IP, data))
        return frames

    def _count_drops(self, sock: socket.socket) -> None:
        _, drops = struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.dropped += drops  # the kernel starts again at 0 with each question


def _stamp(control: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= STAMP.size:
            seconds, nanoseconds = STAMP.unpack_from(data)
            return float(seconds + nanoseconds * 1e-9)
    return time.time()


def _open(interface: str, ports: Sequence[int]) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except PermissionError:
        raise Refused(
            f"capturing on {interface} needs CAP_NET_RAW: run it as root, or let tcpdump do that part: "
            f"`sudo tcpdump -i {interface} -U -s 0 -w - 'tcp port {ports[0]}' | nodegate capture - --port {ports[0]}`"
        ) from None
    try:
        # The filter stands before the socket is bound, so that nothing else ever comes.
        program = port_filter(ports)
        code = b"".join(struct.pack("HBBI", *step) for step in program)
        held = create_string_buffer(code)
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(program), addressof(held)))
        _large_buffer(sock)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("" if interface == "any" else interface, ETH_P_ALL))
    except OSError as error:
        sock.close()
        if error.errno == errno.ENODEV:
            there = ", ".join(sorted(path.name for path in Path("/sys/class/net").iterdir()))
            raise NotFound(f"there is no interface {interface}; there are {there} and any") from None
        raise Unavailable(f"cannot capture on {interface}: {error.strerror}") from error
    return sock


def _large_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # as much as rmem_max allows


LD_BYTE, LD_HALF, LD_HALF_AT, LDX_HEADER = 0x30, 0x28, 0x48, 0xB1
RIGHT, JUMP_EQUAL, JUMP_SET, TAKE = 0x74, 0x15, 0x45, 0x06
ALL = 0xFFFFFFFF


def port_filter(ports: Sequence[int]) -> list[Instruction]:
    """A classic BPF program for packets that start at the IP header: TCP of one of the ports, either direction.

    IPv6 packets with extension headers pass, for the loop that it would take is not there; so do no fragments.
    Raises ValueError for more than 50 ports, whose jumps would be too long.
    """
    if not 0 < len(ports) <= 50:
        raise ValueError("1 to 50 ports")
    tests = 2 * len(ports)
    four = [
        (LD_BYTE, 0, 0, 9), (JUMP_EQUAL, 0, 5 + tests, 6),
        (LD_HALF, 0, 0, 6), (JUMP_SET, 3 + tests, 0, 0x1FFF),
        (LDX_HEADER, 0, 0, 0),
        (LD_HALF_AT, 0, 0, 0), *_equal(ports, 2 + len(ports)),
        (LD_HALF_AT, 0, 0, 2), *_equal(ports, 1),
        (TAKE, 0, 0, 0), (TAKE, 0, 0, ALL),
    ]  # fmt: skip
    six = [
        (LD_BYTE, 0, 0, 6), (JUMP_EQUAL, 0, 3 + tests, 6),
        (LD_HALF, 0, 0, 40), *_equal(ports, 2 + len(ports) + EXTRA),
        (LD_HALF, 0, 0, 42), *_equal(ports, 1 + EXTRA),
        (TAKE, 0, 0, 0), *[(JUMP_EQUAL, len(EXTENDED) - place, 0, kind) for place, kind in enumerate(EXTENDED)],
        (TAKE, 0, 0, 0), (TAKE, 0, 0, ALL),
    ]  # fmt: skip
    head = [(LD_BYTE, 0, 0, 0), (RIGHT, 0, 0, 4), (JUMP_EQUAL, 0, len(four), 4)]
    middle = [(JUMP_EQUAL, 1, 0, 6), (TAKE, 0, 0, 0)]
    return [*head, *four, *middle, *six]


EXTENDED = (0, 43, 44, 51, 60)
EXTRA = len(EXTENDED) + 1


def _equal(ports: Sequence[int], behind: int) -> list[Instruction]:
    """One test for each port; a hit jumps to the instruction that is `behind` steps after the last test."""
    return [
        (JUMP_EQUAL, len(ports) - 1 - place + behind, 0, port) for place, port in enumerate(ports)
    ]  # fmt: skip
