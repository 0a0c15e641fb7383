"""Grafana: dashboards over the metrics of nodegate and of its HAProxy. Pure.

The JSON is that of Grafana's classic dashboards (schema version 39, Grafana 10 and newer): it can be imported by
hand, and provisioned from a directory. Where the metrics are is a variable of the dashboard, not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from nodegate.render.rendered import Rendered

DIRECTORY = "/var/lib/grafana/dashboards/nodegate"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WHO = 'job="nodegate", instance=~"$instance"'
_PROXY = 'job="nodegate-haproxy", instance=~"$instance"'
_WIDTH = 24
_HEIGHT = 8


class Panel(NamedTuple):
    """One panel: its title, what it shows (PromQL and legend), the unit in Grafana's words, and its width of 24."""

    title: str
    targets: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 12
    kind: str = "timeseries"
    stacked: bool = False
    about: str = ""


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{_WHO}{more}}}[$__rate_interval]))"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"histogram_quantile({share}, {_rate(f'{metric}_bucket', 'le')})", name)
        for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
    )


GATEWAY: tuple[Panel, ...] = (
    Panel("Up", [(f"min(nodegate_haproxy_up{{{_WHO}}})", "HAProxy"), (f"min(nodegate_registry_up{{{_WHO}}})", "registry"),
                 (f"min(nodegate_ready{{{_WHO}}})", "ready")], "bool_on_off", 6, "stat"),
    Panel("Nodes", [(f"sum by (status) (nodegate_nodes{{{_WHO}}})", "{{status}}")], "short", 6, "stat"),
    Panel("Alerts that fire", [(f"sum by (severity) (nodegate_alerts{{{_WHO}}})", "{{severity}}")], "short", 6, "stat"),
    Panel("Held back by safety", [(f"sum(nodegate_withheld_changes{{{_WHO}}}) or vector(0)", "changes")], "short", 6, "stat"),
    Panel("Requests", [(_rate("nodegate_method_requests_total", "kind"), "{{kind}}")], "reqps", stacked=True,
          about="Calls that the policy let through."),
    Panel("Refused, by rule", [(_rate("nodegate_refused_total", "rule"), "{{rule}}")], "reqps", stacked=True),
    Panel("Methods", [(f"topk(10, {_rate('nodegate_method_requests_total', 'method')})", "{{method}}")], "reqps"),
    Panel("Failures", [(_rate("nodegate_method_failures_total", "kind"), "{{kind}} 5xx"),
                       (_rate("nodegate_method_errors_total", "kind"), "{{kind}} 4xx")], "reqps"),
    Panel("Nodes by status", [(f"sum by (pool, status) (nodegate_nodes{{{_WHO}}})", "{{pool}} {{status}}")], stacked=True),
    Panel("Height", [(f"max by (pool) (nodegate_pool_height{{{_WHO}}})", "{{pool}}")], "none",
          about="The height that a quorum of the pool supports."),
    Panel("Verdicts that changed", [(f"sum by (pool, now) (increase(nodegate_verdict_changes_total{{{_WHO}}}[5m]))",
                                     "{{pool}} {{now}}")], about="Nodes that changed their status within five minutes."),
    Panel("Events", [(f"sum by (severity) (increase(nodegate_events_total{{{_WHO}}}[5m]))", "{{severity}}")]),
    Panel("Probes", [(_rate("nodegate_probes_total", "kind, outcome"), "{{kind}} {{outcome}}")], "ops", stacked=True),
    Panel("How long probes take", _quantiles("nodegate_probe_duration_seconds"), "s"),
    Panel("How long passes take", _quantiles("nodegate_pass_duration_seconds"), "s"),
    Panel("Clients and bans", [(f"sum(nodegate_clients{{{_WHO}}})", "clients"),
                               (f"sum by (by) (nodegate_bans{{{_WHO}}})", "banned by {{by}}")]),
    Panel("CPU of nodegate", [(f"sum by (instance) (rate(process_cpu_seconds_total{{{_WHO}}}[$__rate_interval]))",
                               "{{instance}}")], "percentunit"),
    Panel("Memory of nodegate", [(f"process_resident_memory_bytes{{{_WHO}}}", "{{instance}}")], "bytes"),
)  # fmt: skip

