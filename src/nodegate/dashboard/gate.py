"""The way in: login, session, origin and headers, before anything of a page is looked at.

All of `/ui` comes through here. Only the login page is open; a page, a file or a WebSocket needs a session,
a form or a WebSocket must come from a page of our own, and nothing but the two forms may be posted.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import parse_qs, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.dashboard import login
from nodegate.dashboard.farewell import say_farewell
from nodegate.dashboard.headers import COMMON, page_policy, plain_policy, same_origin
from nodegate.dashboard.passwords import Passwords
from nodegate.dashboard.roles import Role
from nodegate.dashboard.sessions import Session, Sessions
from nodegate.dashboard.throttle import Throttle
from nodegate.errors import Unavailable

log = logging.getLogger("nodegate.dashboard")

PREFIX = "/ui"
SOCKET = "/ui/_nicegui_ws/"
FILES = "/ui/_nicegui/"
SESSION = "nodegate.session"
"""Where the session's id stands in the scope of a page."""
NONCE = "nodegate.nonce"
MAX_FORM = 8192
"""Bytes of a form: a password and a path."""
TOKEN = "token"  # noqa: S105 -- the name of a proof, not a token
AT_ONCE = 2
"""Passwords that are looked at together; each takes 64 MiB and a tenth of a second."""
QUIET = ("2", "3", "40", '42["ack"', '42["handshake"', '42["log"', '42["javascript_response"')
"""Beginnings of what a browser sends by itself: pings, the handshake, receipts. All else is a click."""

Now = Callable[[], float]


class Pages(Protocol):
    """What stands behind the gate."""

    async def ready(self) -> ASGIApp:
        """The pages, loaded when they are first wanted."""
        ...

    def expected(self) -> None:
        """Somebody is about to log in."""
        ...


