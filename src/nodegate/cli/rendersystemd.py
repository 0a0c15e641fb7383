"""`nodegate render systemd`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from nodegate.cli.rendered import Output, deliver
from nodegate.cli.up import ConfigFile


def systemd(
    *,
    config: ConfigFile = None,
    state: Annotated[str, typer.Option(metavar="DIR", help="State directory, below /var/lib.")] = "/var/lib/nodegate",
    user: Annotated[str, typer.Option(help="The user that both run as.")] = "nodegate",
    program: Annotated[
        str | None, typer.Option(metavar="FILE", help="nodegate's program; without it the one that runs now.")
    ] = None,
    output: Output = None,
) -> None:  # fmt: skip
    """Units for nodegate and, apart from it, for its HAProxy: unprivileged and shut in.

    The file of --config says whether HAProxy needs ports below 1024 and how many connections it serves.
    """
    from nodegate.haproxy.config import split_host_port
    from nodegate.render.systemd import PRIVILEGED, Host, render_systemd
    from nodegate.settings import load_settings

    gateway = load_settings(config, os.environ).gateway
    places = [*gateway.listen, *([gateway.health] if gateway.health else [])]
    host = Host(
        program=program or _program(), state=state, user=user, maxconn=gateway.maxconn,
        config=str(config.absolute()) if config is not None else "/etc/nodegate/nodegate.toml",
        low_ports=any(split_host_port(place)[1] < PRIVILEGED for place in places),
        own_haproxy=gateway.haproxy is None,
    )  # fmt: skip
    deliver(render_systemd(host), output)


def _program() -> str:
    """The file of the `nodegate` that runs now."""
    beside = Path(sys.executable).with_name("nodegate")
    return str(beside) if beside.exists() else shutil.which("nodegate") or str(beside)
