"""`/api/v1/clients` and `/api/v1/bans`: who asks how much, and who may not for a while.

Bans are the one thing that the API hands to HAProxy itself: they are counters there, which end by
themselves, and no intent that a registry would keep.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from nodegate.api.bodies import StrictRoute
from nodegate.api.context import ApiContext
from nodegate.api.errors import ErrorDocument
from nodegate.dataplane.tables import Ban, ClientCount, Tables, counted_as
from nodegate.errors import BadDocument, Fault, Malformed, NotFound
from nodegate.telemetry import Event, record
from nodegate.views import iso
from nodegate.views.policy import BanRow, BansDocument, BansLifted, ClientRow, ClientsDocument

log = logging.getLogger("nodegate.api")

MAX_TOP = 10_000

_ERRORS = {
    403: "no policy is in force, so that nobody can be banned",
    404: "this client is not banned",
    422: "that is no address",
    503: "HAProxy cannot be reached",
}


class NewBan(BaseModel):
    """Whom to ban, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    client: str = Field(max_length=64, description="an IP address; IPv6 clients are banned by their /64")
    seconds: Annotated[float, Field(strict=False)] = Field(600.0, ge=1, le=86_400 * 24)
    reason: str | None = Field(None, max_length=200, description="for the log")


def client_routes(context: ApiContext) -> APIRouter:
    """All routes of clients and bans."""
    router = APIRouter(prefix="/api/v1", tags=["firewall"], route_class=StrictRoute)
    _add_clients(router, context)
    _add_bans(router, context)
    return router


def _add_clients(router: APIRouter, context: ApiContext) -> None:
    @router.get("/clients", summary="Clients by what they cost", responses=_responses(503))
    async def list_clients(
        top: Annotated[int, Query(ge=1, le=MAX_TOP, description="how many at most")] = 20,
        by: Annotated[
            Literal["cost", "requests", "refusals"],
            Query(description="the order: units in a minute, requests in 10 s, or refusals in a minute"),
        ] = "cost",
    ) -> ClientsDocument:
        """The clients that HAProxy remembers, the greediest first, and all bans."""
        return clients_document(await context.firewall.tables(), top=top, by=by)


def clients_document(tables: Tables, *, top: int, by: str) -> ClientsDocument:
    """The `top` clients by cost, requests or refusals, the greediest first, and all bans."""
    until = {ban.client: iso(ban.until) for ban in tables.bans}
    ranked = sorted(tables.clients, key=_ORDERS[by], reverse=True)
    return ClientsDocument(
        seen=len(tables.clients),
        clients=tuple(_client_row(client, until.get(client.client)) for client in ranked[:top]),
        bans=_rows(tables.bans),
    )


def _add_bans(router: APIRouter, context: ApiContext) -> None:
    @router.get("/bans", summary="All bans", responses=_responses(503))
    async def list_bans() -> BansDocument:
        """Who is banned now, and until when."""
        return BansDocument(bans=_rows((await context.firewall.tables()).bans))

    @router.post("/bans", summary="Ban a client", status_code=201, responses=_responses(403, 422, 503))
    async def ban(new: NewBan) -> BanRow:
        """Refuse all requests of a client for a while. Trusted networks are exempt from bans."""
        found = await context.firewall.ban(_counted(new.client), new.seconds)
        _say(f"{found.client} is banned for {new.seconds:g} s", client=found.client, reason=new.reason)
        return _rows((found,))[0]

    @router.delete("/bans/{client:path}", summary="Lift a ban", responses=_responses(404, 422, 503))
    async def unban(client: str) -> BansLifted:
        """Let a client in again at once."""
        client = _counted(client)
        if not await context.firewall.unban(client):
            raise NotFound(f"{client} is not banned; `nodegate clients` lists who is")
        _say(f"{client} is not banned any more", client=client)
        return BansLifted(lifted=(client,))

    @router.delete("/bans", summary="Lift all bans", responses=_responses(503))
    async def unban_all() -> BansLifted:
        """Let everybody in again at once."""
        bans = (await context.firewall.tables()).bans
        lifted = tuple([ban.client for ban in bans if await context.firewall.unban(ban.client)])
        _say(f"{len(lifted)} bans are lifted")
        return BansLifted(lifted=lifted)


def _counted(client: str) -> str:
    """What HAProxy counts the client as. Raises BadDocument for what is no client's address."""
    try:
        return counted_as(client)
    except Malformed as error:
        raise BadDocument([Fault(file="request", line=None, key="client", message=str(error))]) from error


def _by_cost(client: ClientCount) -> tuple[int, int]:
    return client.cost_1m, client.requests


def _by_requests(client: ClientCount) -> tuple[int, int]:
    return client.rate, client.requests


def _by_refusals(client: ClientCount) -> tuple[int, int]:
    return client.refusals_1m, client.cost_1m


_ORDERS = {"cost": _by_cost, "requests": _by_requests, "refusals": _by_refusals}


def _client_row(client: ClientCount, banned_until: str | None) -> ClientRow:
    return ClientRow(
        client=client.client,
        kind=client.kind,
        key=client.key,
        requests=client.requests,
        rate_10s=client.rate,
        concurrent=client.concurrent,
        cost_10s=client.cost_10s,
        cost_1m=client.cost_1m,
        refusals_1m=client.refusals_1m,
        banned_until=banned_until,
    )


def _rows(bans: tuple[Ban, ...]) -> tuple[BanRow, ...]:
    ordered = sorted(bans, key=lambda ban: (ban.until, ban.client))
    return tuple(
        BanRow(client=ban.client, until=iso(ban.until) or "", automatic=ban.automatic) for ban in ordered
    )


def _say(text: str, **fields: object) -> None:
    record(log, logging.INFO, Event.INTENT, text, **fields)


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorDocument, "description": _ERRORS[status]} for status in statuses}