class Gate:
    """One ASGI application for `/ui`."""

    def __init__(
        self, pages: Pages, *, sessions: Sessions, passwords: Passwords, token: str, now: Now, longest: float
    ) -> None:
        self._pages = pages
        self._sessions = sessions
        self._passwords = passwords
        self._token = token.encode()
        self._now = now
        self._longest = int(longest)
        self._throttle = Throttle()
        self._hashing = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope[NONCE] = nonce
        request = Request(scope, receive)
        answer = await self._answer(request, nonce)
        if answer is None:
            policy = page_policy(nonce, request.headers.get("host", ""))
            await self._page(scope, receive, _with_headers(send, policy))
        else:
            await answer(scope, receive, _with_headers(send, plain_policy(nonce)))

    async def _answer(self, request: Request, nonce: str) -> Response | None:
        """Our own answer, None when a page is to answer."""
        path, method = request.scope["path"], request.method
        forms = {login.LOGIN: self._log_in, f"{PREFIX}/logout": self._log_out}
        if method == "POST" and path in forms:
            if not same_origin(request.headers):
                return _plain("this form does not come from the dashboard itself", 403)
            return await forms[path](request, nonce)
        if method not in {"GET", "HEAD"}:
            return _plain("there is nothing to send here", 405)
        session = self._session(request)
        if path == login.LOGIN:
            self._pages.expected()
            return self._form(request, nonce) if session is None else RedirectResponse(login.HERE, 303)
        if path == PREFIX:
            return RedirectResponse(login.HERE, 303)
        if session is None:
            return self._stranger(request, nonce)
        if path.startswith(SOCKET):
            return _plain("pages speak by WebSocket", 400)
        if not path.startswith(FILES):
            self._sessions.touch(session.id, self._now())
        request.scope[SESSION] = session.id
        return None

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        # NiceGUI would write this header's text into the page.
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-forwarded-prefix"]
        await (await self._pages.ready())(scope, receive, send)

    def _stranger(self, request: Request, nonce: str) -> Response:
        if request.headers.get("sec-fetch-site") == "cross-site" and _navigates(request):
            return HTMLResponse(login.again_page(nonce))
        if not _navigates(request):
            return _plain("log in first", 401)
        query = f"?{request.url.query}" if request.url.query else ""
        following = quote(request.scope["path"] + query, safe="/")
        ended = "&expired" if _cookie(request) in request.cookies else ""
        return RedirectResponse(f"{login.LOGIN}?next={following}{ended}", 303)

    def _form(
        self, request: Request, nonce: str, message: str = "", status: int = 200, following: str | None = None
    ) -> Response:
        following = login.local_path(request.query_params.get("next", "") if following is None else following)
        if "expired" in request.query_params and not message:
            message = "Your session has ended. Please log in again."
        text = login.login_page(nonce=nonce, following=following, message=message, hint=self._hint())
        return HTMLResponse(text, status)

    def _hint(self) -> str:
        try:
            known = bool(self._passwords.hashes())
        except Unavailable:
            known = False
        if known:
            return (
                "The admin token is in the file `token` of the state directory; `nodegate token` prints it."
            )
        return (
            "No password is set yet: `nodegate password set` sets one. Until then the admin token opens it; "
            "`nodegate token` prints it."
        )

    async def _log_in(self, request: Request, nonce: str) -> Response:
        form = await _form_of(request)
        if form is None:
            return _plain("the form is too large, or did not arrive whole", 413)
        client = request.client.host if request.client is not None else ""
        following = form.get("next", "")
        password = form.get("password", "").strip()
        # 256 random bits need no brake, so that whoever has the token gets in while others guess passwords.
        if secrets.compare_digest(password.encode(), self._token):
            return self._welcome(request, Role.OPERATOR, TOKEN, following)
        now = self._now()
        if wait := self._throttle.wait(client, now):
            answer = self._form(request, nonce, f"Too many tries. Please wait {wait:.0f} s.", 429, following)
            answer.headers["Retry-After"] = str(int(wait) + 1)
            return answer
        self._throttle.failed(client, now)
        try:
            async with self._hashing:
                role = await asyncio.to_thread(self._passwords.role_of, password)
            proof = self._passwords.hashes().get(role, "") if role is not None else ""
        except Unavailable as error:
            log.error("%s", error)
            return self._form(
                request, nonce, "The passwords cannot be read; the log says why.", 503, following
            )
        if role is None:
            log.warning("a login to the dashboard failed, from %s", client)
            return self._form(
                request, nonce, "That is neither a password nor the admin token.", 401, following
            )
        self._throttle.succeeded(client)
        return self._welcome(request, role, proof, following)

    def _welcome(self, request: Request, role: Role, proof: str, following: str) -> Response:
        if (former := self._session(request)) is not None:
            self._sessions.end(former.id)
        answer = RedirectResponse(login.local_path(following), 303)
        answer.set_cookie(
            _cookie(request), self._sessions.begin(role, proof, self._now()), path=PREFIX, httponly=True,
            samesite="strict", secure=request.url.scheme == "https", max_age=self._longest,
        )  # fmt: skip
        client = request.client.host if request.client is not None else "unknown"
        log.info("%s logged in to the dashboard, from %s", role.value, client)
        return answer

    async def _log_out(self, request: Request, nonce: str) -> Response:
        if (session := self._session(request)) is not None:
            self._sessions.end(session.id)
        answer = RedirectResponse(login.LOGIN, 303)
        answer.delete_cookie(_cookie(request), path=PREFIX, httponly=True, samesite="strict")
        return answer

    def _session(self, connection: HTTPConnection) -> Session | None:
        value = connection.cookies.get(_cookie(connection))
        return None if value is None else self._sessions.of_cookie(value, self._now())

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page's WebSocket: it ends with its session, and what comes through it is a sign of life."""
        connection = HTTPConnection(scope)
        session = self._session(connection)
        ours = scope["path"].startswith(SOCKET) and same_origin(connection.headers)
        if ours and session is None and _cookie(connection) in connection.cookies:
            await say_farewell(receive, send)
            return
        if session is None or not ours:
            await send({"type": "websocket.close", "code": 1008})
            return
        name = session.id

        async def watched() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            if (message.get("text") or "").startswith(QUIET):
                return message  # also after the session's end: the page is about to be sent to the login
            if self._sessions.get(name, self._now()) is None:
                return {"type": "websocket.disconnect", "code": 1008}
            self._sessions.touch(name, self._now())
            return message

        await (await self._pages.ready())(scope, watched, send)


def _cookie(connection: HTTPConnection) -> str:
    """Cookies know no ports: gateways on one host must not log each other's operators out."""
    server = connection.scope.get("server")
    return f"nodegate_{server[1] if server else 0}"


def _navigates(request: Request) -> bool:
    """Whether a person goes to a page, and not a page to its files."""
    return not request.scope["path"].startswith((FILES, SOCKET))


def _with_headers(send: Send, policy: str) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            for name, value in COMMON.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


async def _form_of(request: Request) -> dict[str, str] | None:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM:
                return None
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    except (ClientDisconnect, ValueError):  # gone, or too many fields
        return None
    return {name: values[0] for name, values in fields.items()}


def _plain(text: str, status: int) -> Response:
    return Response(text + "\n", status, media_type="text/plain; charset=utf-8")
