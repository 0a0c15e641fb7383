"""The dashboard as the daemon mounts it: the gate, and behind it the pages, loaded when somebody comes."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from nodegate.api.context import ApiContext
from nodegate.daemon.history import History
from nodegate.dashboard import login
from nodegate.dashboard.gate import PREFIX, TOKEN, Gate
from nodegate.dashboard.headers import COMMON, plain_policy
from nodegate.dashboard.passwords import Passwords
from nodegate.dashboard.roles import Role
from nodegate.dashboard.sessions import Sessions
from nodegate.dashboard.source import Source
from nodegate.errors import Unavailable

log = logging.getLogger("nodegate.dashboard")


class Dashboard:
    """The dashboard of one daemon; `doors` are for `create_app`. `close` it before the event loop ends."""

    def __init__(
        self, context: ApiContext, history: History, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        settings = context.settings.dashboard
        self._passwords = Passwords(context.directory)
        sessions = Sessions(
            idle=settings.session_idle, longest=settings.session_max, still_true=self._still_true
        )
        self._source = Source(context=context, history=history, sessions=sessions, now=now)
        self._gate = Gate(
            self, sessions=sessions, passwords=self._passwords, token=context.token, now=now,
            longest=settings.session_max,
        )  # fmt: skip
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._app: ASGIApp | None = None
        self._loading: asyncio.Task[ASGIApp] | None = None

    @property
    def doors(self) -> Mapping[str, ASGIApp]:
        """The applications by the first segment of their paths."""
        return {"": _to_the_dashboard, PREFIX.strip("/"): self._gate if installed() else _missing}

    async def ready(self) -> ASGIApp:
        """The pages; the first caller waits until NiceGUI is loaded."""
        if self._app is None:
            async with self._lock:
                if self._app is None:
                    self._app = await self._load()
        return self._app

    def expected(self) -> None:
        """Somebody looks at the login page: load the pages while they type."""
        if self._app is None and self._loading is None:
            self._loading = asyncio.create_task(self.ready(), name="load the dashboard")

    async def close(self) -> None:
        """End all pages."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
        await self._stack.aclose()
        self._app = None

    async def _load(self) -> ASGIApp:
        # In a thread: half a second of imports would hold up every probe.
        site = await asyncio.to_thread(importlib.import_module, "nodegate.dashboard.site")
        app: ASGIApp = await self._stack.enter_async_context(site.running(self._source, PREFIX))
        log.info("the dashboard is loaded")
        return app

    def _still_true(self, role: Role, proof: str) -> bool:
        if proof == TOKEN:
            return True
        try:
            return self._passwords.hashes().get(role) == proof
        except Unavailable:
            return False


def installed() -> bool:
    """Whether the extra `dashboard` is there."""
    return importlib.util.find_spec("nicegui") is not None


async def _to_the_dashboard(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await RedirectResponse(login.HERE, 303)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


async def _missing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    nonce = secrets.token_urlsafe(16)
    headers = {**COMMON, "Content-Security-Policy": plain_policy(nonce)}
    await HTMLResponse(login.missing_page(nonce), 501, headers)(scope, receive, send)
