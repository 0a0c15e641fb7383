"""What commands print: tables for people, JSON for programs. Nothing here decides anything."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodegate.model import Intent, Source, Status
from nodegate.views import NodeDetail, NodeRow, PoolRow, span
from nodegate.views.events import EventRow

STYLES: Mapping[Status, str] = {
    Status.UP: "green",
    Status.DEGRADED: "yellow",
    Status.DOWN: "bold red",
    Status.UNKNOWN: "dim",
}
SEVERITIES: Mapping[str, str] = {"info": "dim", "warning": "yellow", "critical": "bold red"}
NONE = "-"
RIGHT = ("HEIGHT", "LAG", "LATENCY", "REQUESTS", "SINCE")
MANY = 1000
"""Rows that a terminal shows with colours; more are for `grep` and `less`, and should come at once."""


def console() -> Console:
    """Standard output. Not a terminal: no wrapping, so that `grep` sees whole rows."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=4096)


def note(text: str) -> None:
    """A line for people on standard error, so that standard output stays clean."""
    print(clean(text), file=sys.stderr)


def print_json(document: BaseModel | Mapping[str, Any]) -> None:
    """One JSON document: indented on a terminal, else on one line."""
    data = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    print(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)


def clean(text: str) -> str:
    """`text` without control characters: a node's words must not move the cursor of an operator."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def cell(value: object) -> Text:
    """A value for a table, never read as markup."""
    return Text(NONE if value is None or value == "" else clean(str(value)))


def status_text(row: NodeRow) -> Text:
    """The status in its colour, with the intent where it is not to serve."""
    text = Text(row.status.value, style=STYLES[row.status])
    if row.intent is not Intent.SERVE:
        text.append(f" ({row.intent.value})", style="cyan")
    return text


def nodes_table(rows: Sequence[NodeRow], *, wide: bool = False) -> Table:
    """Nodes, one in a row, for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _columns(wide):
        last = name == "REASONS"
        right: Literal["right", "left"] = "right" if name in RIGHT else "left"
        table.add_column(name, justify=right, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in rows:
        values = _node_values(row, wide)
        table.add_row(
            *(status_text(row) if name == "STATUS" else cell(text) for name, text in values.items())
        )
    return table


def print_nodes(rows: Sequence[NodeRow], *, wide: bool = False) -> None:
    """Nodes as a table: with colours and folded on a terminal, else (or when there are very many) in plain
    columns, whole rows on whole lines, a hundred times as fast."""
    screen = console()
    if screen.is_terminal and len(rows) <= MANY:
        screen.print(nodes_table(rows, wide=wide))
        return
    lines = [
        _columns(wide),
        *([clean(text) or NONE for text in _node_values(row, wide).values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.rjust if name in RIGHT else str.ljust for name in lines[0]]
    for line in lines:
        parts = (pad(text, width) for pad, text, width in zip(pads, line, widths, strict=True))
        print("  ".join(parts).rstrip())


def _columns(wide: bool) -> list[str]:
    names = ["ID", "URL", "POOL", "KIND", "STATUS", *RIGHT, "REASONS"]
    return names if wide else [name for name in names if name != "URL"]


def _node_values(row: NodeRow, wide: bool) -> dict[str, str]:
    values: dict[str, str | None] = {
        "ID": row.id,
        "URL": row.url,
        "POOL": row.pool,
        "KIND": row.kind,
        "STATUS": status_text(row).plain,
        "HEIGHT": _number(row.height),
        "LAG": _number(row.lag),
        "LATENCY": _latency(row.latency_ms),
        "REQUESTS": _number(row.requests),
        "SINCE": ago(row.since),
        "REASONS": "; ".join(row.reasons),
    }
    return {name: (values[name] or "").replace("\n", " ") for name in _columns(wide)}


def pools_table(rows: tuple[PoolRow, ...]) -> Table:
    """Pools, one in a row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("POOL", no_wrap=True)
    table.add_column("KIND", no_wrap=True)
    for name in ("NODES", "UP", "DEGRADED", "DOWN", "UNKNOWN", "SERVING", "HEIGHT", "STEP"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        step = None if row.step_seconds is None else span(row.step_seconds)
        counts = (row.nodes, row.up, row.degraded, row.down, row.unknown, row.serving, row.height)
        table.add_row(
            cell(row.name),
            cell(", ".join(row.kinds)),
            *(cell(_number(count)) for count in counts),
            cell(step),
        )
    return table


def event_line(row: EventRow) -> Text:
    """One event on one line: when, how bad, what, about whom."""
    line = Text(row.at[:19].replace("T", " "), style="dim")
    line.append(f"  {row.severity:8}", style=SEVERITIES.get(row.severity, ""))
    line.append(f"  {row.kind:18}  ")
    line.append(clean(row.text).replace("\n", " "))
    return line


def facts_table(facts: Mapping[str, object]) -> Table:
    """Names and values, one in a row; None is shown as a dash."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value if isinstance(value, Text) else cell(value))
    return table


def node_facts(node: NodeDetail) -> dict[str, object]:
    """All of one node as names and values."""
    probe = node.observed
    facts: dict[str, object] = {
        "id": node.id,
        "url": node.url,
        "kind": node.kind,
        "pool": node.pool,
        "declared in": "nodegate.toml" if node.source is Source.FILE else "the registry",
        "status": status_text(node),
        "reasons": "; ".join(node.reasons),
        "since": node.since and f"{node.since} ({ago(node.since)} ago)",
        "height": _number(node.height),
        "lag": _number(node.lag),
        "latency": _latency(node.latency_ms),
        "peers": _number(node.peers),
        "software": node.software_version,
        "weight": node.weight,
        "maxconn": node.maxconn,
        "TLS verified": "yes" if node.tls_verify else "no",
        "options": ", ".join(f"{key}={value}" for key, value in node.options.items()),
        "version": node.version,
        "requests": _number(node.requests),
        "errors": _number(node.errors),
        "sessions": _number(node.sessions),
    }
    for server in node.servers:
        marked = ", taken out by HAProxy after a refused connection" if server.marked_down else ""
        facts[f"in {server.backend}"] = (
            f"{server.address}:{server.port}, {server.state.value}, weight {server.weight}{marked}"
        )
    if probe is not None:
        words = probe.text if probe.failure is None else f"{probe.failure}: {probe.text}"
        facts["last probe"] = (
            f"{ago(probe.at)} ago, {_latency(probe.duration_ms)}{', ' if words else ''}{words}"
        )
        facts["claimed tip"] = _number(probe.claimed_tip)
        facts["chain"] = probe.chain
        facts["application"] = probe.app
        facts["newest block"] = probe.head_time
        facts["exposed commands"] = ", ".join(probe.exposed)
    return facts


def ago(moment: str | None, now: float | None = None) -> str | None:
    """How long ago an ISO 8601 time was (`now`: seconds since the epoch, None: by this machine's clock)."""
    if moment is None:
        return None
    then = datetime.fromisoformat(moment).timestamp()
    return span((time.time() if now is None else now) - then)


def _number(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _latency(milliseconds: float | None) -> str | None:
    if milliseconds is None:
        return None
    return f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"
