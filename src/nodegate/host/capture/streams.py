"""One direction of a TCP connection, put in order again, in bounded memory. Pure: the time comes with the packets.

Positions are sequence numbers that do not wrap: plain integers, so that `<` means earlier.
"""

from __future__ import annotations

from typing import Protocol

GRACE = 0.05
"""Seconds for which a byte that the peer has acknowledged may still come: captures swap packets that were handled
on two cores, by far less than this."""
MAX_HELD = 256
"""Segments that wait for an earlier one; a window of 64 KB has 45."""
MAX_HELD_BYTES = 1 << 20
WRAP = 1 << 32
HALF = 1 << 31


class Held:
    """A segment that came before its turn."""

    __slots__ = ("ack", "data", "size", "time")

    def __init__(self, data: bytes, size: int, ack: int, time: float) -> None:
        self.data, self.size, self.ack, self.time = data, size, ack, time


class Reader(Protocol):
    """Who gets the bytes in order. `start` is the position of the first byte, `ack` that up to which the sender had
    the other direction, `time` that of the packet."""

    def feed(self, data: bytes, start: int, ack: int, time: float) -> None:
        """The next bytes; one call for each segment."""

    def lost(self, count: int) -> None:
        """The capture does not have the next `count` bytes."""


class Stream:
    """Bytes of one direction in the order in which they were sent.

    `high` is the highest position of which it is sure that the sender came so far: it was seen, or acknowledged.
    """

    __slots__ = ("acked", "ended", "gap_since", "held", "held_bytes", "high", "next", "reader")

    def __init__(self, reader: Reader, start: int) -> None:
        self.reader = reader
        self.next = self.high = self.acked = start
        self.held: dict[int, Held] = {}
        self.held_bytes = 0
        self.gap_since: float | None = None
        self.ended: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is missing so far."""
        return not self.held and self.high <= self.next

    def place(self, sequence: int) -> int:
        """The position of a sequence number, which is less than 2 GiB away from the last one."""
        return self.next + ((sequence - self.next + HALF) % WRAP) - HALF

    def segment(self, start: int, data: bytes, size: int, ack: int, time: float) -> None:
        """A segment came: `size` bytes from `start` on, of which `data` was captured."""
        end = start + size
        if end > self.high:
            self.high = end
        elif start > self.high:
            self.high = start
        if start == self.next and not self.held:
            if size:
                self._take(data, size, ack, time)
            return
        if end <= self.next or not size:
            return
        self._hold(start, data, size, ack, time)
        self._drain()
        if len(self.held) > MAX_HELD or self.held_bytes > MAX_HELD_BYTES:
            self.jump()

    def acknowledged(self, position: int, time: float) -> None:
        """The other side says that it has everything before `position`."""
        if self.ended is not None and position > self.ended:
            position = self.ended
        self.acked = max(self.acked, position)
        self.high = max(self.high, position)
        if position > self.next and self.gap_since is None:
            self.gap_since = time

    def overdue(self, now: float) -> bool:
        """Whether bytes are missing that will not come any more. Cheap; to be asked after each packet."""
        if self.gap_since is None:
            return False
        if self.acked <= self.next:
            self.gap_since = None
            return False
        return now - self.gap_since > GRACE

    def jump(self) -> None:
        """Give up what is missing, and go on behind it."""
        self.gap_since = None
        places = [place for place in (min(self.held, default=None), self.acked) if place is not None]
        target = min((place for place in places if place > self.next), default=None)
        if target is None:
            return
        self.reader.lost(target - self.next)
        self.next = target
        self._drain()

    def finish(self) -> None:
        """No more packets come: read what is held, and leave out what is missing."""
        for _ in range(MAX_HELD + 2):
            if self.whole:
                return
            before = self.next
            self.jump()
            if self.next == before:
                return

    def _take(self, data: bytes, size: int, ack: int, time: float) -> None:
        start = self.next
        self.next = start + size
        if data:
            self.reader.feed(data, start, ack, time)
        if len(data) < size:
            self.reader.lost(size - len(data))

    def _hold(self, start: int, data: bytes, size: int, ack: int, time: float) -> None:
        behind = self.next - start
        if behind > 0:
            start, data, size = self.next, data[behind:], size - behind
        known = self.held.get(start)
        if known is not None and known.size >= size:
            return
        self.held_bytes += len(data) - (0 if known is None else len(known.data))
        self.held[start] = Held(data, size, ack, time)

    def _drain(self) -> None:
        """Read what is held and due; segments may overlap each other."""
        while self.held:
            segment = self.held.pop(self.next, None)
            if segment is None:
                start = min(self.held)
                if start > self.next:
                    return
                segment = self.held.pop(start)
                self.held_bytes -= len(segment.data)
                behind = self.next - start
                if segment.size <= behind:
                    continue
                self._take(segment.data[behind:], segment.size - behind, segment.ack, segment.time)
                continue
            self.held_bytes -= len(segment.data)
            self._take(segment.data, segment.size, segment.ack, segment.time)
