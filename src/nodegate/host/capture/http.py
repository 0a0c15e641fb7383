"""HTTP/1.x in the two directions of a connection, by httptools. Each parser survives loss: it goes on within a body
of known length, else it waits for a segment that begins like a message."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import httptools

from nodegate.host.capture.commands import MAX_BODY

REQUEST_START = re.compile(rb"(?:GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH) \S")
ANSWER_START = re.compile(rb"HTTP/1\.[01] [1-5]\d\d")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})[ \t]*\r\n", re.IGNORECASE)
OFFER = re.compile(rb"\r\nupgrade(?=:[ \t]*h2c)", re.IGNORECASE)
IGNORED = b"\r\nx-grade"
"""An offer of HTTP/2, which Java's client makes with its first request. Nodes decline it, but the parser would take
the body for the other protocol."""
EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"
MAX_HEAD = 65536
SWITCHING = 101
MAX_FILL = 8 << 20
"""Bytes of a body that are made up where the capture lost them; after more, the parser starts afresh."""


class _Parser(ABC):
    """What both directions share: feeding, and coming to terms with loss.

    `loss` is called when something was missed, so that counting messages proves nothing any more.
    """

    __slots__ = ("_after_head", "_body", "_chunk", "_deaf", "_first", "_head_chunk", "_inside", "_lost", "_parser",
                 "loss")  # fmt: skip
    _begins: re.Pattern[bytes]

    def __init__(self, *, synchronised: bool, loss: Callable[[], None]) -> None:
        self.loss = loss
        self._lost = not synchronised
        self._deaf = False
        self._afresh()

    @abstractmethod
    def _new(self) -> Any:
        """A parser of httptools that calls this object."""

    def _afresh(self) -> None:
        self._parser = self._new()
        self._inside = self._after_head = self._first = False
        self._body = 0
        self._chunk = self._head_chunk = b""

    def _feed(self, data: bytes) -> None:
        """Raises nothing: what is no HTTP is passed over until something begins like it."""
        if self._deaf:
            return
        if self._lost:
            if self._begins.match(data) is None:
                return
            self._lost = False
            self._afresh()
        self._chunk = data
        self._first = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            raise  # a fault of this module, not of the bytes
        except httptools.HttpParserError:
            self._give_up()

    def _give_up(self) -> None:
        self._lost = True
        self.loss()

    def lost(self, count: int) -> None:
        """See Reader."""
        if self._lost or self._deaf:
            return
        self.loss()
        if self._inside and self._after_head and count <= MAX_FILL and self._body_left() >= count:
            self._fill(count)
            return
        self._lost = True
        self._interrupted()

    def _body_left(self) -> int:
        """Bytes of the body that are still to come, negative or 0 when that is not known."""
        found = LENGTH.search(self._head_chunk)
        return -1 if found is None else int(found[1]) - self._body

    @abstractmethod
    def _upgraded(self, rest: bytes) -> None:
        """A message asked for another protocol; `rest` stands behind it."""

    def _fill(self, count: int) -> None:
        try:
            self._parser.feed_data(bytes(count))
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._lost = True

    @abstractmethod
    def _interrupted(self) -> None:
        """The rest of a message is not to be had."""


class RequestParser(_Parser):
    """Calls `complete(method, target, body, body size, mark, time)` for each request.

    `mark` is what the client had of the server's bytes when the request began; when it waited for
    `100 Continue`, when the request ended.
    """

    __slots__ = ("_ack", "_kept", "_mark", "_method", "_target", "_time", "complete")
    _begins = REQUEST_START

    def __init__(
        self,
        *,
        synchronised: bool,
        loss: Callable[[], None],
        complete: Callable[[str, bytes, bytes, int, int, float], None],
    ) -> None:
        self.complete = complete
        self._ack, self._time, self._mark = 0, 0.0, 0
        super().__init__(synchronised=synchronised, loss=loss)

    def _new(self) -> Any:
        self._kept: list[bytes] = []
        self._target = b""
        self._method = ""
        return httptools.HttpRequestParser(self)

    def feed(self, data: bytes, start: int, ack: int, time: float) -> None:
        """See Reader."""
        self._ack = ack
        self._time = time
        if not self._after_head and b"h2c" in data:
            data = OFFER.sub(IGNORED, data)
        self._feed(data)

    @property
    def unfinished(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._inside and not self._lost

    def on_message_begin(self) -> None:
        self._inside = True
        self._after_head = False
        self._mark = self._ack
        self._target = b""
        self._body = 0
        self._kept = []

    def on_url(self, url: bytes) -> None:
        if len(self._target) < 512:
            self._target += url

    def on_headers_complete(self) -> None:
        self._after_head = True
        self._head_chunk = self._chunk
        self._method = self._parser.get_method().decode("latin-1")

    def on_body(self, body: bytes) -> None:
        if self._body < MAX_BODY:
            self._kept.append(body)
        self._body += len(body)

    def on_message_complete(self) -> None:
        self._inside = self._after_head = False
        self._done()

    def _done(self) -> None:
        kept = self._kept
        body = kept[0] if len(kept) == 1 else b"".join(kept)
        apart = self._head_chunk is not self._chunk
        mark = self._ack if apart and EXPECT.search(self._head_chunk) else self._mark
        self.complete(self._method, self._target, body[:MAX_BODY], self._body, mark, self._time)
        self._kept = []

    def _upgraded(self, rest: bytes) -> None:
        # The server may say no, and the client goes on in HTTP/1.1.
        self._afresh()
        if rest:
            self._feed(rest)

    def _interrupted(self) -> None:
        if self._inside and self._after_head:
            self._inside = False
            self._done()


class AnswerParser(_Parser):
    """Calls `began(status, position, time)` when the headers of an answer are complete, and `ended(body size)`.

    `next_is_head` says whether the answer that comes next is one to a HEAD request, which has no body whatever its
    headers say; httptools cannot be told.
    """

    __slots__ = ("_end", "_final", "_head", "_place", "_start", "_time", "began", "ended", "next_is_head")
    _begins = ANSWER_START

    def __init__(
        self,
        *,
        synchronised: bool,
        loss: Callable[[], None],
        began: Callable[[int, int, float], None],
        ended: Callable[[int], None],
        next_is_head: Callable[[], bool],
    ) -> None:
        self.began = began
        self.ended = ended
        self.next_is_head = next_is_head
        self._time = 0.0
        self._end = self._place = self._start = 0
        self._final = False
        super().__init__(synchronised=synchronised, loss=loss)

    def _new(self) -> Any:
        self._head = b""
        return httptools.HttpResponseParser(self)

    def feed(self, data: bytes, start: int, ack: int, time: float) -> None:
        """See Reader."""
        self._start = start
        self._end = start + len(data)
        self._time = time
        if not self._inside and (self._head or self.next_is_head()) and not self._deaf:
            self._feed_head(data)
        else:
            self._feed(data)

    def on_message_begin(self) -> None:
        self._inside = True
        self._after_head = False
        self._place = self._start if self._first else self._end - 1
        self._first = False
        self._body = 0

    def on_headers_complete(self) -> None:
        self._after_head = True
        self._head_chunk = self._chunk
        status = self._parser.get_status_code()
        self._final = status >= 200 or status == SWITCHING
        if self._final:
            self.began(status, self._place, self._time)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)

    def on_message_complete(self) -> None:
        self._inside = False
        if self._final:
            self.ended(self._body)

    def _upgraded(self, rest: bytes) -> None:
        self._deaf = True
        self.loss()

    def _interrupted(self) -> None:
        self._inside = False

    def _feed_head(self, data: bytes) -> None:
        """An answer without a body: take its head by hand, and give the rest to the parser."""
        if self._lost and self._begins.match(data) is None and not self._head:
            return
        self._lost = False
        whole = self._head + data
        end = whole.find(HEAD_END)
        if end < 0:
            self._head = whole if len(whole) <= MAX_HEAD else b""
            return
        self._afresh()
        if self._begins.match(whole) is None:
            self._give_up()
            return
        status = int(whole[9:12])
        rest = whole[end + len(HEAD_END) :]
        if status >= 200:
            self.began(status, self._end - len(rest) - 1, self._time)
        if rest:
            self.feed(rest, self._end - len(rest), 0, self._time)
