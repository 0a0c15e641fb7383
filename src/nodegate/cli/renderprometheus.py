"""`nodegate render prometheus`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nodegate.cli.rendered import Output, deliver


def prometheus(
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Admin address of a gateway; one --target for each of them."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="nodegate.toml: its admin address is the target."
        ),
    ] = None,
    token_file: Annotated[
        str, typer.Option(metavar="FILE", help="Where Prometheus finds the admin token, on its machine.")
    ] = "/etc/prometheus/nodegate.token",  # noqa: S107 -- a place, not a token
    interval: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between scrapes.")] = 15,
    alertmanager: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="An Alertmanager that gets the alerts.")
    ] = None,
    host: Annotated[
        bool, typer.Option("--host", help="Rules for the machine too (node_exporter on port 9100).")
    ] = False,
    neighbours: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Where `nodegate neighbours watch --serve` tells its metrics."
        ),
    ] = None,
    output: Output = None,
) -> None:
    """What Prometheus scrapes, and when it wakes somebody."""
    from nodegate.render.prometheus import Scrape, render_prometheus
    from nodegate.settings import load_settings

    targets = target or [load_settings(config, os.environ).gateway.admin]
    scrape = Scrape(
        targets=targets,
        token_file=token_file,
        interval=interval,
        alertmanagers=alertmanager or (),
        host=host,
        neighbours=neighbours or (),
    )
    deliver(render_prometheus(scrape), output)
