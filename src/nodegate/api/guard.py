"""What every request must pass before any of it is looked at: host, token, size, content type.

One ASGI middleware, so that nothing of the framework runs for a caller who may not be there. The API has
no CORS headers on purpose: no web page is meant to call it.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.api.errors import answer
from nodegate.api.headers import SECURITY_HEADERS

MAX_BODY = 65_536
"""Bytes of one request body; a node's record has a few hundred."""

OPEN = frozenset({"/healthz", "/readyz", "/api/docs", "/api/openapi.json"})
"""Paths without a token: probes of a service manager, and the documentation, which knows nothing of the fleet."""


class Guard:
    """Refuses with 421, 401, 415 or 413, and puts the security headers on every answer.

    `doors` are applications by the first segment of their paths that ask who comes by themselves (the
    dashboard does, by a session). Only the Host is checked for them; WebSockets lead nowhere else.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, admin: str, doors: Mapping[str, ASGIApp] | None = None
    ) -> None:
        if not token:
            raise ValueError("the admin API needs a token")
        self._app = app
        self._token = token.encode()
        self._listener = _host_of(admin)
        self._doors = dict(doors or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        door = self._doors.get(scope["path"].split("/", 2)[1]) if scope["path"].startswith("/") else None
        if scope["type"] != "http":
            known = self._knows(Headers(scope=scope).get("host", ""))
            await (door if door is not None and known else _hang_up)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if door is not None and self._knows(headers.get("host", "")):
            await door(scope, receive, with_headers)
            return
        refusal = self._refusal(scope, headers)
        if refusal is None and _sends_body(headers):
            body = await _read(receive, MAX_BODY)
            if body is None:
                refusal = answer(413, f"the body is over {MAX_BODY} bytes", headers={"Connection": "close"})
            else:
                receive = _replay(body, receive)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._knows(headers.get("host", "")):
            return answer(
                421,
                "this Host is not one of mine; ask by IP address, as localhost, or by the name in gateway.admin",
            )
        if scope["path"] not in OPEN and not self._admits(headers.get("authorization", "")):
            return answer(
                401,
                "send the admin token as `Authorization: Bearer TOKEN`; it is in the file `token` of the state directory",
                headers={"WWW-Authenticate": 'Bearer realm="nodegate"'},
            )
        if _sends_body(headers) and not _is_json(headers.get("content-type", "")):
            return answer(415, "send JSON, with `Content-Type: application/json`")
        return None

    def _admits(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1", "replace")
        return scheme.lower() == "bearer" and secrets.compare_digest(given, self._token)

    def _knows(self, host: str) -> bool:
        """Against DNS rebinding: a name that an attacker points at the loopback is not ours.

        Where the listener is open to other machines, any name may be its proper one; the token guards.
        """
        name = _host_of(host)
        return name in {"localhost", self._listener} or _is_address(name) or not _is_loopback(self._listener)


async def _hang_up(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a WebSocket that leads nowhere: before it is accepted, a close is a 403."""
    await send({"type": "websocket.close", "code": 1008})


def _host_of(authority: str) -> str:
    """`HOST:PORT`, `[IPV6]:PORT` or either without port → the host, lower-cased, without brackets."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0].removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _sends_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The whole body, None as soon as it is over `limit` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what really comes (the disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
