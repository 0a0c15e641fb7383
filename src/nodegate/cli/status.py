"""`nodegate status` and `nodegate token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from nodegate.views import StatusDocument

UNWELL = 1
"""Exit code when the gateway is starting or impaired."""


def status(*, as_json: AsJson = False, state: State = None, admin: Admin = None, token: Token = None) -> None:
    """Show how the gateway, its registry, its HAProxy and its pools are. Exit 1 when something is wrong."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.status()
    if as_json:
        output.print_json(document)
    else:
        _show(document)
    if document.state != "ok":
        raise typer.Exit(UNWELL)


def _show(document: StatusDocument) -> None:
    from nodegate.cli import output
    from nodegate.views import span

    screen = output.console()
    facts: dict[str, object] = {
        "nodegate": f"{document.state}, version {document.version}, up {span(document.uptime_seconds)}",
        "registry": document.registry.text,
        "HAProxy": document.haproxy.text,
        "last pass": f"{span(document.pass_age_seconds)} ago, took {document.pass_ms:.1f} ms",
        "plan": f"{document.changes} changes, {document.withheld} withheld",
    }
    if document.cluster is not None:
        facts["gateways"] = document.cluster.text
    screen.print(output.facts_table(facts))
    if document.pools:
        screen.print()
        screen.print(output.pools_table(document.pools))
    for fault in document.faults:
        screen.print(output.cell(f"! {fault}"), style="bold red")


def token(state: State = None) -> None:
    """Print the admin token of the gateway on this machine, for Prometheus, curl or another machine."""
    from nodegate.cli.target import find_daemon

    print(find_daemon(state, None, None).token)
