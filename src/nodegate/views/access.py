"""Lines of the access log: one JSON object for each request. Pure.

A line may hold whatever a client sent: every value is read with care, and nothing here trusts it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Instant

VERDICTS = ("served", "refused", "failed")
"""What became of a request: a node answered it, a rule or limit stopped it, or no answer could be had."""

ABSENT = ("", "-")
"""How HAProxy writes a value that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLine:
    """One request. `cost` is in units, times are in milliseconds; None: there is no such value, because the
    request did not come that far.

    `client` is who asked, behind trusted proxies; `peer` the other end of the connection; `key` the name of
    the API key. `http` is the HTTP method, `method` what was called in the terms of the kind. `reason` is
    what the client was told; `moved` says that a further try went to another node.
    """

    at: Instant
    time: str
    id: str
    client: str
    verdict: str
    peer: str | None = None
    key: str | None = None
    pool: str | None = None
    kind: str | None = None
    http: str | None = None
    path: str | None = None
    method: str | None = None
    class_: str | None = None
    lane: str | None = None
    cost: int | None = None
    rule: str | None = None
    reason: str | None = None
    status: int | None = None
    node: str | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    queue_ms: int | None = None
    connect_ms: int | None = None
    response_ms: int | None = None
    total_ms: int | None = None
    retries: int | None = None
    moved: bool = False
    termination: str | None = None
    body: str | None = None


_TEXTS = (
    "peer", "key", "pool", "kind", "http", "path", "method", "lane", "rule", "reason", "node",
    "termination", "body",
)  # fmt: skip
_NUMBERS = (
    "cost", "status", "bytes_in", "bytes_out", "queue_ms", "connect_ms", "response_ms", "total_ms", "retries",
)  # fmt: skip


def parse_line(line: bytes | str) -> AccessLine:
    """One line of the log. Raises Malformed with what is wrong; unknown fields are left alone."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed("not a line of the access log: it is not JSON") from error
    if not isinstance(data, dict):
        raise Malformed("not a line of the access log: it is not one JSON object")
    time = _required(data, "time")
    verdict = _required(data, "verdict")
    if verdict not in VERDICTS:
        raise Malformed(f"verdict is {verdict!r}, not one of {', '.join(VERDICTS)}")
    fields: dict[str, Any] = {name: _text(data, name) for name in _TEXTS}
    fields |= {name: _number(data, name) for name in _NUMBERS}
    return AccessLine(
        at=instant(time),
        time=time,
        id=_text(data, "id") or "",  # what is no request at all gets no id
        client=_text(data, "client") or _text(data, "peer") or "",
        verdict=verdict,
        class_=_class(data),
        moved=isinstance(retries := data.get("retries"), str) and retries.startswith("+"),
        **fields,
    )


def instant(time: str) -> Instant:
    """An ISO 8601 time with its zone. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return Instant(moment.timestamp())
    except (ValueError, OverflowError) as error:
        raise Malformed(f"time is {time[:40]!r}, not an ISO 8601 time in UTC") from error


def document(line: AccessLine) -> dict[str, Any]:
    """The line as the log has it, without what is not known."""
    names = ("time", "id", "client", "verdict", *_TEXTS, *_NUMBERS)
    known = {name: getattr(line, name) for name in names} | {"class": line.class_}
    return {name: value for name, value in known.items() if value is not None}


def _required(data: Mapping[str, Any], name: str) -> str:
    value = _text(data, name)
    if value is None:
        raise Malformed(f"the line has no {name}")
    return value


def _class(data: Mapping[str, Any]) -> str | None:
    """The class; of a request that the guard refused, the field holds the status."""
    name = _text(data, "class")
    return None if name is None or name.isdigit() else name


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None or value in ABSENT:
        return None
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a text")
    return value


def _number(data: Mapping[str, Any], name: str) -> int | None:
    """A whole number; HAProxy writes -1 for a time that never came, and `+` before tries at another node."""
    value = data.get(name)
    if isinstance(value, str):
        text = value.removeprefix("+")
        if text in ABSENT:
            return None
        if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 19:
            raise Malformed(f"{name} is not a whole number")
        value = int(text)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"{name} is not a whole number")
    return value if value >= 0 else None
