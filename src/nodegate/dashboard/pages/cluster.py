"""Cluster: all gateways that share the nodes."""

from __future__ import annotations

from nicegui import ui

from nodegate.dashboard.frame import Frame, card, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.views.cluster import GatewayRow

COLUMNS = (
    Column(name="name", label="Gateway", key=lambda row: row["id"]),
    Column(name="state", label="State", cell="status", key=lambda row: row["state"]),
    Column(name="place", label="Clients reach it at", cell="code"),
    Column(name="version", label="Version", extra=True),
    Column(name="since", label="Since (UTC)", extra=True),
    Column(name="text", label="To know", cell="reasons"),
)
ALONE = (
    "This gateway stands alone: its registry is its own. With Consul as the registry several gateways share their "
    "nodes, intents, policies and bans."
)


async def build(frame: Frame) -> None:
    """The page."""
    gateways = frame.site.source.context.gateways
    if gateways().me is None:
        with card("Other gateways"):
            tag("p", ALONE)
        return
    faults = ui.label("").classes("faults").props('role="alert"')
    with card("Gateways"):
        grid = Grid(label="Gateways", noun="gateway", columns=COLUMNS, sort=("name", False))

    def show(look: Look) -> None:
        document = gateways()
        faults.set_text(" · ".join(document.faults))
        grid.show(_row(row) for row in document.gateways)

    frame.show(show)


def _row(row: GatewayRow) -> Row:
    said = [row.why, row.fault or ""]
    said += [f"another policy of {kind} is in force there" for kind in row.differs]
    return {
        "id": row.name,
        "name": f"{row.name} (this one)" if row.this else row.name,
        "state": "alive" if row.alive else "gone",
        "place": f"{row.address}:{row.port}" if row.address else "",
        "version": row.version,
        "since": (row.since or "")[:19].replace("T", " "),
        "text": "; ".join(filter(None, said)),
    }
