"""Plan: what the latest pass changed, what safety holds back, and why."""

from __future__ import annotations

from nodegate.dashboard.frame import Frame, card, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.views import ChangeRow

CHANGES = (
    Column(name="what", label="Change", cell="reasons"),
    Column(name="why", label="Why", cell="reasons"),
)
WITHHELD = (
    Column(name="what", label="Change", cell="reasons"),
    Column(name="rule", label="Rule", cell="code"),
    Column(name="held", label="Why it is withheld", cell="reasons"),
    Column(name="why", label="Why it was wanted", cell="reasons"),
)
REFUSED = (Column(name="text", label="In HAProxy's words", cell="reasons"),)


async def build(frame: Frame) -> None:
    """The page."""
    tag(
        "p",
        "Once a second, and at once after a change, nodegate compares what HAProxy does with what it should do.",
    ).classes("soft")
    with card("Withheld by safety"):
        withheld = Grid(
            label="Withheld changes", noun="change", columns=WITHHELD, empty="Nothing is withheld."
        )
    with card("Changes of the latest pass"):
        changes = Grid(
            label="Changes",
            noun="change",
            columns=CHANGES,
            empty="HAProxy does what it should; there is nothing to change.",
        )
    with card("Refused by HAProxy"):
        refused = Grid(
            label="Refused changes", noun="change", columns=REFUSED, empty="HAProxy took every change."
        )

    def show(look: Look) -> None:
        plan = look.plan
        changes.show(_row(place, change) for place, change in enumerate(plan.changes))
        withheld.show(
            {**_row(place, item.change), "rule": item.rule, "held": item.why}
            for place, item in enumerate(plan.withheld)
        )
        refused.show({"id": place, "text": text} for place, text in enumerate(plan.refused))

    frame.show(show)


def _row(place: int, change: ChangeRow) -> Row:
    return {"id": place, "what": change.what, "why": change.why}
