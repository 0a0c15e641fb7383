"""Which rows a pane has, in which order, and what its cells say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.text import Text

from nodegate.cli.output import NONE, SEVERITIES, STYLES, ago, clean, status_text
from nodegate.cli.top.feed import Look, MethodRow, client_key
from nodegate.model import Intent, Status
from nodegate.views.events import EventRow
from nodegate.views.models import NodeRow
from nodegate.views.policy import ClientRow

T = TypeVar("T")
Order = Callable[[Any], Any]
MOST = 200
"""Rows of a pane: who looks for one beyond them sorts or filters. A table of thousands costs seconds for each look."""
_WORST = {Status.DOWN: 0, Status.UNKNOWN: 1, Status.DEGRADED: 2, Status.UP: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    """One column. `order` is what it is sorted by, None: not at all; `most` puts the largest first."""

    title: str
    show: Callable[[T, Look], Text]
    order: Callable[[T, Look], Any] | None = None
    most: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pane(Generic[T]):
    """One table. `key` names a row for good; `find` is what a filter looks in."""

    id: str
    title: str
    rows: Callable[[Look], Sequence[T]]
    key: Callable[[T], str]
    find: Callable[[T], str]
    columns: tuple[Column[T], ...]
    empty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A pane's rows as they stand on the screen: keys and cells in order, and how many the filter hides.
    `more` rows would follow."""

    keys: tuple[str, ...]
    cells: tuple[tuple[Text, ...], ...]
    hidden: int
    more: int


def sortable(pane: Pane[Any]) -> tuple[int, ...]:
    """The columns that a pane can be sorted by."""
    return tuple(place for place, column in enumerate(pane.columns) if column.order is not None)


def shown(pane: Pane[Any], look: Look, *, sort: int, backwards: bool, wanted: str) -> Shown:
    """The rows that `wanted` (any case, part of what is found) lets through, by the column `sort`; rows that are
    equal in it stay in the order of their keys."""
    everything = pane.rows(look)
    needle = wanted.casefold().strip()
    rows = [row for row in everything if needle in pane.find(row).casefold()] if needle else list(everything)
    column = pane.columns[sort]
    if column.order is not None:
        order = column.order
        rows.sort(key=pane.key)
        # What is not known stands last, whichever way the rest is turned.
        known = [row for row in rows if order(row, look) is not None]
        rest = [row for row in rows if order(row, look) is None]
        known.sort(key=lambda row: order(row, look), reverse=column.most != backwards)
        rows = known + rest
    return Shown(
        keys=tuple(pane.key(row) for row in rows[:MOST]),
        cells=tuple(tuple(column.show(row, look) for column in pane.columns) for row in rows[:MOST]),
        hidden=len(everything) - len(rows),
        more=max(0, len(rows) - MOST),
    )


def head(look: Look, url: str) -> Text:
    """Two lines about the whole gateway."""
    status = look.status
    counts = {one: sum(row.status is one for row in look.nodes) for one in Status}
    good = status.state == "ok"
    text = Text.assemble(
        ("nodegate ", "bold"),
        (status.state, "green" if good else "bold red"),
        f"  {clean(url)}  ",
        (f"{sum(look.rates.values()):,.0f} requests/s" if look.rates else "", "bold"),
        "\n",
        f"{len(look.nodes)} nodes: ",
    )
    for one in (Status.UP, Status.DEGRADED, Status.DOWN, Status.UNKNOWN):
        text.append(f"{counts[one]} {one.value}  ", STYLES[one] if counts[one] else "dim")
    for pool in status.pools[:2]:
        text.append(f" {clean(pool.name)} at {_count(pool.height)}")
    if status.withheld:
        text.append(f"  {status.withheld} changes withheld", "yellow")
    return text


def _plain(text: str | None, style: str = "") -> Text:
    return Text(clean(text).replace("\n", " ") if text else NONE, style)


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _number(get: Callable[[Any], float | None], style: str = "") -> Callable[[Any, Look], Text]:
    """Right-aligned; coloured when it is not zero."""

    def show(row: Any, look: Look) -> Text:
        del look
        value = get(row)
        return Text(_count(value), style if value else "", justify="right")

    return show


def _by(get: Callable[[Any], Any]) -> Callable[[Any, Look], Any]:
    return lambda row, look: get(row)


def _until(at: str | None) -> str | None:
    """Day and minute (UTC): what 80 columns have room for."""
    return None if at is None else f"{at[5:10]} {at[11:16]}"


def _rate(value: float | None) -> Text:
    return Text(NONE if value is None else f"{value:,.1f}", justify="right")


