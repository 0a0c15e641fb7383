"""Rules for the machine under a gateway or node, by Prometheus's node_exporter. Pure.

The thresholds of the machine are those that the IRI playbook's monitoring shipped (its `alert.rules.yml`).
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


_SOCKETS = "nodegate_host_sockets"
_FILES = "nodegate_host_open_files / nodegate_host_open_files_limit"
_DESCRIPTORS = "the node at port {{ $labels.port }} uses {{ $value | humanizePercentage }} of its descriptors"

# By `nodegate sockets --textfile`; the limits are those of its own gauge.
SOCKET_RULES: tuple[PromRule, ...] = (
    PromRule("NodeCloseWait", f'{_SOCKETS}{{state="close_wait"}} > 50', WARNING, "5m",
             "{{ $value }} connections of the node at port {{ $labels.port }} are in CLOSE_WAIT",
             "Clients gave up and the node has not noticed: nodegate capture says what they asked.", "host"),
    PromRule("NodeCloseWaitCritical", f'{_SOCKETS}{{state="close_wait"}} > 200', CRITICAL, "5m",
             "{{ $value }} connections of the node at port {{ $labels.port }} are in CLOSE_WAIT",
             "Its descriptors run out; a restart frees them.", "host"),
    PromRule("NodeOwesAnswers", f'{_SOCKETS}{{state="owed"}} > 50', WARNING, "1m",
             "the node at port {{ $labels.port }} owes {{ $value }} answers",
             "It takes requests and does not answer: nodegate capture says which.", "host"),
    PromRule("NodeDescriptors", f"{_FILES} > 0.8", WARNING, "2m", _DESCRIPTORS,
             "Raise LimitNOFILE of its unit, or see what leaks: nodegate sockets.", "host"),
    PromRule("NodeDescriptorsCritical", f"{_FILES} > 0.95", CRITICAL, "1m", _DESCRIPTORS,
             "It will refuse connections and may lose its database.", "host"),
)  # fmt: skip

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
HOST_RULES += SOCKET_RULES
