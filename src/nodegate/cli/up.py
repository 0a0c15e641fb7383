"""`nodegate up` and `nodegate down`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nodegate.cli.options import State

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="nodegate.toml; without one, sensible defaults."),
]
NodeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--node", metavar="KIND=URL",
        help="A node to start with, such as iri=http://192.0.2.1:14265; may be given again.",
    ),
]  # fmt: skip
Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", metavar="ADDR", help="Address for clients, HOST:PORT; may be given again."),
]
AdminAddress = Annotated[
    str | None, typer.Option("--admin", metavar="ADDR", help="Address of the admin API, HOST:PORT.")
]
JsonLog = Annotated[bool, typer.Option("--log-json", help="Write the log as JSON lines.")]


def up(
    config: ConfigFile = None,
    node: NodeOption = None,
    listen: Listen = None,
    admin: AdminAddress = None,
    state: State = None,
    log_json: JsonLog = False,
) -> None:
    """Run the gateway in the foreground.

    Ctrl-C stops it and its HAProxy. A termination signal, as a service manager sends it for an upgrade,
    stops nodegate alone: HAProxy serves on, and the next `nodegate up` takes it over.
    """
    from nodegate.cli.start import settings_for
    from nodegate.daemon.state import default_state_dir
    from nodegate.telemetry import configure_logging
    from nodegate.wiring import run

    settings = settings_for(config, os.environ, nodes=node or [], listen=listen or [], admin=admin)
    configure_logging(as_json=log_json)
    run(settings, state or default_state_dir(os.environ), announce=_announce)


def down(state: State = None) -> None:
    """Stop the gateway of a state directory, nodegate and its HAProxy both; no error if nothing runs."""
    from nodegate.daemon.state import default_state_dir
    from nodegate.wiring import shut_down

    print(asyncio.run(shut_down(state or default_state_dir(os.environ))))


def _announce(lines: list[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)
