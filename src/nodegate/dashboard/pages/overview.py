"""Overview: how much is asked, what fails, what is refused, and how the nodes are."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from nodegate.daemon import history as past
from nodegate.dashboard.charts import Chart, Trend
from nodegate.dashboard.frame import ROOT, Frame, card, tag
from nodegate.dashboard.hub import Look
from nodegate.dashboard.news import News
from nodegate.dashboard.words import HOUR, ms, number, rate
from nodegate.model import Instant
from nodegate.views import PoolRow, span

STATUSES = ("up", "degraded", "down", "unknown")
MOST_RULES = 7
"""Rules that get a line of their own in the chart; the ones that refused most."""


async def build(frame: Frame) -> None:
    """The page."""
    faults = ui.label("").classes("faults").props('role="alert"')

    def show_faults(look: Look) -> None:
        faults.set_text(" · ".join(look.status.faults))

    frame.show(show_faults)
    with ui.element("div").classes("cards"):
        _figures(frame)
        _charts(frame)
        _pools(frame)
        with card("Latest events", "half"):
            News(frame, most=12)
            with ui.element("p").classes("soft"):
                tag("a", "All events").props(f'href="{ROOT}/events"')
    tag("p", "Charts show the last hour, which nodegate keeps in memory; a restart begins anew. "
        "Longer history is Prometheus's.").classes("soft")  # fmt: skip


def _figures(frame: Frame) -> None:
    history = frame.site.source.history
    wanted = (
        ("Requests per second", past.REQUESTS, rate),
        ("Errors per second", past.ERRORS, rate),
        ("Refusals per second", past.REFUSALS, rate),
        ("Latency, 99 of 100 below", f"{past.LATENCY}/p99", ms),
    )
    for title, name, words in wanted:
        with card(title, "quarter"):
            figure = ui.label("-").classes("figure")
            trend = Trend(history, name, title)

            def show(
                look: Look,
                figure: ui.label = figure,
                trend: Trend = trend,
                name: str = name,
                words: Any = words,
            ) -> None:
                figure.set_text(words(history.latest(name)))
                trend.show(look)

            frame.show(show)


def _charts(frame: Frame) -> None:
    history = frame.site.source.history
    with card("Requests and errors per second", "half"):
        traffic = Chart(
            history,
            title="Requests and errors per second",
            lines={"requests": past.REQUESTS, "errors": past.ERRORS},
        )
    with card("Latency in milliseconds", "half"):
        latency = Chart(
            history,
            title="Latency in milliseconds",
            lines={f"p{percent}": f"{past.LATENCY}/p{percent}" for percent in (50, 90, 99)},
            scale=lambda seconds: seconds * 1000,
        )
    with card("Refusals per second, by rule", "half"):
        refused = Chart(history, title="Refusals per second, by rule", lines={"all": past.REFUSALS})
    with card("Nodes by status", "half"):
        nodes = Chart(
            history, title="Nodes by status", lines={word: f"{past.NODES}/{word}" for word in STATUSES}
        )

    def show(look: Look) -> None:
        traffic.show(look)
        latency.show(look)
        refused.show(look, _rules(frame, look.at))
        nodes.show(look)

    frame.show(show)


def _rules(frame: Frame, now: Instant) -> dict[str, str]:
    """The rules that refused most within the hour, and all together."""
    history = frame.site.source.history
    since, sums = Instant(now - HOUR), {}
    for name in history.names():
        if name.startswith(f"{past.REFUSALS}/"):
            sums[name] = sum(point.value for point in history.series(name, since=since, points=60))
    most = sorted((name for name, total in sums.items() if total > 0), key=lambda name: -sums[name])
    rules = {name.removeprefix(f"{past.REFUSALS}/"): name for name in most[:MOST_RULES]}
    return {"all": past.REFUSALS, **rules}


def _pools(frame: Frame) -> None:
    with card("Pools", "half"):
        box = ui.element("div").classes("pools")
    shown: list[PoolRow] = []
    drawn: dict[str, _Pool] = {}

    def show(look: Look) -> None:
        pools = list(look.status.pools)
        if [pool.name for pool in pools] != [pool.name for pool in shown]:
            box.clear()
            drawn.clear()
            with box:
                for pool in pools:
                    drawn[pool.name] = _Pool(pool.name)
        shown[:] = pools
        for pool in pools:
            drawn[pool.name].show(pool)

    frame.show(show)


class _Pool:
    """One pool: a bar of its nodes by status, and what they support."""

    def __init__(self, name: str) -> None:
        with ui.element("div"):
            tag("h3", name)
            with ui.element("div").classes("bar").props('aria-hidden="true"'):
                self._bars = {status: ui.element("div").classes(f"b-{status}") for status in STATUSES}
            with ui.element("div").classes("legend"):
                self._counts = {status: tag("span").classes(f"status s-{status}") for status in STATUSES}
            self._text = ui.label("").classes("soft")

    def show(self, pool: PoolRow) -> None:
        counts = {status: getattr(pool, status) for status in STATUSES}
        for status, count in counts.items():
            self._bars[status].style(f"width: {100 * count / max(1, pool.nodes):.1f}%")
            self._counts[status].set_text(f"{count:,} {status}")
            self._counts[status].set_visibility(count > 0)
        parts = [f"{number(pool.serving)} of {pool.nodes:,} nodes serve"]
        if pool.height is not None:
            parts.append(f"height {pool.height:,}")
        if pool.height_age_seconds is not None:
            # In steps, so that a page is not sent a new sentence at each look.
            old = pool.height_age_seconds // 10 * 10
            parts.append(f"reached {span(old)} ago" if old else "reached just now")
        self._text.set_text(", ".join(parts))
