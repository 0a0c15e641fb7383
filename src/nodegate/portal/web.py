"""What every request of the portal passes: bounds, security headers, forms that this site gave out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from ipaddress import ip_address
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.errors import Malformed, Refused
from nodegate.model import Instant, Seconds
from nodegate.portal.places import within
from nodegate.portal.tokens import Purpose, Signer

MAX_BODY = 8192
"""Bytes of a form; the longest honest one has under 1,000."""
MAX_FIELDS = 10
READ_WITHIN = 10.0
MAX_FIELD = 1000
FORM_COOKIE = "nodegate_form"
SESSION_COOKIE = "nodegate_owner"
FORM_LIFE = Seconds(4 * 3600.0)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Links carry tokens: no other site must learn them.
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Frame:
    """Outermost: cuts the prefix under which a proxy shows the portal, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, *, base: str, secure: bool) -> None:
        self._app = app
        self._base = base
        self._headers = dict(HEADERS)
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is HTTP; there are no web sockets here."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        path: str = scope["path"]
        if self._base and (path == self._base or path.startswith(f"{self._base}/")):
            cut = path[len(self._base) :] or "/"
            scope = {**scope, "path": cut, "raw_path": cut.encode("utf-8", "replace"), "root_path": ""}
        await self._app(scope, receive, with_headers)


def client_of(request: Request, proxies: tuple[str, ...]) -> str:
    """Who asks: the peer, or what the last of our proxies says of the one before it."""
    place = request.client.host if request.client is not None else ""
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    while hops and _is_address(place) and within(place, proxies):
        if not _is_address(hops[-1]):
            break
        place = hops.pop()
    return place if _is_address(place) else "127.0.0.1"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form. Raises Malformed for anything else, for too much of it, and for one that does not
    arrive in time."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Malformed("This is not a form of this page.")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise Malformed("This form is too long.")
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except (TimeoutError, ValueError, ClientDisconnect) as error:
        raise Malformed("This form did not arrive whole.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or any(len(value) > MAX_FIELD for value in fields.values()):
        raise Malformed("This form was changed on its way.")
    return fields


class Forms:
    """Forms can only be sent by the browser that got them: what is signed in the form names the browser's
    cookie (double submit), which other sites can neither read nor set."""

    def __init__(self, signer: Signer, *, base: str, secure: bool) -> None:
        self._signer = signer
        self._path = f"{base}/"
        self._secure = secure

    def token(self, request: Request, now: Instant) -> tuple[str, str]:
        """The cookie, and the text for a form's hidden field."""
        cookie = request.cookies.get(FORM_COOKIE, "")
        if not 20 <= len(cookie) <= 64 or not cookie.isascii():
            cookie = secrets.token_urlsafe(24)
        return cookie, self._signer.sign(Purpose.FORM, cookie, secrets.token_hex(4), now=now, life=FORM_LIFE)

    def check(self, request: Request, fields: Mapping[str, str], now: Instant) -> None:
        """Raises Refused for a form that this browser did not get here, or that a page of another site sends: a
        neighbour in the same domain can set cookies here, but not what the browser says of itself."""
        cookie = request.cookies.get(FORM_COOKIE, "")
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise Refused("This form comes from another site. Please fill it in here.")
        words = "The form stood open for too long, or your browser keeps no cookies for this site. Please send it again."
        try:
            token = self._signer.read(Purpose.FORM, fields.get("form", ""))
        except Refused as error:
            raise Refused(words) from error
        if (
            not cookie
            or token.expired(now)
            or not secrets.compare_digest(token.subject.encode(), cookie.encode())
        ):
            raise Refused(words)

    def keep(self, response: Response, name: str, value: str, *, life: Seconds | None = None) -> None:
        """Set a cookie that no script and no other site's form gets at; life None: while the browser is open."""
        response.set_cookie(
            name, value, max_age=None if life is None else int(life), path=self._path, secure=self._secure,
            httponly=True, samesite="lax",
        )  # fmt: skip

    def drop(self, response: Response, name: str) -> None:
        """Forget a cookie."""
        response.delete_cookie(name, path=self._path, secure=self._secure, httponly=True, samesite="lax")


def html(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """A page."""
    return HTMLResponse(text, status, headers)


def static(path: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler for a file that comes with the package."""
    content = files("nodegate.portal").joinpath("static", path.removeprefix("/")).read_bytes()

    async def serve(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=3600"})

    return serve


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
