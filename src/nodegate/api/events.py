"""`/api/v1/events` and `/api/v1/alerts`: what happened, what is wrong, and who is told."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from nodegate.alerting import store
from nodegate.alerting.service import Alerting
from nodegate.api.bodies import StrictRoute
from nodegate.api.context import ApiContext
from nodegate.api.errors import ErrorDocument
from nodegate.errors import NotFound, Unavailable
from nodegate.model import Instant, Seconds
from nodegate.telemetry import Event, record
from nodegate.telemetry.kinds import Kind, event
from nodegate.views import span
from nodegate.views.events import AlertsDocument, EventsDocument, SilenceRow, TestsDocument

log = logging.getLogger("nodegate.api")

LONGEST_WAIT = 60.0

_ERRORS = {
    404: "there is no such channel, silence or node",
    503: "the event log cannot be read or written",
}


class NeighbourReport(BaseModel):
    """What a watch at a node saw of one neighbour."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    node: str = Field(max_length=128, description="id of the node whose neighbour it is")
    neighbour: str = Field(max_length=256, pattern=r"^[!-~]+$", description="its address, or its identity")
    dead: bool = Field(description="false when it brings something again")
    quiet: Annotated[float, Field(strict=False)] | None = Field(
        None, ge=0, description="seconds of its silence"
    )


class NewSilence(BaseModel):
    """Which alerts to keep quiet, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rule: str = Field("*", max_length=128, description="pattern of the rule's name, such as node-*")
    subject: str = Field("*", max_length=256, description="pattern of the subject, such as node/eu-1")
    seconds: Annotated[float, Field(strict=False)] = Field(ge=1, le=86_400 * 365)
    reason: str = Field("", max_length=200, description="for those who wonder why it is quiet")


class NewTest(BaseModel):
    """Through which channel; null: through all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    channel: str | None = None


def event_routes(context: ApiContext) -> APIRouter:
    """All routes of events and alerts."""
    router = APIRouter(prefix="/api/v1", tags=["events"], route_class=StrictRoute)
    _add_events(router, context)
    _add_reports(router, context)
    _add_alerts(router, context)
    return router


def _add_events(router: APIRouter, context: ApiContext) -> None:
    @router.get("/events", summary="What happened", responses=_responses(503))
    async def list_events(
        after: Annotated[
            int | None, Query(ge=0, description="only events with a greater id, the oldest of them first")
        ] = None,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT, description="seconds to wait for the first one")
        ] = 0.0,
        since: Annotated[float | None, Query(ge=0, description="seconds since the epoch")] = None,
        kind: Annotated[
            list[Kind] | None, Query(description="only these kinds; may stand several times")
        ] = None,
        node: Annotated[str | None, Query(max_length=128, description="only about this node")] = None,
        subject: Annotated[str | None, Query(max_length=256, description="only about this subject")] = None,
        limit: Annotated[int, Query(ge=1, le=store.MAX_ROWS)] = 100,
    ) -> EventsDocument:
        """Events, oldest first: the newest `limit` of those that pass the filters; with `after` the next ones.
        To follow, ask again with the `last` of each answer as `after`, and `wait`."""
        query = store.Query(
            after=after or 0,
            first=after is not None,
            since=None if since is None else Instant(since),
            kinds=tuple(one.value for one in kind or ()),
            subject=f"node/{node}" if node is not None else subject,
            limit=limit,
        )
        return await _alerting(context).events(query, Seconds(wait))


def _add_reports(router: APIRouter, context: ApiContext) -> None:
    @router.post(
        "/events/neighbours", summary="A node's neighbour died or came back", status_code=204,
        responses=_responses(404, 503),
    )  # fmt: skip
    async def report_neighbour(report: NeighbourReport) -> None:
        """Keep it as an event of the node, for alerts. A watch at the node tells it; nodegate cannot see it itself."""
        inventory = context.snapshot().inventory
        node = next((one for one in inventory.nodes if one.id == report.node), None) if inventory else None
        if node is None:
            raise NotFound(f"there is no node {report.node!r}")
        silence = (
            f": nothing new for {span(report.quiet)}" if report.dead and report.quiet is not None else ""
        )
        words = f"is dead{silence}" if report.dead else "brings something again"
        happened = event(
            context.clock.now(), Kind.NEIGHBOUR_DEAD if report.dead else Kind.NEIGHBOUR_BACK, f"node/{node.id}",
            f"{report.neighbour}, a neighbour of {node.id}, {words}",
            pool=node.pool, neighbour=report.neighbour, quiet=report.quiet,
        )  # fmt: skip
        _alerting(context).tell(happened)


def _add_alerts(router: APIRouter, context: ApiContext) -> None:
    @router.get("/alerts", summary="What is wrong, and who is told", responses=_responses(503))
    async def list_alerts() -> AlertsDocument:
        """All alerts, the silences and the channels, and the rules in force."""
        return await _alerting(context).document()

    @router.post("/alerts/test", summary="Try the channels", responses=_responses(404, 503))
    async def test_channels(new: NewTest) -> TestsDocument:
        """Send a test alert at once, by one channel or by all, and say what became of it."""
        return await _alerting(context).test(new.channel)

    @router.post(
        "/alerts/silences",
        summary="Keep alerts quiet for a while",
        status_code=201,
        responses=_responses(503),
    )
    async def silence(new: NewSilence) -> SilenceRow:
        """Alerts whose rule and subject match the patterns are not sent until then. They stay listed."""
        row = await _alerting(context).silence(new.rule, new.subject, new.seconds, new.reason)
        words = f"alerts {row.rule} of {row.subject} are silenced until {row.until}"
        record(log, logging.INFO, Event.INTENT, words, reason=new.reason or None)
        return row

    @router.delete(
        "/alerts/silences/{id}", summary="End a silence", status_code=204, responses=_responses(404, 503)
    )
    async def unsilence(id: int) -> None:
        """Alerts are sent again."""
        await _alerting(context).unsilence(id)
        record(log, logging.INFO, Event.INTENT, f"silence {id} is ended")


def _alerting(context: ApiContext) -> Alerting:
    if context.alerting is None:
        raise Unavailable("this nodegate keeps no events")
    return context.alerting


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorDocument, "description": _ERRORS[status]} for status in statuses}
