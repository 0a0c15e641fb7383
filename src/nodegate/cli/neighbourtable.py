"""Neighbours as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nodegate.cli.output import cell
from nodegate.host.neighbours.tracks import SPARKS, Row, State, cut_off, sparkline
from nodegate.host.neighbours.values import COUNTERS, Counters, Neighbour
from nodegate.views import span

SHOWN = ("all", "new", "invalid", "stale", "known", "sent")
STYLES: Mapping[State, str] = {State.LIVE: "green", State.QUIET: "yellow", State.DEAD: "bold red"}


def listed(found: Sequence[Neighbour]) -> Table:
    """What each neighbour has brought so far."""
    names = _present(COUNTERS, [one.counters for one in found])
    table = _table(("NEIGHBOUR", "CONNECTED"), names)
    for one in found:
        values = one.counters.known_values()
        numbers = (cell(f"{values[name]:,}" if name in values else None) for name in names)
        table.add_row(_name(one), _connected(one), *numbers)
    return table


def watched(
    node: str, rows: Sequence[Row], *, said: Sequence[str], trouble: str, width: int = 100
) -> RenderableType:
    """The live view: a line about all, a row for each neighbour with its rates per minute, and the last events.

    `width` is the terminal's, in columns: the sparkline takes what the numbers leave."""
    states = [row.state for row in rows]
    head = Text.assemble(
        (node, "bold"),
        f"  {len(rows)} neighbours, per minute: {states.count(State.LIVE)} live, {states.count(State.QUIET)} quiet, ",
        (f"{states.count(State.DEAD)} dead", STYLES[State.DEAD] if State.DEAD in states else ""),
    )
    parts: list[RenderableType] = [head]
    if trouble:
        parts.append(Text(cell(trouble).plain, "bold red"))
    if cut_off(rows):
        parts.append(
            Text("all are silent: the node is cut off, or its network stands still; none is removed", "red")
        )
    sparks = max(6, min(SPARKS, width - 72))
    names = _present(SHOWN, [row.neighbour.counters for row in rows])
    table = _table(("NEIGHBOUR", "STATE", "SILENT"), names)
    table.add_column("NEWS", no_wrap=True)
    for row in rows:
        rates = (cell(f"{row.per_minute[name]:,.0f}" if name in row.per_minute else None) for name in names)
        silent = cell(span(row.quiet) if row.quiet else None)
        style = STYLES[row.state]
        table.add_row(
            cell(row.neighbour.name),
            Text(_state(row), style),
            silent,
            *rates,
            Text(sparkline(row.news[-sparks:]), style),
        )
    parts.append(table)
    parts.extend(cell(line) for line in said)
    return Group(*parts)


def event(row: Row) -> str:
    """A neighbour's death or return in words."""
    if row.state is State.DEAD:
        return f"{row.neighbour.uri} is dead: nothing new for {span(row.quiet)}"
    return f"{row.neighbour.uri} brings something again"


def _state(row: Row) -> str:
    return "gone" if row.neighbour.connected is False and row.state is not State.DEAD else row.state.value


def _present(names: Sequence[str], counters: Sequence[Counters]) -> tuple[str, ...]:
    """The counters that this software has: a column of dashes says nothing."""
    known = {name for one in counters for name in one.known_values()}
    return tuple(name for name in names if name in known)


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name.upper(), justify="right", no_wrap=True)
    return table


def _name(one: Neighbour) -> Text:
    return cell(one.uri if "://" in one.uri else f"{one.name} {one.uri}")


def _connected(one: Neighbour) -> Text:
    return cell(None if one.connected is None else "yes" if one.connected else "no")
