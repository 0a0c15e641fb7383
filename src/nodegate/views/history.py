"""The last hour as a document."""

from __future__ import annotations

from pydantic import Field

from nodegate.views.models import View


class PointRow(View):
    """The mean of one step."""

    at: str = Field(description="when the step begins")
    value: float


class SeriesRow(View):
    """One series, oldest point first. Steps of which nothing is known are left out, never zero."""

    name: str
    node: str | None = Field(description="the node that it is of, null: it is of the gateway")
    points: tuple[PointRow, ...]


class HistoryDocument(View):
    """What is kept in memory: the last hour, since the daemon was started."""

    since: str = Field(description="from when on the points are")
    names: tuple[str, ...] = Field(description="all series of the gateway that there are now")
    series: tuple[SeriesRow, ...]
