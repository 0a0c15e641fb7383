"""`/api/v1/registrations`: the operator's side of the registration page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from nodegate.api.bodies import StrictRoute
from nodegate.api.context import ApiContext, Registrations
from nodegate.api.errors import ErrorDocument
from nodegate.errors import Refused
from nodegate.telemetry import Event, record
from nodegate.views.registrations import (
    RegistrationBanRow,
    RegistrationBansDocument,
    RegistrationRow,
    RegistrationsDocument,
    RegistrationsEnded,
)

log = logging.getLogger("nodegate.api")

_ERRORS = {
    403: "there is no portal",
    404: "there is no such registration or ban",
    409: "the registration is not in a state in which this can be done",
    422: "that is no state, or neither an e-mail address, @domain, IP address nor network",
    503: "the portal's store or the registry cannot be reached",
}


class Rejection(BaseModel):
    """Why a node is not taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: str = Field("", max_length=500, description="for the owner, who gets it by mail")


class NewRegistrationBan(BaseModel):
    """Who may not register any more."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    subject: str = Field(max_length=260, description="e-mail address, @domain, IP address or network")
    reason: str = Field("", max_length=500, description="for the owners, who get it by mail")


def registration_routes(context: ApiContext) -> APIRouter:
    """All routes of registrations."""
    router = APIRouter(prefix="/api/v1/registrations", tags=["registrations"], route_class=StrictRoute)

    def portal() -> Registrations:
        if context.registrations is None:
            raise Refused("there is no registration page: set portal.listen in nodegate.toml and restart")
        return context.registrations

    @router.get("", summary="All registrations", responses=_responses(403, 422, 503))
    async def list_registrations(
        state: Annotated[str | None, Query(max_length=20, description="only this state")] = None,
    ) -> RegistrationsDocument:
        """Who wants to add which node and how far that is, and how the mails go."""
        return await portal().listed(state)

    @router.post("/{id}/approve", summary="Let a waiting node join", responses=_responses(403, 404, 409, 503))
    async def approve(id: str) -> RegistrationRow:
        """The node is declared; its owner gets a mail."""
        row = await portal().approve(id)
        _say(f"registration {row.id} of {row.url} was approved", registration=row.id)
        return row

    @router.post("/{id}/reject", summary="Do not take a node", responses=_responses(403, 404, 409, 503))
    async def reject(id: str, rejection: Rejection) -> RegistrationRow:
        """A waiting node does not join, an active one is removed; its owner gets a mail."""
        row = await portal().reject(id, rejection.reason)
        _say(f"registration {row.id} of {row.url} was rejected", registration=row.id)
        return row

    _add_bans(router, portal)
    return router


def _add_bans(router: APIRouter, portal: Callable[[], Registrations]) -> None:
    @router.get("/bans", summary="Who may not register", responses=_responses(403, 503))
    async def list_bans() -> RegistrationBansDocument:
        """All bans, the oldest first."""
        return await portal().bans()

    @router.post("/bans", summary="Ban somebody", status_code=201, responses=_responses(403, 422, 503))
    async def ban(new: NewRegistrationBan) -> RegistrationsEnded:
        """What they have registered ends; owners get a mail, later forms no answer."""
        ended = await portal().ban(new.subject, new.reason)
        _say(f"{ended.ban.subject} may not register any more", subject=ended.ban.subject)
        return ended

    @router.delete("/bans/{subject:path}", summary="Lift a ban", responses=_responses(403, 404, 422, 503))
    async def unban(subject: str) -> RegistrationBanRow:
        """They may register again; what ended does not come back by itself."""
        row = await portal().unban(subject)
        _say(f"{row.subject} may register again", subject=row.subject)
        return row


def _say(text: str, **fields: object) -> None:
    record(log, logging.INFO, Event.INTENT, text, **fields)


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorDocument, "description": _ERRORS[status]} for status in statuses}
