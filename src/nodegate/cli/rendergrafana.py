"""`nodegate render grafana`."""

from __future__ import annotations

from nodegate.cli.rendered import Output, deliver


def grafana(*, output: Output = None) -> None:
    """Dashboards for Grafana, and the file that has it load them."""
    from nodegate.render.grafana import render_grafana

    deliver(render_grafana(), output)
