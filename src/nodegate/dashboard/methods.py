"""What one node was asked, from the newest part of the access log: HAProxy counts by node and by method, not by
both."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodegate.errors import Malformed
from nodegate.telemetry.accesslog import NAME
from nodegate.views.access import parse_line

NEWEST = 1_000_000
"""Bytes of the log's end that are read: some two thousand requests, in a twentieth of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """One row for each method, and of which time they speak."""

    rows: tuple[dict[str, Any], ...]
    note: str


async def read_methods(directory: Path, node_id: str) -> Methods:
    """The methods that the node was asked; what cannot be read is said in the note."""
    return await asyncio.to_thread(_read, directory / NAME, node_id)


def _read(path: Path, node_id: str) -> Methods:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - NEWEST))
            lines = file.read(NEWEST).splitlines()
    except FileNotFoundError:
        return Methods(rows=(), note="There is no access log; a gateway with a policy writes one.")
    except OSError as error:
        return Methods(rows=(), note=f"The access log cannot be read: {error.strerror}.")
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    times: Counter[str] = Counter()
    first = last = ""
    for raw in lines[1:] if size > NEWEST else lines:
        try:
            line = parse_line(raw)
        except Malformed:
            continue
        first, last = first or line.time, line.time
        if line.node != node_id:
            continue
        method = line.method or line.path or "unknown"
        counts[method] += 1
        failed[method] += line.verdict == "failed" or (line.status or 0) >= 500
        times[method] += line.total_ms or 0
    rows = tuple(
        {
            "id": method,
            "method": method,
            "requests": count,
            "failed": failed[method],
            "mean": round(times[method] / count, 1),
        }
        for method, count in counts.items()
    )
    note = f"From the newest part of the access log, {first[:19]} to {last[:19]}." if first else ""
    return Methods(rows=rows, note=note.replace("T", " "))
