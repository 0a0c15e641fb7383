"""`nodegate render`: files for other programs. One module for each; this one holds them together."""

from __future__ import annotations

import typer

from nodegate.cli import renderconsul, rendergrafana, renderkeepalived, renderprometheus, rendersystemd

render = typer.Typer(no_args_is_help=True, add_completion=False)
render.command("keepalived")(renderkeepalived.keepalived)
render.command("consul")(renderconsul.consul)
render.command("systemd")(rendersystemd.systemd)
render.command("prometheus")(renderprometheus.prometheus)
render.command("grafana")(rendergrafana.grafana)


@render.callback()
def _group() -> None:
    """Write files for keepalived, Consul, systemd and others."""