HAPROXY: tuple[Panel, ...] = (
    Panel("Requests per second", [(f'sum by (proxy) (rate(haproxy_frontend_http_requests_total{{{_PROXY}}}[$__rate_interval]))',
                                   "{{proxy}}")], "reqps"),
    Panel("Answers by code", [(f'sum by (code) (rate(haproxy_frontend_http_responses_total{{{_PROXY}}}[$__rate_interval]))',
                               "{{code}}")], "reqps", stacked=True),
    Panel("Connections", [(f"haproxy_process_current_connections{{{_PROXY}}}", "{{instance}} now"),
                          (f"haproxy_process_max_connections{{{_PROXY}}}", "{{instance}} at most")]),
    Panel("Waiting for a node", [(f'sum by (proxy) (haproxy_backend_current_queue{{{_PROXY}, proxy=~"pool_.*"}})', "{{proxy}}")]),
    Panel("Time to answer, mean of 1024", [(f'haproxy_backend_response_time_average_seconds{{{_PROXY}, proxy=~"pool_.*"}}',
                                            "{{proxy}}")], "s"),
    Panel("Time in the queue, mean of 1024", [(f'haproxy_backend_queue_time_average_seconds{{{_PROXY}, proxy=~"pool_.*"}}',
                                               "{{proxy}}")], "s"),
    Panel("Requests by node", [(f'topk(20, sum by (server) (rate(haproxy_server_http_responses_total{{{_PROXY}, proxy=~"pool_.*"}}'
                                "[$__rate_interval])))", "{{server}}")], "reqps", _WIDTH, stacked=True,
          about="Only up to the number of servers that the exporter reports one by one."),
    Panel("Bytes out", [(f"sum by (proxy) (rate(haproxy_frontend_bytes_out_total{{{_PROXY}}}[$__rate_interval]))", "{{proxy}}")],
          "Bps"),
    Panel("Idle time of HAProxy", [(f"haproxy_process_idle_time_percent{{{_PROXY}}}", "{{instance}}")], "percent"),
)  # fmt: skip


def render_grafana() -> tuple[Rendered, ...]:
    """The dashboards, and the file that has Grafana load them."""
    provider = (
        "# Written by `nodegate render grafana`.\n"
        "apiVersion: 1\n"
        "providers:\n"
        "  - name: nodegate\n"
        "    folder: nodegate\n"
        "    type: file\n"
        f"    options: {{path: {DIRECTORY}}}\n"
    )
    boards = (("nodegate", "nodegate", GATEWAY), ("nodegate-haproxy", "nodegate: HAProxy", HAPROXY))
    return (
        *(
            Rendered(
                path=f"dashboards/{uid}.json",
                text=json.dumps(dashboard(uid, title, panels), indent=2) + "\n",
                install=f"{DIRECTORY}/{uid}.json",
            )
            for uid, title, panels in boards
        ),
        Rendered(
            path="provisioning/nodegate.yml",
            text=provider,
            install="/etc/grafana/provisioning/dashboards/nodegate.yml",
        ),
    )


def dashboard(uid: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """One dashboard as Grafana's JSON."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["nodegate"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_datasource(), _instances(panels)]},
        "panels": _placed(panels),
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
            "options": [], "refresh": 1, "regex": "", "includeAll": False, "multi": False}  # fmt: skip


def _instances(panels: Sequence[Panel]) -> dict[str, Any]:
    metric = "nodegate_ready" if panels is GATEWAY else "haproxy_process_current_connections"
    query = f"label_values({metric}, instance)"
    return {
        "name": "instance", "label": "Gateway", "type": "query", "datasource": _SOURCE, "hide": 0,
        "query": {"query": query, "refId": "instance"}, "refresh": 2, "sort": 1, "regex": "",
        "includeAll": True, "allValue": ".*", "multi": True, "current": {"text": ["All"], "value": ["$__all"]}, "options": [],
    }  # fmt: skip


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The panels from left to right, row by row."""
    placed = []
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        height = _HEIGHT // 2 if panel.kind == "stat" else _HEIGHT
        if x + panel.width > _WIDTH:
            x, y = 0, y + row
            row = 0
        placed.append(_panel(number, panel) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}})
        x, row = x + panel.width, max(row, height)
    return placed


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
        for index, (expr, legend) in enumerate(panel.targets)
    ]
    stat = panel.kind == "stat"
    custom = {} if stat else {
        "drawStyle": "line", "fillOpacity": 20 if panel.stacked else 5, "lineWidth": 1, "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
    }  # fmt: skip
    options: dict[str, Any] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value",
        "graphMode": "none", "textMode": "auto", "orientation": "auto", "justifyMode": "auto", "wideLayout": True,
        "showPercentChange": False, "percentChangeColorMode": "standard",
    } if stat else {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }  # fmt: skip
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.about, "datasource": _SOURCE,
        "targets": targets, "fieldConfig": {"defaults": {"unit": panel.unit, "custom": custom}, "overrides": []},
        "options": options,
    }  # fmt: skip
