"""HTTP/1.1 on the server's side, as far as a simulated node needs it. Pure: bytes in, requests out.

Written by hand because a lab serves thousands of nodes from one core and has to break its own answers in ways
that a web framework prevents (half a body, garbage on the wire, a reset between two requests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from nodegate.errors import Malformed

MAX_HEAD: Final = 1024 * 1024  # Undertow's default for all headers together
MAX_BODY: Final = 64 * 1024 * 1024  # nodes have no bound of their own; this one keeps the lab's memory safe
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One whole request. Header names are in lower case; of a repeated header the last value counts."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool
    length: int | None  # None: chunked


class RequestReader:
    """Collects bytes until requests are whole. Once `malformed` is set the rest of the stream means nothing;
    requests that were whole before it are still good."""

    def __init__(self) -> None:
        self.malformed: Malformed | None = None
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks = bytearray()
        self._asked_to_continue = False

    def feed(self, data: bytes) -> list[Request]:
        """The requests that `data` completes, in order."""
        found: list[Request] = []
        if self.malformed is not None:
            return found
        self._buffer += data
        try:
            while (request := self._next()) is not None:
                found.append(request)
        except Malformed as malformed:
            self.malformed = malformed
        return found

    def continue_wanted(self) -> bytes:
        """What to send to a client that waits for permission to send its body; empty when none does."""
        wanted, self._asked_to_continue = self._asked_to_continue, False
        return _CONTINUE if wanted else b""

    def _next(self) -> Request | None:
        if self._head is None and not self._read_head():
            return None
        head = self._head
        assert head is not None
        body = self._chunked() if head.length is None else self._sized(head.length)
        if body is None:
            return None
        self._head = None
        self._asked_to_continue = False
        return Request(
            method=head.method,
            target=head.target,
            headers=head.headers,
            body=body,
            keep_alive=head.keep_alive,
        )

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):  # an empty line before a request is to be ignored
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Malformed("headers are too large")
            return False
        text = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 4]
        self._head = _parsed_head(text)
        self._asked_to_continue = self._head.headers.get("expect", "").lower() == "100-continue"
        return True

    def _sized(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunked(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise Malformed("chunk size line is too long")
                return None
            size = _chunk_size(self._buffer[:end].decode("latin-1"))
            if len(self._chunks) + size > MAX_BODY:
                raise Malformed("body is too large")
            if size == 0:
                return self._last_chunk(end)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise Malformed("chunk does not end where it says")
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]

    def _last_chunk(self, end: int) -> bytes | None:
        """The whole body, once the trailer (which is thrown away) is there too."""
        if self._buffer[end : end + 4] == b"\r\n\r\n":
            after = end + 4
        else:
            closing = self._buffer.find(b"\r\n\r\n", end)
            if closing < 0:
                return None
            after = closing + 4
        del self._buffer[:after]
        body, self._chunks = bytes(self._chunks), bytearray()
        return body


def _parsed_head(text: str) -> _Head:
    first, _, rest = text.partition("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or parts[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Malformed("not an HTTP/1 request line")
    headers: dict[str, str] = {}
    for line in rest.split("\r\n") if rest else ():
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed("not a header line")
        lowered, stripped = name.lower(), value.strip()
        if lowered == "content-length" and headers.get(lowered, stripped) != stripped:
            raise Malformed("two lengths for one body")
        headers[lowered] = stripped
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if parts[2] == "HTTP/1.1" else "keep-alive" in connection
    return _Head(
        method=parts[0],
        target=parts[1],
        headers=headers,
        keep_alive=keep_alive,
        length=_body_length(headers),
    )


def _body_length(headers: Mapping[str, str]) -> int | None:
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise Malformed("a transfer coding other than chunked")
        return None
    text = headers.get("content-length", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Malformed("content length is not a number")
    if int(text) > MAX_BODY:
        raise Malformed("body is too large")
    return int(text)


def _chunk_size(line: str) -> int:
    digits = line.partition(";")[0].strip()
    if not digits or len(digits) > 8 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise Malformed("chunk size is not a hexadecimal number")
    return int(digits, 16)


def head(status: int, headers: Mapping[str, str], length: int, *, keep_alive: bool) -> bytes:
    """The head of a response whose body has `length` bytes."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {length}")
    lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
