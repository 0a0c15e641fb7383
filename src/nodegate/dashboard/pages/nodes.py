"""Nodes: all of them, with what they do and what can be done about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nicegui import ui

from nodegate.daemon.history import HEIGHT, LATENCY
from nodegate.dashboard.dialogs import ask_change
from nodegate.dashboard.frame import ROOT, Frame, card
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.dashboard.words import number, spark, window
from nodegate.model import Instant

ORDER = {"down": 0, "degraded": 1, "unknown": 2, "up": 3}
"""From what needs a look to what does not."""
SPARKS = 60

COLUMNS = (
    Column(name="id", label="Node", cell="link", key=lambda row: row["id"]),
    Column(name="status", label="Status", cell="status", key=lambda row: (ORDER[row["status"]], row["id"])),
    Column(name="intent", label="Wanted", key=lambda row: row["intent"]),
    Column(name="pool", label="Pool", key=lambda row: (row["pool"], row["id"]), extra=True),
    Column(
        name="height_text", label="Height", cell="number", key=lambda row: row["height"], line="height_spark"
    ),
    Column(name="lag_text", label="Lag", cell="number", key=lambda row: row["lag"]),
    Column(
        name="latency_text",
        label="Latency",
        cell="number",
        key=lambda row: row["latency_ms"],
        line="latency_spark",
    ),
    Column(name="weight", label="Weight", cell="number", key=lambda row: row["weight"]),
    Column(name="requests_text", label="Requests", cell="number", key=lambda row: row["requests"]),
    Column(name="why", label="Why", cell="reasons"),
)
CHANGE = Column(name="act", label="Change", cell="button")


async def build(frame: Frame) -> None:
    """The page."""
    rows: dict[str, dict[str, Any]] = {}

    async def act(name: str, node_id: str) -> None:
        if name == "change" and node_id in rows:
            await ask_change(frame, rows[node_id])

    with card("All nodes"):
        grid = Grid(
            label="Nodes", noun="node", sort=("status", False),
            columns=(*COLUMNS, CHANGE) if frame.may_write else COLUMNS,
            words=lambda row: f"{row['id']} {row['url']} {row['kind']} {row['pool']} {row['status']} {' '.join(row['reasons'])}",
            finish=lambda cut: [_finished(frame, row) for row in cut],
            on_act=act, empty="No node is declared yet; `nodegate nodes add` declares one.",
        )  # fmt: skip
        chosen = _status_choice(grid)
    grid.choose = lambda row: chosen.value in ("all", row["status"])

    def show(look: Look) -> None:
        rows.clear()
        rows.update(look.rows)
        grid.show(rows.values())

    frame.show(show)


def _status_choice(grid: Grid) -> ui.select:
    with grid.tools:
        options = {"all": "All", **{name: name.capitalize() for name in ORDER}}
        return (
            ui.select(options, value="all", label="Status", on_change=grid.again)
            .props("outlined dense options-dense")
            .style("width: 10rem")
        )


def _finished(frame: Frame, row: Mapping[str, Any]) -> Row:
    """What the table shows of a node; made only for the rows of the page that is shown."""
    context, node_id = frame.site.source.context, row["id"]
    now = context.clock.now()
    finished: Row = {
        "id": node_id,
        "href": f"{ROOT}/nodes/{quote(node_id, safe='')}",
        "status": row["status"].value,
        "intent": row["intent"].value,
        "pool": row["pool"],
        "height_text": number(row["height"]),
        "lag_text": number(row["lag"]),
        "latency_text": "-" if row["latency_ms"] is None else f"{row['latency_ms']:,.1f} ms",
        "weight": row["weight"],
        "requests_text": number(row["requests"]),
        "why": "; ".join(row["reasons"]),
        "act": "change",
        "act_text": "Change",
        "act_label": f"Change {node_id}",
    }
    for name in (HEIGHT, LATENCY):
        # In whole half minutes, the history's own step: a line must not be sent anew at each look.
        until = Instant(now // 30 * 30)
        since = window(context.snapshot().started_at, until)
        points = frame.site.source.history.node_series(node_id, name, since=since, points=SPARKS)
        finished[f"{name}_spark"] = spark(points, since, until)
        finished[f"{name}_spark_text"] = f"{name} of {node_id} in the last hour"
    return finished
