"""What the first viewer would wait for, done while they type their password: pages built once, files compressed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Scope

from nodegate.dashboard.files import patient
from nodegate.dashboard.gate import NONCE, SESSION

_FILE = re.compile(r'"([^"\s]+/_nicegui/(?![^"]*/esm/)[^"\s]+\.(?:js|mjs|css))"')
"""Files that a page loads. Under `esm` are NiceGUI's large libraries, of which pages name all and load hardly one."""


async def warm(app: ASGIApp, paths: Iterable[str], session: str) -> int:
    """Ask `app` for the pages, as the session would, and for the files that they name; how many files that were."""
    names: set[str] = set()
    for path in paths:
        names |= set(_FILE.findall(await _get(app, path, session)))
        await asyncio.sleep(0)  # probes go on between two pages
    for name in sorted(names):
        await _get(app, name, session, (b"accept-encoding", b"gzip"))
    return len(names)


async def _get(app: ASGIApp, path: str, session: str, *headers: tuple[bytes, bytes]) -> str:
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0), SESSION: session, NONCE: "none",
    }  # fmt: skip
    body = bytearray()

    async def send(message: Message) -> None:
        body.extend(message.get("body", b""))

    await app(scope, patient(), send)
    return body.decode("utf-8", "replace")
