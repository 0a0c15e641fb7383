"""Times, spans and changes in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

from nodegate.model import Change, ChangeKind, Instant, Seconds


def iso(instant: Instant | None) -> str | None:
    """`Instant` as ISO 8601 in UTC with milliseconds. None for None, and for a time that no calendar
    has: a node may claim any time stamp."""
    if instant is None:
        return None
    try:
        moment = datetime.fromtimestamp(instant, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float) -> str:
    """A time span for people: `0.4 s`, `12 s`, `5 min`, `3 h`, `2 d`; below zero is zero."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    for limit, unit, name in ((6000, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def what(change: Change) -> str:
    """What a change does, in one line."""
    server, kind = change.server, change.kind
    if server is None:
        name = "" if change.map_name is None else f" {change.map_name} ({len(change.entries or {})} entries)"
        return f"{kind.value}{name}"
    place = f"{server.backend}/{server.name}"
    value = {
        ChangeKind.ADD: f" at {server.address}:{server.port}, weight {server.weight}, {server.state.value}",
        ChangeKind.SET_ADDRESS: f" to {server.address}:{server.port}",
        ChangeKind.SET_WEIGHT: f" to {server.weight}",
        ChangeKind.SET_MAXCONN: f" to {server.maxconn if server.maxconn is not None else 'no bound'}",
        ChangeKind.SET_STATE: f" to {server.state.value}",
    }.get(kind, "")
    return f"{kind.value} {place}{value}"


def milliseconds(seconds: Seconds) -> float:
    """A span in milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)


def age(instant: Instant, now: Instant) -> float:
    """Seconds from `instant` to `now`, never below zero."""
    return round(max(0.0, now - instant), 3)


@overload
def readable(text: str) -> str: ...
@overload
def readable(text: None) -> None: ...
def readable(text: str | None) -> str | None:
    """`text` as something that can be written as UTF-8: a node may send half a surrogate pair in its JSON."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")
