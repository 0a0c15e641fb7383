"""The portal's own listener and its jobs in the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nodegate.api.context import Registrations
from nodegate.api.listen import bound, serve
from nodegate.portal.service import PortalParts, PortalService

AT_ONCE = 200
"""Requests at once; more are answered with 503, so that the daemon's own work goes on."""
SERVER = {
    "proxy_headers": False,  # whom to believe is a setting of the portal's own
    "ws": "none",
    "limit_concurrency": AT_ONCE,
    "timeout_keep_alive": 10,
}


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
        with bound(place, key="portal.listen", advice="choose another address") as listener:
            jobs: dict[str, Callable[[], Awaitable[None]]] = {
                "registration page": lambda: serve(service.app, listener, **SERVER),
                "registrations": service.watch.run,
                "registration mails": service.sender.run,
            }
            yield RunningPortal(jobs=jobs, registrations=service.operator, place=place)
    finally:
        await service.close()
