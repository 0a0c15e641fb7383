"""Capture files as bytes: pcap and pcapng in, frames out. Sans-I/O: it is fed chunks of any size.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html and
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from nodegate.errors import Malformed

MAX_FRAME = 1 << 20
"""Bytes of one frame. libpcap takes 262,144; a frame of the loopback with segmentation offload has 64 KB, with
"big TCP" up to 512 KB. More is damage, and must not lead to waiting for gigabytes."""
MAX_BLOCK = MAX_FRAME + 65536
"""Bytes of one pcapng block: a frame and its options."""

MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
SECTION = b"\x0a\x0d\x0d\x0a"
COMPRESSED = {b"\x1f\x8b": "zcat", b"\x28\xb5": "zstdcat", b"BZ": "bzcat", b"\xfd7": "xzcat"}
BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET = 1, 2, 3, 6
IF_TSRESOL, IF_TSOFFSET = 9, 14
MAX_INTERFACES = 4096


Frame = tuple[float, int, bytes]
"""One captured frame: seconds since the epoch, the link type (of tcpdump.org's list), and its bytes."""


class _Format(Protocol):
    def feed(self, data: bytes) -> tuple[list[Frame], int]: ...


class CaptureReader:
    """Reads a capture that comes in chunks.

    `damage` says in words where and how the capture is damaged, None while it is not: what stands before that
    place is good, what stands behind it is not read.
    """

    def __init__(self) -> None:
        self.damage: str | None = None
        self.read = 0
        self._rest = b""
        self._format: _Format | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises Malformed when the bytes are no capture at all."""
        if self.damage is not None:
            return []
        data = self._rest + data if self._rest else data
        if self._format is None:
            if len(data) < 24:
                self._rest = data
                if data and not _may_be_capture(data):
                    raise Malformed(_not_a_capture(data))
                return []
            self._format = _recognise(data)
        try:
            frames, used = self._format.feed(data)
        except _DamageError as error:
            self.damage = f"damaged after byte {self.read + error.used:,}: {error}"
            self._rest = b""
            return error.frames
        self.read += used
        self._rest = data[used:]
        return frames

    def finish(self) -> None:
        """There is no more. Sets `damage` when the end is in the middle of something. Raises Malformed when there
        was not even a header."""
        if self._format is None:
            raise Malformed(_not_a_capture(self._rest) if self._rest else "the capture is empty")
        if self.damage is None and self._rest:
            self.damage = f"ends in the middle of a packet, after byte {self.read:,}"


class _DamageError(Exception):
    def __init__(self, words: str, frames: list[Frame], used: int) -> None:
        super().__init__(words)
        self.frames = frames
        self.used = used


def _may_be_capture(data: bytes) -> bool:
    return any(magic.startswith(data[:4]) for magic in (*MAGICS, SECTION))


def _recognise(data: bytes) -> _Format:
    magic = data[:4]
    if magic == SECTION:
        return _Pcapng()
    if magic in MAGICS:
        return _Pcap(*MAGICS[magic])
    raise Malformed(_not_a_capture(data))


def _not_a_capture(data: bytes) -> str:
    if tool := COMPRESSED.get(data[:2]):
        return f"this capture is compressed: unpack it on the way, `{tool} FILE | nodegate capture -`"
    return (
        f"this is no capture: it starts with {data[:4].hex(' ')}, which is neither pcap nor pcapng "
        "(write one with `tcpdump -s 0 -w FILE`)"
    )


class _Pcap:
    """The classic format: one header, then records."""

    def __init__(self, order: str, unit: float) -> None:
        self._order = order
        self._unit = unit
        self._record = Struct(order + "IIII")
        self._link: int | None = None

    def feed(self, data: bytes) -> tuple[list[Frame], int]:
        used = 0
        if self._link is None:
            # The upper bits say whether frames end with a checksum, which does no harm here.
            self._link = Struct(self._order + "I").unpack_from(data, 20)[0] & 0x0FFFFFFF
            used = 24
        frames: list[Frame] = []
        unpack, unit, link = self._record.unpack_from, self._unit, self._link
        last = len(data) - 16
        while used <= last:
            seconds, fraction, size, _ = unpack(data, used)
            if size > MAX_FRAME:
                raise _DamageError(f"a packet claims {size:,} bytes", frames, used)
            end = used + 16 + size
            if end > last + 16:
                break
            frames.append((seconds + fraction * unit, link, data[used + 16 : end]))
            used = end
        return frames, used


@dataclass(slots=True)
class _Interface:
    link: int
    unit: float = 1e-6
    offset: int = 0
    snaplen: int = 0


class _Pcapng:
    """The newer format: blocks; each section has its own byte order and interfaces."""

    def __init__(self) -> None:
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._time = 0.0

    def feed(self, data: bytes) -> tuple[list[Frame], int]:
        used = 0
        frames: list[Frame] = []
        while used + 12 <= len(data):
            if data[used : used + 4] == SECTION:
                order = BYTE_ORDERS.get(data[used + 8 : used + 12])
                if order is None:
                    raise _DamageError("a section without a byte order", frames, used)
                self._order, self._interfaces = order, []
            kind, size = Struct(self._order + "II").unpack_from(data, used)
            if size < 12 or size % 4 or size > MAX_BLOCK:
                raise _DamageError(f"a block claims {size:,} bytes", frames, used)
            if used + size > len(data):
                break
            try:
                frame = self._block(kind, data[used + 8 : used + size - 4])
            except _DamageError as error:
                raise _DamageError(str(error), frames, used) from None
            if frame is not None:
                frames.append(frame)
            used += size
        return frames, used

    def _block(self, kind: int, body: bytes) -> Frame | None:
        if kind in (PACKET, OLD_PACKET):
            return self._packet(kind, body)
        if kind == INTERFACE:
            self._interface(body)
        elif kind == SIMPLE_PACKET and len(body) >= 4 and self._interfaces:
            size = Struct(self._order + "I").unpack_from(body)[0]
            first = self._interfaces[0]
            # It has no time of its own; the last one seen keeps the order.
            return self._time, first.link, body[4 : 4 + min(size, first.snaplen or size)]
        return None

    def _packet(self, kind: int, body: bytes) -> Frame:
        if len(body) < 20:
            raise _DamageError("a packet block is too short", [], 0)
        numbers = "IIIII" if kind == PACKET else "HHIIII"
        values = Struct(self._order + numbers).unpack_from(body)
        number, (high, low, size) = values[0], values[-4:-1]
        if number >= len(self._interfaces):
            raise _DamageError(f"a packet of interface {number}, which was not described", [], 0)
        if size > len(body) - 20:
            raise _DamageError(f"a packet claims {size:,} bytes", [], 0)
        interface = self._interfaces[number]
        self._time = (high << 32 | low) * interface.unit + interface.offset
        return self._time, interface.link, body[20 : 20 + size]

    def _interface(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) >= MAX_INTERFACES:
            raise _DamageError("a description of an interface that cannot be", [], 0)
        link, _, snaplen = Struct(self._order + "HHI").unpack_from(body)
        interface = _Interface(link, snaplen=snaplen)
        for code, value in self._options(body[8:]):
            if code == IF_TSRESOL and value:
                power = value[0] & 0x7F
                interface.unit = 2.0**-power if value[0] & 0x80 else 10.0**-power
            elif code == IF_TSOFFSET and len(value) == 8:
                interface.offset = Struct(self._order + "q").unpack(value)[0]
        self._interfaces.append(interface)

    def _options(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        place = 0
        header = Struct(self._order + "HH")
        while place + 4 <= len(data):
            code, size = header.unpack_from(data, place)
            if code == 0:
                return
            yield code, data[place + 4 : place + 4 + size]
            place += 4 + (size + 3 & ~3)
