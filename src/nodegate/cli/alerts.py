"""`nodegate alerts`: what is wrong, who is told, and quiet for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.clients import parse_span
from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from nodegate.views.events import AlertsDocument

alerts = typer.Typer(no_args_is_help=True, add_completion=False)

NOT_DELIVERED = 1


@alerts.command("list")
def show(
    *,
    rules: Annotated[bool, typer.Option("--rules", help="Show the rules in force too.")] = False,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show alerts, silences and channels. Ends with 0 also when alerts fire."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.alerts()
    if as_json:
        output.print_json(document)
        return
    screen = output.console()
    for table in _tables(document, rules):
        screen.print(table)
        screen.print()
    if not document.alerts:
        output.note("no alert fires")
    if not document.channels:
        output.note("no channel is set: alerts are only listed here; see [alerts.channels.NAME]")


@alerts.command("test")
def try_channels(
    *,
    channel: Annotated[
        str | None, typer.Argument(metavar="CHANNEL", help="Name of a channel; all if none is named.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Send a test alert by the channels, now. Ends with 1 if one of them did not take it."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.test_alerts(channel)
    if as_json:
        output.print_json(document)
    else:
        for row in document.results:
            output.note(f"{row.channel}: {'taken' if row.ok else f'NOT taken: {row.text}'}")
        if not document.results:
            output.note("no channel is set; see [alerts.channels.NAME]")
    if any(not row.ok for row in document.results):
        raise typer.Exit(NOT_DELIVERED)


@alerts.command("silence")
def silence(
    *,
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="Rule, or a pattern such as 'node-*'; '*' for all.")
    ],
    subject: Annotated[
        str, typer.Option("--subject", metavar="PATTERN", help="Such as node/eu-1 or 'node/eu-*'.")
    ] = "*",
    node: Annotated[
        str | None, typer.Option("--node", metavar="ID", help="Short for --subject node/ID.")
    ] = None,
    span: Annotated[
        str, typer.Option("--for", metavar="SPAN", help="How long, such as 30m, 2h or 1d.")
    ] = "2h",
    reason: Annotated[str, typer.Option("--reason", help="For those who wonder why it is quiet.")] = "",
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Keep alerts quiet for a while. They stay listed, and what still fires at the end is said then."""
    from nodegate.cli import output

    if node is not None and subject != "*":
        raise typer.BadParameter("give --node or --subject, not both")
    with client(state, admin, token) as daemon:
        row = daemon.silence(
            rule=rule,
            subject=subject if node is None else f"node/{node}",
            seconds=parse_span(span),
            reason=reason,
        )
    if as_json:
        output.print_json(row)
    else:
        output.note(f"silence {row.id}: {row.rule} of {row.subject} until {row.until}")


@alerts.command("unsilence")
def unsilence(
    *,
    silence_id: Annotated[int, typer.Argument(metavar="ID", help="From `nodegate alerts list`.")],
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """End a silence before its time."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        daemon.unsilence(silence_id)
    output.note(f"silence {silence_id} is ended")


def _tables(document: AlertsDocument, rules: bool) -> list[Table]:
    from nodegate.cli.output import ago

    rows = [
        (row.severity, "silenced" if row.silenced_until else "muted" if row.muted else row.state, row.rule,
         row.subject, ago(row.since), row.text)
        for row in document.alerts
    ]  # fmt: skip
    found = [_table(("SEVERITY", "STATE", "RULE", "SUBJECT", "SINCE", "TEXT"), rows)]
    silences = [(row.id, row.rule, row.subject, row.until, row.reason) for row in document.silences]
    found.append(_table(("SILENCE", "RULE", "SUBJECT", "UNTIL", "REASON"), silences))
    channels = [
        (
            row.name,
            row.kind,
            row.severity,
            row.waiting,
            row.delivered,
            row.dropped,
            ago(row.failing_since),
            row.error,
        )
        for row in document.channels
    ]
    names = ("CHANNEL", "KIND", "FROM", "WAITING", "SENT", "DROPPED", "FAILING FOR", "ERROR")
    found.append(_table(names, channels))
    if rules:
        listed = [
            (row.name, row.severity, ", ".join(row.on), _condition(row.above, row.below), f"{row.hold_seconds:g}",
             f"{row.repeat_seconds:g}", ", ".join(row.node_kinds), ", ".join(row.channels) or "all")
            for row in document.rules
        ]  # fmt: skip
        columns = ("RULE", "SEVERITY", "ON", "VALUE", "HOLD S", "REPEAT S", "NODE KINDS", "CHANNELS")
        found.append(_table(columns, listed))
    return [table for table in found if table.row_count]


def _condition(above: float | None, below: float | None) -> str:
    parts = [f"> {above:g}" if above is not None else "", f"< {below:g}" if below is not None else ""]
    return " and ".join(part for part in parts if part)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    from rich.table import Table

    from nodegate.cli.output import SEVERITIES, cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        last = name in {"TEXT", "ERROR", "REASON"}
        table.add_column(name, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in rows:
        cells = [cell(value) for value in row]
        for text in cells:
            text.stylize(SEVERITIES.get(text.plain, ""))
        table.add_row(*cells)
    return table