NODES: Pane[NodeRow] = Pane(
    id="nodes",
    title="Nodes",
    rows=lambda look: look.nodes,
    key=lambda row: row.id,
    find=lambda row: " ".join((row.id, row.pool, row.kind, row.status, row.intent, *row.reasons)),
    empty="no nodes; add one with `nodegate nodes add URL --kind KIND`",
    columns=(
        Column(title="NODE", show=lambda row, look: _plain(row.id), order=_by(lambda row: row.id)),
        Column(
            title="STATUS",
            show=lambda row, look: status_text(row),
            order=_by(lambda row: (_WORST[row.status], row.intent is Intent.SERVE)),
        ),
        Column(title="POOL", show=lambda row, look: _plain(row.pool), order=_by(lambda row: row.pool)),
        Column(title="HEIGHT", show=_number(lambda row: row.height), order=_by(lambda row: row.height), most=True),
        Column(title="LAG", show=_number(lambda row: row.lag, "yellow"), order=_by(lambda row: row.lag), most=True),
        Column(
            title="MS",
            show=_number(lambda row: row.latency_ms),
            order=_by(lambda row: row.latency_ms),
            most=True,
        ),
        Column(
            title="REQ/S",
            show=lambda row, look: _rate(look.rates.get(row.id)),
            order=lambda row, look: look.rates.get(row.id),
            most=True,
        ),
        Column(title="ERRORS", show=_number(lambda row: row.errors, "red"), order=_by(lambda row: row.errors), most=True),
        Column(title="SINCE", show=lambda row, look: _plain(ago(row.since)), order=_by(lambda row: row.since), most=True),
        Column(title="REASONS", show=lambda row, look: _plain("; ".join(row.reasons))),
    ),
)  # fmt: skip
METHODS: Pane[MethodRow] = Pane(
    id="methods",
    title="Methods",
    rows=lambda look: look.methods,
    key=lambda row: f"{row.kind} {row.method}",
    find=lambda row: f"{row.kind} {row.method}",
    empty="no method is counted yet",
    columns=(
        Column(title="METHOD", show=lambda row, look: _plain(row.method), order=_by(lambda row: row.method)),
        Column(title="KIND", show=lambda row, look: _plain(row.kind), order=_by(lambda row: row.kind)),
        Column(title="REQ/S", show=lambda row, look: _rate(row.rate), order=_by(lambda row: row.rate), most=True),
        Column(title="REQUESTS", show=_number(lambda row: row.requests), order=_by(lambda row: row.requests), most=True),
        Column(title="4XX", show=_number(lambda row: row.errors, "yellow"), order=_by(lambda row: row.errors), most=True),
        Column(title="5XX", show=_number(lambda row: row.failures, "red"), order=_by(lambda row: row.failures), most=True),
    ),
)  # fmt: skip
CLIENTS: Pane[ClientRow] = Pane(
    id="clients",
    title="Clients",
    rows=lambda look: look.clients,
    key=client_key,
    find=lambda row: f"{client_key(row)} {'banned' if row.banned_until else ''}",
    empty="no client has asked anything",
    columns=(
        Column(title="CLIENT", show=lambda row, look: _plain(row.client), order=_by(lambda row: row.client)),
        Column(title="KIND", show=lambda row, look: _plain(row.kind), order=_by(lambda row: row.kind)),
        Column(title="COST/MIN", show=_number(lambda row: row.cost_1m), order=_by(lambda row: row.cost_1m), most=True),
        Column(title="REQUESTS", show=_number(lambda row: row.requests), order=_by(lambda row: row.requests), most=True),
        Column(title="IN 10 S", show=_number(lambda row: row.rate_10s), order=_by(lambda row: row.rate_10s), most=True),
        Column(title="AT ONCE", show=_number(lambda row: row.concurrent), order=_by(lambda row: row.concurrent), most=True),
        Column(title="REFUSED", show=_number(lambda row: row.refusals_1m, "red"), order=_by(lambda row: row.refusals_1m), most=True),
        Column(
            title="BANNED",
            show=lambda row, look: _plain(_until(row.banned_until), "bold red" if row.banned_until else ""),
            order=_by(lambda row: row.banned_until),
            most=True,
        ),
    ),
)  # fmt: skip
EVENTS: Pane[EventRow] = Pane(
    id="events",
    title="Events",
    rows=lambda look: look.events,
    key=lambda row: f"{row.id:020d}",
    find=lambda row: f"{row.kind} {row.severity} {row.subject} {row.text}",
    empty="nothing has happened",
    columns=(
        Column(title="TIME", show=lambda row, look: _plain(row.at[11:19]), order=_by(lambda row: row.id), most=True),
        Column(
            title="KIND",
            show=lambda row, look: _plain(row.kind, SEVERITIES[row.severity]),
            order=_by(lambda row: row.kind),
        ),
        Column(title="WHAT", show=lambda row, look: _plain(row.text)),
    ),
)  # fmt: skip
PANES: tuple[Pane[Any], ...] = (NODES, METHODS, CLIENTS, EVENTS)
FIRST_SORT: Mapping[str, int] = {"nodes": 1, "methods": 3, "clients": 2, "events": 0}
"""Sick nodes, much-used methods, dear clients and the newest events stand first."""
