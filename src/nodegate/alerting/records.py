"""Events and alerts as rows of the database. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from nodegate.alerting.rules import Alert
from nodegate.model import Instant
from nodegate.telemetry.kinds import Event, Kind, Severity

_KNOWN = frozenset(kind.value for kind in Kind)
_TIMES = ("since", "seen_at", "fired_at", "ended_at", "told_at")


def read_event(row: Sequence[Any]) -> Event | None:
    """(id, at, kind, severity, subject, text, data) as an event; None for a kind that only another version of
    nodegate knows."""
    number, at, kind, severity, subject, text, data = row
    if kind not in _KNOWN:
        return None
    return Event(
        id=number, at=Instant(at), kind=Kind(kind), severity=Severity(severity), subject=subject, text=text,
        data=json.loads(data),
    )  # fmt: skip


def write_alert(alert: Alert) -> str:
    """An alert as JSON."""
    fields: dict[str, object] = {
        name: getattr(alert, name) for name in ("rule", "subject", "text", "value", *_TIMES)
    }
    return json.dumps(fields | {"severity": alert.severity.value})


def read_alert(text: str) -> Alert | None:
    """The alert of that JSON; None for what another version of nodegate may have written differently."""
    try:
        fields = json.loads(text)
        return Alert(**(fields | {"severity": Severity(fields["severity"])}))
    except (ValueError, TypeError, KeyError):
        return None
