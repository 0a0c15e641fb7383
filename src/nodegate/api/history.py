"""`/api/v1/history`: the last hour that the daemon keeps in memory, as the dashboard draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from fastapi import APIRouter, Query

from nodegate.api.bodies import StrictRoute
from nodegate.api.context import ApiContext, Point
from nodegate.api.errors import ErrorDocument
from nodegate.errors import NotFound, Unavailable
from nodegate.model import Instant
from nodegate.views import iso
from nodegate.views.history import HistoryDocument, PointRow, SeriesRow

HOUR = 3600.0
MAX_POINTS = 3600
NODE_SERIES = ("height", "latency")


def history_routes(context: ApiContext) -> APIRouter:
    """The route of the last hour."""
    router = APIRouter(prefix="/api/v1", tags=["gateway"], route_class=StrictRoute)

    @router.get(
        "/history",
        summary="The last hour",
        responses={404: {"model": ErrorDocument, "description": "there is no such node"}},
    )
    async def history(
        series: Annotated[
            list[str] | None,
            Query(
                max_length=200, description="names, or patterns such as refusals/*; may stand several times"
            ),
        ] = None,
        node: Annotated[
            str | None, Query(max_length=128, description="also height and latency of this node")
        ] = None,
        since: Annotated[
            float | None, Query(ge=0, description="seconds since the epoch; left out: an hour ago")
        ] = None,
        points: Annotated[int, Query(ge=1, le=MAX_POINTS, description="of one series at most")] = 60,
    ) -> HistoryDocument:
        """Means of requests, errors, refusals, latency and nodes by status. More than `points` are merged into
        means of as many neighbours each. Longer history is Prometheus's."""
        past = context.history
        if past is None:
            raise Unavailable("this nodegate keeps no history")
        begin = Instant(max(0.0, context.clock.now() - HOUR) if since is None else since)
        names = past.names()
        rows = [
            _row(name, None, past.series(name, since=begin, points=points))
            for name in _chosen(names, series or ())
        ]
        if node is not None:
            _require(context, node)
            rows += [
                _row(name, node, past.node_series(node, name, since=begin, points=points))
                for name in NODE_SERIES
            ]
        return HistoryDocument(since=iso(begin) or "", names=tuple(names), series=tuple(rows))

    return router


def _chosen(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _require(context: ApiContext, node: str) -> None:
    inventory = context.snapshot().inventory
    if inventory is None or all(known.id != node for known in inventory.nodes):
        raise NotFound(f"there is no node {node!r}")


def _row(name: str, node: str | None, points: Iterable[Point]) -> SeriesRow:
    found = tuple(PointRow(at=iso(point.at) or "", value=point.value) for point in points)
    return SeriesRow(name=name, node=node, points=found)
