"""The portal's own listener and its jobs in the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from nodegate.api.context import Registrations
from nodegate.api.listen import bound, serve
from nodegate.portal.service import PortalParts, PortalService

AT_ONCE = 200
"""Requests at once; more are answered with 503, so that the daemon's own work goes on."""
HEAD_WITHIN = 10.0
"""Seconds in which a connection must bring the head of a request: those that bring none would use up `AT_ONCE`."""


class Hurried(H11Protocol):
    """uvicorn's HTTP/1.1 (by h11, which bounds what a head may have), for strangers: it waits for no head for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        self._answered: object = None
        self.loop.call_later(HEAD_WITHIN, self._look)

    def _look(self) -> None:
        """Close it if no head has come since the last look, and no answer is under way."""
        if self.transport.is_closing():
            return
        latest: RequestResponseCycle | None = self.cycle
        answered = latest is None or latest.response_complete
        if answered and self.conn.their_state is h11.IDLE and latest is self._answered:
            self.transport.close()
            return
        self._answered = latest
        self.loop.call_later(HEAD_WITHIN, self._look)


SERVER = {
    "http": Hurried,
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
