"""One connection between a client and the node: which answer belongs to which request, and which never came.

The rule for "never answered" does not trust the parsed answers, for a capture that lost one packet in a hundred
lacks thousands of them. Each request keeps the client's acknowledgement number from when it began: how much of the
server's bytes the client had. There is no answer if, and only if, no byte of the server exists behind that mark;
acknowledgements are cumulative, so that lost packets cannot hide that there was one.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from nodegate.host.capture.commands import MAX_EXCERPT, commands_of, has_reference
from nodegate.host.capture.http import AnswerParser, RequestParser
from nodegate.host.capture.packets import ACK, FIN, RST, SYN
from nodegate.host.capture.streams import Stream
from nodegate.host.capture.tally import Book, Request

MAX_OPEN = 1000
"""Requests of one connection that wait at once; older ones are forgotten."""
MAX_EARLY = 64
Side = Literal["client", "server"]


class Conversation:
    """One connection. `last` is the time of its latest packet; `closed` when it ended, None while it has not."""

    __slots__ = ("_book", "_client", "_down", "_early", "_exact", "_latest", "_reader_down", "_reader_up", "_up",
                 "closed", "fins", "last", "leaving", "open", "started")  # fmt: skip

    def __init__(self, client: bytes, book: Book) -> None:
        self._client = client
        self._book = book
        self._exact = True
        self._up: Stream | None = None
        self._down: Stream | None = None
        self._reader_up: RequestParser | None = None
        self._reader_down: AnswerParser | None = None
        self._early: deque[tuple[int, int, float]] = deque(maxlen=MAX_EARLY)
        self._latest: Request | None = None
        self.open: deque[Request] = deque()
        self.last = 0.0
        self.started: int | None = None
        self.closed: float | None = None
        self.leaving = False
        self.fins: dict[Side, float] = {}

    def from_client(self, seq: int, ack: int, flags: int, size: int, data: bytes, now: float) -> None:
        """A packet of the client came at `now`."""
        self.last = now
        if flags & SYN:
            self.started = seq
            seq += 1
        up = self._up or self._open_up(seq, synchronised=bool(flags & SYN))
        acked = 0
        if flags & ACK:
            down = self._down or self._open_down(ack, synchronised=bool(self.started is not None))
            acked = down.place(ack)
            down.acknowledged(acked, now)
            if down.gap_since is not None and down.overdue(now):
                down.jump()
        if size:
            up.segment(up.place(seq), data, size, acked, now)
        if flags & (FIN | RST):
            self._end("client", up.place(seq) + size, flags, now)
        if up.gap_since is not None and up.overdue(now):
            up.jump()

    def from_server(self, seq: int, ack: int, flags: int, size: int, data: bytes, now: float) -> None:
        """A packet of the server came at `now`."""
        self.last = now
        if flags & SYN:
            seq += 1
        down = self._down or self._open_down(seq, synchronised=bool(flags & SYN))
        if flags & ACK:
            up = self._up or self._open_up(ack, synchronised=bool(flags & SYN))
            up.acknowledged(up.place(ack), now)
            if up.gap_since is not None and up.overdue(now):
                up.jump()
        if not flags & RST:
            # The sequence number of an empty packet is evidence, too: the bytes before it exist.
            down.segment(down.place(seq), data, size, 0, now)
        if flags & (FIN | RST):
            self._end("server", down.place(seq) + size, flags, now)
        if down.gap_since is not None and down.overdue(now):
            down.jump()

    def finish(self) -> None:
        """No more packets of it come. Requests without an answer stay in `open`."""
        for stream in (self._up, self._down):
            if stream is not None:
                if not stream.whole:
                    self._exact = False
                stream.finish()
        self._sort_out()
        if self._reader_up is not None and self._reader_up.unfinished:
            self._book.unfinished += 1

    def settle(self, now: float) -> None:
        """`finish`, and write down what was never answered."""
        self.finish()
        how, when = self._outcome(now)
        for request in self.open:
            self._book.never_answered(request, how, max(0.0, when - request.began))
        self.open.clear()

    def waiting(self) -> list[Request]:
        """The requests without an answer so far."""
        return [request for request in self.open if not self._has_answer(request)]

    def _outcome(self, now: float) -> tuple[str, float]:
        if "client" in self.fins and self.fins["client"] <= self.fins.get("server", now):
            return "the client gave up", self.fins["client"]
        if "server" in self.fins:
            return "the node closed the connection", self.fins["server"]
        return "it waits", now

    def _end(self, side: Side, place: int, flags: int, now: float) -> None:
        stream = self._up if side == "client" else self._down
        if stream is not None and flags & FIN:
            stream.ended = place
        self.fins.setdefault(side, now)
        if flags & RST or len(self.fins) == 2:
            self.closed = now

    def _open_up(self, start: int, *, synchronised: bool) -> Stream:
        self._exact = self._exact and synchronised
        self._reader_up = RequestParser(synchronised=synchronised, loss=self._lossy, complete=self._asked)
        self._up = Stream(self._reader_up, start)
        return self._up

    def _open_down(self, start: int, *, synchronised: bool) -> Stream:
        self._exact = self._exact and synchronised
        self._reader_down = AnswerParser(
            synchronised=synchronised, loss=self._lossy, began=self._answer, ended=self._answer_ended,
            next_is_head=self._next_is_head,
        )  # fmt: skip
        self._down = Stream(self._reader_down, start)
        return self._down

    def _lossy(self) -> None:
        self._exact = False

    def _next_is_head(self) -> bool:
        return bool(self.open) and self.open[0].head

    def _asked(self, method: str, target: bytes, body: bytes, size: int, mark: int, time: float) -> None:
        request = Request(
            began=time, client=self._client, commands=commands_of(method, target, body), size=size, mark=mark,
            head=method == "HEAD", excerpt=body[: MAX_EXCERPT * 4], reference=has_reference(body),
        )  # fmt: skip
        self._book.asked(request)
        while self._early and self._early[0][0] < mark:
            self._early.popleft()
        if self._early:
            _place, status, when = self._early.popleft()
            self._book.answers_alone -= 1
            self._pair(request, status, when)
            return
        if len(self.open) >= MAX_OPEN:
            self.open.popleft()
            self._exact = False
            self._book.forgotten += 1
        self.open.append(request)

    def _answer(self, status: int, place: int, time: float) -> None:
        """An answer began at `place`. In a whole capture it is that of the oldest request; after loss, that of the
        latest request that can have it, and those before got theirs in what was lost."""
        if not self._exact:
            while len(self.open) > 1 and self.open[1].mark <= place:
                self._book.answered_unseen(self.open.popleft())
        if not self.open or self.open[0].mark > place:
            # Captures swap packets: the request may come behind its answer.
            self._exact = False
            self._early.append((place, status, time))
            self._book.answers_alone += 1
            self._latest = None
            return
        self._pair(self.open.popleft(), status, time)

    def _pair(self, request: Request, status: int, time: float) -> None:
        self._latest = request
        self._book.answer(request, status, max(0.0, time - request.began))

    def _answer_ended(self, size: int) -> None:
        if self._latest is not None:
            self._book.answer_ended(self._latest, size)
            self._latest = None

    def _has_answer(self, request: Request) -> bool:
        """Whether the ACK rule says so. One byte is no answer: it is the end of the server's stream, which counts
        one, where the capture lost the packet that says so."""
        if self._down is None or (self._exact and self._down.whole):
            return False
        return self._down.high > request.mark + 1

    def _sort_out(self) -> None:
        for _ in range(len(self.open)):
            request = self.open.popleft()
            if self._has_answer(request):
                self._book.answered_unseen(request)
            else:
                self.open.append(request)
