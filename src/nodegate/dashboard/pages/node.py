"""One node: how it is and why, what it was, what probes saw, what it serves, and its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nicegui import ui

from nodegate.daemon.history import HEIGHT, LATENCY
from nodegate.dashboard.charts import CHART_EVERY, Plot, node_options
from nodegate.dashboard.dialogs import ask_change
from nodegate.dashboard.frame import Frame, button, card, facts, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.dashboard.words import clock, number, window
from nodegate.telemetry.kinds import Event
from nodegate.views import NodeDetail, node_detail

EVENTS = (
    Column(name="at", label="When (UTC)"),
    Column(name="severity", label="Severity", cell="status"),
    Column(name="text", label="In words", cell="reasons"),
)
SERVERS = (
    Column(name="backend", label="HAProxy backend"),
    Column(name="place", label="Address"),
    Column(name="state", label="State"),
    Column(name="weight", label="Weight", cell="number"),
    Column(name="sessions", label="Under way", cell="number"),
    Column(name="requests", label="Requests", cell="number"),
    Column(name="errors", label="Errors", cell="number"),
)
METHODS = (
    Column(name="method", label="Method", key=lambda row: row["method"]),
    Column(name="requests", label="Requests", cell="number", key=lambda row: row["requests"]),
    Column(name="failed", label="Failed", cell="number", key=lambda row: row["failed"]),
    Column(name="mean", label="Mean time, ms", cell="number", key=lambda row: row["mean"]),
)


def build_for(node_id: str) -> Any:
    """The builder of that node's page."""

    async def build(frame: Frame) -> None:
        await _build(frame, node_id)

    return build


async def _build(frame: Frame, node_id: str) -> None:
    detail = node_detail(frame.site.source.context.snapshot(), node_id)
    if detail is None:
        tag("p", "There is no such node. It may have been removed, or its name is misspelt.")
        return
    with card("Now"):
        with ui.element("div").classes("row-of"):
            status = tag("span")
            reasons = ui.label("")
            if frame.may_write:
                ui.element("span").classes("grow")
                button("Change", lambda: _change(frame, node_id), main=True)
        put = facts(_facts(detail))
        ui.element("div").style("height: .6rem")
        traffic = Grid(
            label="Traffic by backend", noun="backend", columns=SERVERS, empty="HAProxy does not have it."
        )

    def show(look: Look) -> None:
        fresh = node_detail(look.snapshot, node_id)
        if fresh is None:
            reasons.set_text("it is not declared any more")
            return
        status.set_text(fresh.status.value)
        status.classes(replace=f"status s-{fresh.status.value}")
        reasons.set_text("; ".join(fresh.reasons))
        put(_facts(fresh))
        traffic.show(_servers(look, fresh))

    frame.show(show)
    with ui.element("div").classes("cards"):
        _charts(frame, node_id)
    _history(frame, node_id)
    await _methods(frame, node_id)
    with card("Last probe, and the record"):
        record = tag("pre").classes("record").props('tabindex="0" aria-label="Record and last probe as JSON"')

        def show_record(look: Look) -> None:
            fresh = node_detail(look.snapshot, node_id)
            if fresh is not None and look.number % CHART_EVERY in (0, 1):
                record.set_text(_record(fresh))

        record.set_text(_record(detail))
        frame.show(show_record)


async def _change(frame: Frame, node_id: str) -> None:
    row = (await frame.site.hub.refresh()).rows.get(node_id)
    if row is not None:
        await ask_change(frame, row)


def _facts(detail: NodeDetail) -> dict[str, str]:
    observed = detail.observed
    probe = "none yet"
    if observed is not None:
        outcome = observed.failure or "answered"
        probe = f"{outcome} in {observed.duration_ms:,.1f} ms at {(observed.at or '')[11:19]} UTC"
    return {
        "URL": detail.url,
        "Kind and pool": f"{detail.kind}, {detail.pool}",
        "Wanted": detail.intent.value,
        "Since": (detail.since or "-")[:19].replace("T", " "),
        "Height": number(detail.height),
        "Lag": number(detail.lag),
        "Peers": number(detail.peers),
        "Software": detail.software_version or "-",
        "Weight": f"{detail.weight} of 256",
        "Address that was proven": detail.address or "-",
        "Last probe": probe,
        "What it said": (observed.text if observed is not None else "") or "-",
    }


def _servers(look: Look, detail: NodeDetail) -> list[Row]:
    running = look.snapshot.running
    rows: list[Row] = []
    for server in detail.servers:
        counters = None if running is None else running.traffic.get((server.backend, detail.id))
        rows.append(
            {
                "id": server.backend,
                "backend": server.backend,
                "place": f"{server.address}:{server.port}",
                "state": "down by a refused connection" if server.marked_down else server.state.value,
                "weight": server.weight,
                "sessions": server.sessions,
                "requests": number(counters.requests if counters else None),
                "errors": number(counters.errors if counters else None),
            }
        )
    return rows


def _charts(frame: Frame, node_id: str) -> None:
    history, clock_ = frame.site.source.history, frame.site.source.context.clock
    wanted = (
        (HEIGHT, "Height", lambda value: value),
        (LATENCY, "Latency in milliseconds", lambda value: value * 1000),
    )
    for name, title, scale in wanted:
        with card(f"{title}, the last hour", "half"):
            chart = Plot(f"{title} of the node, the last hour", {"series": []})

        def draw(name: str = name, title: str = title, scale: Any = scale, chart: Plot = chart) -> None:
            now = clock_.now()
            since = window(frame.site.source.context.snapshot().started_at, now)
            points = history.node_series(node_id, name, since=since, points=120)
            chart.options = node_options(title, points, since, now, scale)
            chart.update()

        def show(look: Look, draw: Callable[[], None] = draw) -> None:
            if look.number % (CHART_EVERY * 3) == 0:
                draw()

        draw()
        frame.show(show)


def _history(frame: Frame, node_id: str) -> None:
    with card("What happened to it"):
        grid = Grid(
            label="Events of the node",
            noun="event",
            columns=EVENTS,
            empty="Nothing yet.",
        )
    shown: list[Event] = []

    def show(look: Look) -> None:
        events = [event for event in frame.site.source.history.events() if event.subject == f"node/{node_id}"]
        if shown == events:
            return
        shown[:] = events
        grid.show(
            {"id": place, "at": clock(event.at), "severity": event.severity.value, "text": event.text}
            for place, event in enumerate(reversed(events))
        )

    frame.show(show)


async def _methods(frame: Frame, node_id: str) -> None:
    from nodegate.dashboard.methods import read_methods

    with card("Traffic by method"):
        grid = Grid(
            label="Traffic by method", noun="method", columns=METHODS, sort=("requests", True),
            empty="No request in the newest part of the access log.",
        )  # fmt: skip
        note = ui.label("").classes("soft")

        async def read() -> None:
            found = await read_methods(frame.site.source.context.directory, node_id)
            grid.show(found.rows)
            note.set_text(found.note)

        await read()
        button("Read again", read)


def _record(detail: NodeDetail) -> str:
    document = detail.model_dump(mode="json")
    record = {
        name: document[name]
        for name in (
            "id",
            "url",
            "kind",
            "pool",
            "weight",
            "maxconn",
            "intent",
            "tls_verify",
            "options",
            "source",
            "version",
        )
    }
    return json.dumps({"record": record, "last probe": document["observed"]}, indent=2, ensure_ascii=False)
