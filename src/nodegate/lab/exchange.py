"""A client's HTTP/1.1 connection that does nothing by itself: no retry, no redirect, no pool."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nodegate.errors import Malformed

_MAX_BODY: Final = 64 * 1024 * 1024
_MAX_HEAD: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a client connects to."""

    host: str
    port: int
    path: str
    name: str  # for the Host header
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ClientConnection:
    """One connection that is opened when it is needed and kept as long as the server keeps it."""

    def __init__(self, target: Target, *, without_body: bool) -> None:
        self._target = target
        self._without_body = without_body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, head: bytes, body: bytes) -> Answer:
        """Send one request and read its answer. Raises OSError, EOFError or Malformed."""
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # closed by the server while nothing was under way: no request is lost
        if self._streams is None:
            target = self._target
            self._streams = await asyncio.open_connection(
                target.host, target.port, ssl=target.tls, limit=_MAX_HEAD
            )
        reader, writer = self._streams
        writer.write(head + body)
        answer, keep = await read_answer(reader, without_body=self._without_body)
        if not keep:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_answer(reader: asyncio.StreamReader, *, without_body: bool) -> tuple[Answer, bool]:
    """One response, and whether the connection can be used again."""
    status, headers = 100, dict[str, str]()
    while 100 <= status < 200:
        status, headers = _parsed_head(await reader.readuntil(b"\r\n\r\n"))
    keep = "close" not in headers.get("connection", "").lower()
    if without_body or status in {204, 304}:
        body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(_length(headers["content-length"], 10))
    else:
        body, keep = await reader.read(_MAX_BODY), False
    return Answer(status=status, headers=headers, body=body), keep


def _parsed_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if (
        len(parts) < 2
        or not parts[0].startswith("HTTP/1.")
        or not (parts[1].isascii() and parts[1].isdigit())
    ):
        raise Malformed("not an HTTP/1 answer")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(parts[1]), headers


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = (await reader.readuntil(b"\r\n")).decode("latin-1")
        size = _length(line.partition(";")[0].strip(), 16)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return bytes(body)
        body += (await reader.readexactly(size + 2))[:-2]
        if len(body) > _MAX_BODY:
            raise Malformed("the answer is too large")


def _length(text: str, base: int) -> int:
    try:
        length = int(text, base)
    except ValueError as error:
        raise Malformed("a length that is not a number") from error
    if not 0 <= length <= _MAX_BODY:
        raise Malformed("the answer is too large")
    return length
