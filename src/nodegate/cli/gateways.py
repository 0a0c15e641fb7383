"""`nodegate gateways`: who is in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from rich.table import Table

    from nodegate.views.cluster import GatewayRow, GatewaysDocument

ALONE = 2
"""Exit code when some gateway does not live, as a monitoring system reads it."""


def gateways(
    *, as_json: AsJson = False, state: State = None, admin: Admin = None, token: Token = None
) -> None:
    """Show the gateways of the cluster. Exit 2 when one does not live or something is wrong."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.gateways()
    if as_json:
        output.print_json(document)
    elif document.me is None:
        output.note("this gateway is no part of a cluster; see docs/cluster.md")
    else:
        screen = output.console()
        screen.print(gateways_table(document))
        for row in document.gateways:
            for node, text in (row.disagrees or {}).items():
                screen.print(output.cell(f"{row.name} disagrees on {node}: {text}"), style="yellow")
        for fault in faults_of(document):
            screen.print(output.cell(f"! {fault}"), style="bold red")
    if faults_of(document) or not all(row.alive for row in document.gateways):
        raise typer.Exit(ALONE)


def faults_of(document: GatewaysDocument) -> list[str]:
    """All that is wrong, those of the other gateways with their name."""
    others = [f"{row.name}: {row.fault}" for row in document.gateways if row.fault and not row.this]
    return [*document.faults, *others]


def gateways_table(document: GatewaysDocument) -> Table:
    """One row for each gateway; this one has a star."""
    from rich.table import Table

    from nodegate.cli.output import cell

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("GATEWAY", "CLIENTS", "ADMIN", "VERSION", "STATE", "SINCE", "POLICIES", "WHY"):
        table.add_column(name, no_wrap=name != "WHY")
    for row in document.gateways:
        table.add_row(
            cell(f"{row.name}{' *' if row.this else ''}"), cell(f"{row.address or '-'}:{row.port}"),
            cell(row.admin), cell(row.version), cell("alive" if row.alive else "dead"), cell(row.since),
            cell(_policies(row)), cell(row.why or "-"),
        )  # fmt: skip
    return table


def _policies(row: GatewayRow) -> str:
    """The versions, short; an exclamation mark where it is another one than here."""
    marks = {True: "!", False: ""}
    texts = [f"{kind} {version[:8]}{marks[kind in row.differs]}" for kind, version in row.policies.items()]
    return ", ".join(texts) or "-"
