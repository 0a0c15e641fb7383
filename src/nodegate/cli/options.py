"""Options that several commands share, and the client they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nodegate.cli.client import AdminClient

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="NODEGATE_STATE",
        metavar="DIR",
        help="State directory of the daemon.",
        rich_help_panel="Which daemon",
    ),
]
Admin = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar="NODEGATE_ADMIN",
        metavar="URL",
        help="Admin API of the daemon, instead of --state.",
        rich_help_panel="Which daemon",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="NODEGATE_TOKEN",
        help="Token for --admin; the variable is safer, options can be seen by all users of the machine.",
        rich_help_panel="Which daemon",
        show_envvar=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def client(state: Path | None, admin: str | None, token: str | None) -> AdminClient:
    """A client for the daemon that the options name. Raises as `find_daemon`."""
    from nodegate.cli.client import AdminClient
    from nodegate.cli.target import find_daemon

    return AdminClient(find_daemon(state, admin, token))
