"""NiceGUI's own files, compressed once and not at each request: they never change within one version."""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.dashboard.gate import FILES, NONCE
from nodegate.dashboard.headers import ASSETS

SMALLEST = 500
"""Bytes from which on compressing pays."""
LARGEST = 4_000_000
"""Bytes of one file that are kept; the largest one that a page loads has 1.1 MB."""
FAST = 4
"""Level for pages, which are packed at each request; files are packed once, as small as can be."""
KEPT = 256
"""Files that are kept at most; a page loads about forty."""
PACKED = ("text/", "application/json", "application/javascript", "image/svg")


class Files:
    """Answers from memory what was asked before; the first time the files' own application does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: dict[tuple[str, bool], tuple[int, list[tuple[bytes, bytes]], bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a file, or pass a page on."""
        if scope["type"] != "http" or not scope["path"].startswith(FILES):
            await self._app(scope, receive, send)
            return
        packs = _packs(scope)
        key = (scope["path"], packs)
        if key not in self._kept:
            status, headers, body = await self._fetch(scope, packs)
            if status != 200 or len(self._kept) >= KEPT or len(body) > LARGEST:
                await _give(send, status, headers, body)
                return
            self._kept[key] = (status, headers, body)
        await _give(send, *self._kept[key], head=scope["method"] == "HEAD")

    async def _fetch(self, scope: Scope, packs: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The whole answer of the files' own application. A conditional or partial request is made a plain one. It
        does not end with the browser that asked: half a file would be kept for everybody."""
        names = (b"if-none-match", b"if-modified-since", b"range", b"accept-encoding")
        plain = [pair for pair in scope["headers"] if pair[0] not in names]
        start: dict[str, object] = {}
        body = bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app({**scope, "method": "GET", "headers": plain}, patient(), take)
        message: Message = {"headers": [], **start}
        headers = MutableHeaders(scope=message)
        status, content = int(str(start.get("status", 500))), bytes(body)
        if status == 200:
            headers["Cache-Control"] = ASSETS
            headers["Vary"] = "Accept-Encoding"
            if packs and len(content) >= SMALLEST and headers.get("content-type", "").startswith(PACKED):
                content = await asyncio.to_thread(gzip.compress, content, 9, mtime=0)
                headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(content))
        return status, headers.raw, content


def patient() -> Receive:
    """Who asks for something without a body, and stays until the answer is there."""
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # for ever: it is cancelled once the answer is there
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


class Nonces:
    """Gives each script of a page the page's nonce, and packs the page. Text of ours never stands in a script
    unescaped: NiceGUI writes `<` as an entity, so that only its own template has script tags."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Rewrite pages, pass on all else."""
        nonce = scope.get(NONCE)
        if scope["type"] != "http" or nonce is None:
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def take(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    content = bytes(body).replace(b"<script", b'<script nonce="' + nonce.encode() + b'"')
                    headers = MutableHeaders(scope=start)
                    if _packs(scope):
                        content = gzip.compress(content, FAST, mtime=0)
                        headers["Content-Encoding"] = "gzip"
                    headers["Vary"] = "Accept-Encoding"
                    headers["Content-Length"] = str(len(content))
                    await send(start)
                    await send({**message, "body": content})

        await self._app(scope, receive, take)


def _packs(scope: Scope) -> bool:
    """Whether the browser takes gzip."""
    return "gzip" in Headers(scope=scope).get("accept-encoding", "")


def _is_page(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/html")


async def _give(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, head: bool = False
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b"" if head else body})
