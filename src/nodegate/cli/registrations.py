"""`nodegate registrations`: who wants to add which node; approve, reject, ban."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from nodegate.views.registrations import RegistrationsDocument

registrations = typer.Typer(no_args_is_help=True, add_completion=False)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Registration, as `nodegate registrations list` shows it.")
]
Subject = Annotated[
    str, typer.Argument(metavar="WHO", help="E-mail address, @domain, IP address or network.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; the owner gets it by mail.")]


@registrations.command("list")
def show(
    *,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="STATE",
            help="unconfirmed, waiting, approved, active, left, removed, rejected or banned.",
        ),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show all registrations, and how the mails go."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.registrations(only)
    if as_json:
        output.print_json(document)
        return
    if document.registrations:
        _print(document)
    else:
        output.note("there are no registrations" if only is None else f"no registration is {only}")
    mails = document.mails
    if mails.waiting:
        why = f": {mails.error}" if mails.error else ""
        output.note(f"{mails.waiting} mails wait to be sent{why}")
    for sentence in mails.given_up:
        output.note(f"given up: {sentence}")


@registrations.command("approve")
def approve(
    *,
    registration: Id,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Let a waiting node join."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        row = daemon.approve(registration)
    if as_json:
        output.print_json(row)
    elif row.node is None:
        output.note(f"{row.url} is approved, and joins as soon as the registry can be written")
    else:
        output.note(f"{row.url} joins as {row.node}")


@registrations.command("reject")
def reject(
    *,
    registration: Id,
    reason: Reason = "",
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Do not take a node, or take it out; its owner gets a mail."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        row = daemon.reject(registration, reason)
    if as_json:
        output.print_json(row)
    else:
        output.note(f"{row.url} is rejected")


@registrations.command("bans")
def bans(*, as_json: AsJson = False, state: State = None, admin: Admin = None, token: Token = None) -> None:
    """Show who may not register."""
    from rich.table import Table

    from nodegate.cli import output
    from nodegate.cli.output import cell

    with client(state, admin, token) as daemon:
        document = daemon.registration_bans()
    if as_json:
        output.print_json(document)
        return
    if not document.bans:
        output.note("nobody is banned")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("BANNED", "SINCE", "REASON"):
        table.add_column(name)
    for row in document.bans:
        table.add_row(cell(row.subject), cell(row.at), cell(row.reason))
    output.console().print(table)


@registrations.command("ban")
def ban(
    *,
    subject: Subject,
    reason: Reason = "",
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Ban an owner or an address: what is registered there ends, new forms get no answer."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        done = daemon.ban_registrations(subject, reason)
    if as_json:
        output.print_json(done)
    else:
        output.note(f"{done.ban.subject} is banned; {len(done.ended)} registrations ended")


@registrations.command("unban")
def unban(
    *,
    subject: Subject,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Let somebody register again."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        row = daemon.unban_registrations(subject)
    if as_json:
        output.print_json(row)
    else:
        output.note(f"{row.subject} may register again")


def _print(document: RegistrationsDocument) -> None:
    from rich.table import Table

    from nodegate.cli import output
    from nodegate.cli.output import cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ID", "STATE", "OWNER", "NODE", "URL", "ADDRESS", "WEIGHT", "SINCE"):
        table.add_column(
            name, no_wrap=name in {"ID", "STATE"}, justify="right" if name == "WEIGHT" else "left"
        )
    for row in document.registrations:
        word = f"{row.state}, paused" if row.paused else row.state
        weight = None if row.weight is None else str(row.weight)
        since = row.ended_at or row.confirmed_at or row.created_at
        table.add_row(
            cell(row.id), cell(word), cell(row.email), cell(row.node), cell(row.url), cell(row.address),
            cell(weight), cell(since),
        )  # fmt: skip
    output.console().print(table)
