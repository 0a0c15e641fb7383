"""Events: what happened, the newest first."""

from __future__ import annotations

from urllib.parse import quote

from nodegate.dashboard.frame import ROOT, Frame, card, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.telemetry.kinds import Event
from nodegate.views import iso

COLUMNS = (
    Column(name="at", label="When (UTC)", key=lambda row: row["order"]),
    Column(name="severity", label="Severity", cell="status", key=lambda row: row["rank"]),
    Column(name="kind", label="What", key=lambda row: row["kind"]),
    Column(name="subject", label="About", cell="link", key=lambda row: row["subject"]),
    Column(name="text", label="In words", cell="reasons"),
)


async def build(frame: Frame) -> None:
    """The page."""
    with card("What happened"):
        grid = Grid(
            label="Events", noun="event", columns=COLUMNS, sort=("at", True),
            words=lambda row: f"{row['severity']} {row['kind']} {row['subject']} {row['text']}",
            empty="Nothing has happened yet.",
        )  # fmt: skip
    tag("p", "The last 1,000 events. `nodegate events` reads the whole log.").classes("soft")
    shown: list[int] = []

    def show(look: Look) -> None:
        events = frame.site.source.history.events()
        mark = [len(events), id(events[-1]) if events else 0]
        if mark != shown:
            shown[:] = mark
            grid.show(_row(place, event) for place, event in enumerate(events))

    frame.show(show)


def _row(place: int, event: Event) -> Row:
    about, _, name = event.subject.partition("/")
    return {
        "id": place,
        "order": place,
        "at": (iso(event.at) or "")[:19].replace("T", " "),
        "severity": event.severity.value,
        "rank": event.severity.rank,
        "kind": event.kind.value,
        "subject": event.subject,
        "href": f"{ROOT}/nodes/{quote(name, safe='')}" if about == "node" else None,
        "text": event.text,
    }
