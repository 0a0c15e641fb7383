"""Plan, status, health and metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from nodegate import __version__
from nodegate.api.context import ApiContext
from nodegate.api.counters import read_counters
from nodegate.api.errors import ErrorDocument
from nodegate.views import PlanDocument, StatusDocument, plan_document, status_document

HUNG_AFTER = 60.0
"""Seconds without a pass after which the daemon says that it is not healthy. A pass is due each second and
a reload of HAProxy takes a few; a service manager may safely restart nodegate, HAProxy serves on."""

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """The answer to a service manager."""

    ok: bool
    text: str


def system_routes(context: ApiContext) -> tuple[APIRouter, APIRouter]:
    """The routes that need the token, and those that are open."""
    return _guarded(context), _open(context)


def _guarded(context: ApiContext) -> APIRouter:
    router = APIRouter()

    @router.get("/api/v1/plan", tags=["gateway"], summary="What the latest pass changes and withholds")
    async def plan() -> PlanDocument:
        """The changes from what HAProxy runs to what is wanted, in order and with reasons; the changes that
        safety withholds, by rule; and what HAProxy refused."""
        return plan_document(context.snapshot())

    @router.get("/api/v1/status", tags=["gateway"], summary="The daemon in one look")
    async def status() -> StatusDocument:
        """Registry, HAProxy and pools, each in words and numbers. Ages are counted up to this moment."""
        return status_document(
            context.snapshot(), now=context.clock.now(), version=__version__, cluster=context.gateways()
        )

    @router.get("/metrics", tags=["metrics"], summary="nodegate's metrics", response_class=Response)
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Prometheus text, or OpenMetrics when the scraper asks for it."""
        await read_counters(context)
        text, content_type = context.telemetry.exposition(accept)
        return Response(text, media_type=content_type)

    @router.get(
        "/metrics/haproxy",
        tags=["metrics"],
        summary="HAProxy's own metrics",
        response_class=Response,
        responses={503: {"model": ErrorDocument}},
    )
    async def haproxy_metrics() -> Response:
        """The text of HAProxy's Prometheus exporter, passed on as it is."""
        return Response(await context.haproxy_metrics(), media_type=EXPOSITION)

    return router


def _open(context: ApiContext) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.head("/healthz", include_in_schema=False)
    @router.get(
        "/healthz",
        summary="Is the daemon alive?",
        response_model=Health,
        responses={503: {"model": Health}},
    )
    async def healthz() -> Response:
        """200 while passes are made, 503 when none was made for a minute. Needs no token."""
        age = context.clock.now() - context.snapshot().at
        alive = age <= HUNG_AFTER
        return _health(alive, "alive" if alive else f"no pass for {age:.0f} s")

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        summary="Is the gateway set up?",
        response_model=Health,
        responses={503: {"model": Health}},
    )
    async def readyz() -> Response:
        """200 once the first pass is applied, 503 before. Needs no token."""
        ready = context.snapshot().ready
        return _health(ready, "ready" if ready else "the first pass is not applied yet")

    return router


def _health(ok: bool, text: str) -> Response:
    return JSONResponse(Health(ok=ok, text=text).model_dump(), 200 if ok else 503)
