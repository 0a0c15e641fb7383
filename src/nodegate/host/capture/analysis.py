"""From frames to counts: finds the connections to the ports, and keeps their number bounded."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable

from nodegate.host.capture.exchange import Conversation
from nodegate.host.capture.packets import SYN, Fragmented, Segment, segment_of
from nodegate.host.capture.pcapfile import Frame
from nodegate.host.capture.tally import Book

MAX_CONVERSATIONS = 20_000
LINGER = 5.0
"""Seconds for which a closed connection is kept: its last packets may come late."""
MAX_PORTS = 1000

Key = tuple[bytes, int, bytes, int]


class Analysis:
    """Counts what the frames hold. Time is that of the packets, in seconds since the epoch."""

    def __init__(
        self, ports: Iterable[int], *, keep: int = 100, conversations: int = MAX_CONVERSATIONS
    ) -> None:
        self.ports = frozenset(ports)
        self.book = Book(keep)
        self.open: dict[Key, Conversation] = {}
        self.packets = self.segments = self.fragments = self.cut = 0
        self.unknown_links: Counter[int] = Counter()
        self.other_ports: Counter[int] = Counter()
        self.first: float | None = None
        self.now = 0.0
        self._closing: deque[tuple[float, Key, Conversation]] = deque()
        self._limit = conversations

    def add(self, frames: Iterable[Frame]) -> None:
        """Count the frames."""
        for time, link, data in frames:
            self.packets += 1
            try:
                segment = segment_of(link, data)
            except Fragmented:
                self.fragments += 1
                continue
            except KeyError:
                self.unknown_links[link] += 1
                continue
            if segment is not None:
                self._segment(segment, time)

    def _segment(self, segment: Segment, time: float) -> None:
        source, source_port, target, target_port, seq, ack, flags, size, data = segment
        client = target_port in self.ports
        if client:
            key = (source, source_port, target, target_port)
        elif source_port in self.ports:
            key = (target, target_port, source, source_port)
        else:
            self._elsewhere(min(source_port, target_port))
            return
        self.segments += 1
        self.now = max(self.now, time)
        if self.first is None:
            self.first = time
        if len(data) < size:
            self.cut += 1
        found = self.open.get(key)
        if found is None or (flags & SYN and client and self._is_new(found, seq)):
            found = self._start(key, found)
        if client:
            found.from_client(seq, ack, flags, size, data, time)
        else:
            found.from_server(seq, ack, flags, size, data, time)
        if found.closed is not None:
            self._close(key, found)

    def finish(self) -> None:
        """The capture ends: what the connections still hold is read. What waits stays open."""
        for conversation in self.open.values():
            if conversation.fins:
                conversation.settle(self.now)
            else:
                conversation.finish()

    @property
    def unreadable(self) -> bool:
        """Whether there were frames, and none of a link type that is known."""
        return bool(self.unknown_links) and self.unknown_links.total() == self.packets

    def _elsewhere(self, port: int) -> None:
        if port in self.other_ports or len(self.other_ports) < MAX_PORTS:
            self.other_ports[port] += 1

    @staticmethod
    def _is_new(found: Conversation, seq: int) -> bool:
        """A SYN with another number than the last one starts another connection; one behind data that were
        captured before it does not."""
        return found.closed is not None or (found.started is not None and found.started != seq)

    def _start(self, key: Key, before: Conversation | None) -> Conversation:
        if before is not None:
            before.settle(self.now)
        elif len(self.open) >= self._limit:
            self._make_room()
        found = self.open[key] = Conversation(key[0], self.book)
        return found

    def _close(self, key: Key, conversation: Conversation) -> None:
        if not conversation.leaving:
            conversation.leaving = True
            self._closing.append((self.now, key, conversation))
        while self._closing and self.now - self._closing[0][0] > LINGER:
            _, key, conversation = self._closing.popleft()
            if self.open.get(key) is conversation:
                conversation.settle(self.now)
                del self.open[key]

    def _make_room(self) -> None:
        """Forget the tenth that was silent for longest; what waited there is counted as forgotten."""
        for key, found in heapq.nsmallest(
            max(1, self._limit // 10), self.open.items(), key=lambda item: item[1].last
        ):
            found.finish()
            self.book.forgotten += len(found.waiting())
            del self.open[key]
