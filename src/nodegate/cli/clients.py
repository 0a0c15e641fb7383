"""`nodegate clients`: who asks how much; ban and unban."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client
from nodegate.errors import BadDocument, Fault

if TYPE_CHECKING:
    from rich.table import Table

    from nodegate.views.policy import ClientsDocument

clients = typer.Typer(invoke_without_command=True, add_completion=False)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")

Address = Annotated[str, typer.Argument(metavar="ADDR", help="IP address; IPv6 counts by its /64.")]


@clients.callback()
def show(
    *,
    context: typer.Context,
    top: Annotated[
        int, typer.Option("--top", "-n", min=1, max=10_000, help="How many clients to show.")
    ] = 20,
    by: Annotated[
        Literal["cost", "requests", "refusals"],
        typer.Option("--by", help="Order: units in a minute, requests in 10 s, refusals in a minute."),
    ] = "cost",
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show the clients that cost most, and who is banned."""
    if context.invoked_subcommand is not None:
        return
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.clients(top=top, by=by)
    if as_json:
        output.print_json(document)
        return
    screen = output.console()
    if document.clients:
        screen.print(_clients_table(document))
    hidden = document.seen - len(document.clients)
    if document.bans:
        screen.print()
        screen.print(_bans_table(document))
    output.note(
        f"and {hidden} more" if hidden else "" if document.clients else "no client has asked anything"
    )


@clients.command("ban")
def ban(
    *,
    address: Address,
    span: Annotated[
        str, typer.Option("--for", metavar="SPAN", help="How long, such as 90s, 10m, 2h or 1d.")
    ] = "10m",
    reason: Annotated[str | None, typer.Option("--reason", help="For the log.")] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Refuse all requests of a client for a while."""
    from nodegate.cli import output

    seconds = parse_span(span)
    with client(state, admin, token) as daemon:
        row = daemon.ban(address, seconds, reason)
    if as_json:
        output.print_json(row)
    else:
        output.note(f"{row.client} is banned until {row.until}")


@clients.command("unban")
def unban(
    *,
    address: Annotated[str | None, typer.Argument(metavar="ADDR", help="IP address.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Lift all bans.")] = False,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Let a client in again."""
    from nodegate.cli import output

    if (address is None) != everybody:
        raise typer.BadParameter("name one address, or --all")
    with client(state, admin, token) as daemon:
        lifted = daemon.unban(address).lifted
    if as_json:
        output.print_json({"lifted": list(lifted)})
    else:
        output.note(f"may ask again: {', '.join(lifted)}" if lifted else "nobody was banned")


def parse_span(text: str) -> float:
    """`90s`, `10m`, `2h`, `1d` in seconds. Raises BadDocument for anything else, and for 0."""
    found = _SPAN.fullmatch(text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not seconds:
        message = f"{text!r} is no span of time: write 90s, 10m, 2h or 1d"
        raise BadDocument([Fault(file="--for", line=None, key="", message=message)])
    return float(seconds)


def _clients_table(document: ClientsDocument) -> Table:
    from rich.table import Table

    from nodegate.cli.output import cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("CLIENT", no_wrap=True)
    table.add_column("KIND", no_wrap=True)
    names = ("COST 1 MIN", "COST 10 S", "REQUESTS", "IN 10 S", "AT ONCE", "REFUSED 1 MIN")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("BANNED UNTIL", no_wrap=True)
    for row in document.clients:
        numbers = (row.cost_1m, row.cost_10s, row.requests, row.rate_10s, row.concurrent, row.refusals_1m)
        table.add_row(
            cell(row.client), cell(row.kind), *(cell(f"{n:,}") for n in numbers), cell(row.banned_until)
        )
    return table


def _bans_table(document: ClientsDocument) -> Table:
    from rich.table import Table

    from nodegate.cli.output import cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("BANNED", "UNTIL", "BY"):
        table.add_column(name, no_wrap=True)
    for row in document.bans:
        table.add_row(cell(row.client), cell(row.until), "the policy" if row.automatic else "an operator")
    return table
