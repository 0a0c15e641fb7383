"""Rules for the machine under a gateway or node, by Prometheus's node_exporter. Pure.

The thresholds are those that the IRI playbook's monitoring shipped (its `alert.rules.yml`).
"""

from __future__ import annotations

from nodegate.render.promrule import CRITICAL, WARNING, PromRule

_CPU = '100 * (1 - avg by (job, instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])))'
_LOAD = 'node_load5 / on (job, instance) count by (job, instance) (node_cpu_seconds_total{mode="idle"})'
_DISK = '100 * (1 - node_filesystem_avail_bytes{mountpoint="/"} / node_filesystem_size_bytes{mountpoint="/"})'
_SWAP = "100 * (1 - node_memory_SwapFree_bytes / (node_memory_SwapTotal_bytes > 0))"
_MEMORY = "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)"

_ROWS = (
    ("Cpu", _CPU, 75, 90, "3m", "{{ $value | printf `%.0f` }} % of the CPU"),
    ("Load", _LOAD, 4, 7, "5m", "{{ $value | printf `%.1f` }} runnable processes for each CPU"),
    ("Disk", _DISK, 80, 95, "2m", "{{ $value | printf `%.0f` }} % of the root disk"),
    ("Swap", _SWAP, 80, 95, "3m", "{{ $value | printf `%.0f` }} % of the swap space"),
    ("Memory", _MEMORY, 80, 95, "5m", "{{ $value | printf `%.0f` }} % of the memory"),
)
"""Name, value, limits for a warning and for critical, how long, and the words."""


HOST_RULES: tuple[PromRule, ...] = tuple(
    PromRule(
        f"Host{name}{'Critical' if severity == CRITICAL else ''}",
        f"{expr} > {limit}",
        severity,
        hold,
        f"{{{{ $labels.instance }}}} uses {words}",
        "The nodes and the gateway on this machine suffer.",
        "host",
    )
    for name, expr, warning, critical, hold, words in _ROWS
    for severity, limit in ((WARNING, warning), (CRITICAL, critical))
)
