"""Lines of the access log as HAProxy writes them, for tests of what reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from nodegate.views.access import AccessLine, parse_line

START = 1_767_322_984.0
"""2026-01-02T03:03:04Z"""

SERVED: dict[str, Any] = {
    "id": "7F000001:C2B0_1",
    "client": "203.0.113.5",
    "peer": "203.0.113.5",
    "key": "-",
    "pool": "main",
    "kind": "iri",
    "http": "POST",
    "path": "/",
    "method": "getNodeInfo",
    "class": "read",
    "lane": "read",
    "cost": 1,
    "verdict": "served",
    "rule": "-",
    "reason": "-",
    "status": 200,
    "node": "n1",
    "bytes_in": 180,
    "bytes_out": 900,
    "queue_ms": 0,
    "connect_ms": 1,
    "response_ms": 7,
    "total_ms": 9,
    "retries": "0",
    "termination": "--",
}
REFUSED: dict[str, Any] = {
    "method": "-",
    "lane": "-",
    "cost": 0,
    "verdict": "refused",
    "node": "-",
    "class": "403",
    "queue_ms": -1,
    "connect_ms": -1,
    "response_ms": -1,
    "termination": "LR",
}


def raw(second: float = 0.0, **fields: Any) -> bytes:
    """A line, `second` seconds after START; of a served getNodeInfo where nothing else is said."""
    moment = datetime.fromtimestamp(START + second, UTC)
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": time} | SERVED | fields).encode()


def refused(second: float = 0.0, **fields: Any) -> bytes:
    """A line of a request that the guard refused."""
    return raw(second, **(REFUSED | fields))


def line(second: float = 0.0, **fields: Any) -> AccessLine:
    """As `raw`, read."""
    return parse_line(raw(second, **fields))
