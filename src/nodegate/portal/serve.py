"""The portal's own listener and its jobs in the daemon."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from nodegate.api.context import Registrations
from nodegate.errors import Conflict
from nodegate.haproxy.config import split_host_port
from nodegate.portal.service import PortalParts, PortalService

log = logging.getLogger("nodegate.portal")

AT_ONCE = 200
"""Requests at once; more are answered with 503, so that the daemon's own work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPortal:
    """What the daemon gets of a portal: its jobs by name (none without one), the operator's side for the admin
    API, and where it listens."""

    jobs: dict[str, Callable[[], Awaitable[None]]]
    registrations: Registrations | None = None
    place: str = ""


@asynccontextmanager
async def running_portal(parts: PortalParts) -> AsyncIterator[RunningPortal]:
    """The portal of the settings, while the block lasts; an empty one if there is none. Raises Conflict when
    its address is taken, Unavailable when its key cannot be read."""
    place = parts.settings.portal.listen
    if place is None:
        yield RunningPortal(jobs={})
        return
    service = PortalService(parts)
    try:
        with _bound(place) as listener:
            jobs: dict[str, Callable[[], Awaitable[None]]] = {
                "registration page": lambda: _serve(service.app, listener),
                "registrations": service.watch.run,
                "registration mails": service.sender.run,
            }
            yield RunningPortal(jobs=jobs, registrations=service.operator, place=place)
    finally:
        await service.close()


def _bound(place: str) -> socket.socket:
    host, port = split_host_port(place)
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Conflict(f"portal.listen: {place}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Conflict(f"portal.listen: {place}: {error.strerror}; choose another address") from error
    return listener


async def _serve(app: ASGIApp, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # whom to believe is a setting of the portal's own
        ws="none",
        limit_concurrency=AT_ONCE,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
    )
    # A copy: uvicorn closes what it is given, and the job may be started again.
    await _Server(config).serve(sockets=[listener.dup()])


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        return nullcontext()
