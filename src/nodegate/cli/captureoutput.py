"""What `nodegate capture` shows to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from nodegate.cli.output import cell, console
from nodegate.views import span

if TYPE_CHECKING:
    from nodegate.host.capture.report import Report, Row, Single

NARROW = 60
"""Characters of a body in a table; JSON has more."""


def show(report: Report) -> None:
    """The whole report on standard output."""
    screen = console()
    screen.print(overview(report))
    for title, singles in (("Slowest answers", report.slowest), ("Oldest without an answer", report.oldest)):
        if singles:
            screen.print()
            screen.print(_singles(title, singles))
    if any(row.unanswered for row in report.clients):
        screen.print()
        screen.print(_clients(report))


def overview(report: Report) -> RenderableType:
    """One line, the commands, what was found, and what to know about the capture; also shown while it runs."""
    parts: list[RenderableType] = [_summary(report)]
    if report.commands:
        parts.append(Commands(report.commands))
    parts += [Text.assemble(("! ", "bold red"), finding.text) for finding in report.findings[:10]]
    parts += [Text.assemble(("note: ", "yellow"), note) for note in report.notes]
    return Group(*parts)


def _summary(report: Report) -> Text:
    rate = f" ({report.requests / report.seconds:,.0f}/s)" if report.seconds >= 1 else ""
    text = Text(
        f"{report.requests:,} requests{rate} in {span(report.seconds)}: {report.answered:,} answered, "
    )
    text.append(f"{report.unanswered:,} unanswered", style="bold red" if report.unanswered else "green")
    if report.pending:
        text.append(f", {report.pending:,} pending")
    if report.unfinished:
        text.append(f", {report.unfinished:,} begun and never sent whole")
    if report.unpaired:
        text.append(f"; {report.unpaired:,} answers are known by acknowledgement only", style="dim")
    return text


class Commands:
    """The table of commands, without the columns of `SPARE` that a narrow screen has no room for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        table = _commands(self._rows, COLUMNS)
        for spared in range(1, len(SPARE) + 1):
            if screen.measure(table, options=options.update(max_width=WIDEST)).maximum <= options.max_width:
                break
            table = _commands(self._rows, [name for name in COLUMNS if name not in SPARE[:spared]])
        yield table


def _commands(rows: Sequence[Row], columns: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("COMMAND", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[:40]:
        table.add_row(
            cell(row.command),
            *(COLUMNS[name](row) for name in columns),
            style="red" if row.unanswered else "",
        )
    if len(rows) > 40:
        table.add_row(f"… {len(rows) - 40} more (--json)")
    return table


def _singles(title: str, singles: Sequence[Single]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("SECONDS", justify="right", no_wrap=True)
    for name in ("COMMAND", "CLIENT", "STATE"):
        table.add_column(name, no_wrap=True)
    table.add_column("BODY", overflow="fold")
    for single in singles:
        state = str(single.status) if single.status else single.state
        body = single.body if len(single.body) <= NARROW else f"{single.body[: NARROW - 1]}…"
        table.add_row(f"{single.seconds:,.3f}", cell(single.command), single.client, state, cell(body))
    return table


def _clients(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title="Clients", title_justify="left")
    table.add_column("CLIENT", no_wrap=True)
    for name in ("REQUESTS", "UNANSWERED"):
        table.add_column(name, justify="right")
    for row in report.clients:
        table.add_row(row.client, f"{row.requests:,}", f"{row.unanswered:,}")
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return (
        f"{seconds * 1000:.1f} ms"
        if seconds < 0.1
        else f"{seconds * 1000:.0f} ms"
        if seconds < 1
        else f"{seconds:.1f} s"
    )


def _bytes(total: int, count: int) -> str:
    """The mean, for people."""
    if not count:
        return "-"
    mean = total / count
    return f"{mean:.0f} B" if mean < 1000 else f"{mean / 1000:.1f} kB"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "CALLS": lambda row: f"{row.calls:,}",
    "ANSWERED": lambda row: f"{row.answered:,}",
    "UNANSWERED": lambda row: f"{row.unanswered:,}",
    "ERRORS": lambda row: f"{row.failed:,}",
    "P50": lambda row: _time(row.p50),
    "P90": lambda row: _time(row.p90),
    "P99": lambda row: _time(row.p99),
    "MAX": lambda row: _time(row.longest),
    "IN": lambda row: _bytes(row.request_bytes, row.calls),
    "OUT": lambda row: _bytes(row.answer_bytes, row.answered),
    "CLIENTS": lambda row: f"{row.clients:,}",
}
SPARE = ("OUT", "IN", "P90", "CLIENTS", "MAX", "ERRORS", "P50")
"""What a narrow screen can do without, the least important first."""
WIDEST = 1000
"""Characters; wider than any of these tables."""
