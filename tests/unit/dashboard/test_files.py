"""What stands between NiceGUI and the browser: files kept and packed, pages packed and with their nonce."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.dashboard.files import Files, Nonces
from nodegate.dashboard.gate import NONCE, SESSION
from nodegate.dashboard.warm import warm

SCRIPT = "console.log('x');" * 200
PAGE = (
    '<html><script>let a = 1;</script><style>@import url("/ui/_nicegui/1/static/a.css") layer(x);</style>'
    '<script type="importmap">{"imports": {"vue": "/ui/_nicegui/1/vue.js"}}</script>'
    '<script src="/ui/_nicegui/1/b.mjs"></script><a href="/ui/nodes">&lt;script</a></html>'
)


class Pages:
    """NiceGUI's side: counts what reaches it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sessions: set[object] = set()
        self.app = Starlette(routes=[Route("/{path:path}", self.answer)])

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        self.sessions.add(request.scope.get(SESSION))
        if path == "/ui/_nicegui/1/missing.js":
            return PlainTextResponse("no", 404)
        if path.startswith("/ui/_nicegui/"):
            return Response(SCRIPT, media_type="text/javascript", headers={"ETag": '"1"'})
        return HTMLResponse(PAGE)


class Slow:
    """Sends a file in two parts, and stops after the first one if who asked has gone, as servers of files do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def halves(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            half = len(message["body"]) // 2
            await send({**message, "body": message["body"][:half], "more_body": True})
            listening = asyncio.ensure_future(receive())
            for _ in range(3):
                await asyncio.sleep(0)  # whoever has gone is heard within a turn
            gone = listening.done()
            listening.cancel()
            if not gone:
                await send({**message, "body": message["body"][half:]})

        await receive()
        await self._app(scope, receive, halves)


def browser(app: ASGIApp, **headers: str) -> httpx.AsyncClient:
    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, NONCE: "n0nce"}, receive, send)

    return httpx.AsyncClient(
        transport=httpx.ASGITransport(gate),
        base_url="http://127.0.0.1",
        headers={"Accept-Encoding": "gzip"} | headers,
    )


async def test_a_file_is_packed_once_kept_and_told_to_be_kept() -> None:
    pages = Pages()
    async with browser(Files(pages.app)) as client:
        first = await client.get("/ui/_nicegui/1/vue.js")
        again = await client.get(
            "/ui/_nicegui/1/vue.js", headers={"If-None-Match": '"1"', "Range": "bytes=0-1"}
        )
        assert first.text == again.text == SCRIPT
        assert (first.headers["content-encoding"], first.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert int(first.headers["content-length"]) < len(SCRIPT) / 10
        assert "immutable" in again.headers["cache-control"]
        plain = await client.get("/ui/_nicegui/1/vue.js", headers={"Accept-Encoding": "identity"})
        assert ("content-encoding" in plain.headers, plain.text) == (False, SCRIPT)
        for _ in range(2):
            assert (await client.get("/ui/_nicegui/1/missing.js")).status_code == 404
    assert pages.asked == ["/ui/_nicegui/1/vue.js"] * 2 + ["/ui/_nicegui/1/missing.js"] * 2


async def test_a_browser_that_goes_away_leaves_no_half_file_for_the_next_one() -> None:
    pages = Pages()
    files = Files(Slow(pages.app))
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        """Nobody reads it."""

    scope = {
        "type": "http", "method": "GET", "path": "/ui/_nicegui/1/vue.js", "raw_path": b"", "query_string": b"",
        "headers": [(b"accept-encoding", b"gzip")], "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    await files(scope, receive, send)
    async with browser(files) as client:
        assert (await client.get("/ui/_nicegui/1/vue.js")).text == SCRIPT


async def test_a_page_has_its_nonce_in_its_scripts_and_nowhere_else_and_is_packed() -> None:
    async with browser(Nonces(Pages().app)) as client:
        page = await client.get("/ui/")
        assert page.headers["content-encoding"] == "gzip"
        assert page.text == PAGE.replace("<script", '<script nonce="n0nce"')
        assert "&lt;script</a>" in page.text
        plain = await client.get("/ui/", headers={"Accept-Encoding": "identity"})
        assert plain.text == page.text
        assert int(plain.headers["content-length"]) == len(page.text)


async def test_what_the_first_viewer_needs_is_ready_before_they_come() -> None:
    pages = Pages()
    files = Files(Nonces(pages.app))
    assert await warm(files, ["/ui/", "/ui/nodes"], "a-session") == 3
    named = ["/ui/_nicegui/1/b.mjs", "/ui/_nicegui/1/static/a.css", "/ui/_nicegui/1/vue.js"]
    assert pages.asked == ["/ui/", "/ui/nodes", *named]
    assert pages.sessions == {"a-session"}
    async with browser(files) as client:
        for name in named:
            assert (await client.get(name)).text == SCRIPT
    assert pages.asked == ["/ui/", "/ui/nodes", *named]
