"""Events, alerts, silences and channels as documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from nodegate.views.models import View

SeverityWord = Literal["info", "warning", "critical"]


class EventRow(View):
    """One thing that happened."""

    id: int = Field(description="counts up; ask for `after` this one to get what came later")
    at: str
    kind: str
    severity: SeverityWord
    subject: str = Field(description="whom it is about, such as node/ID, pool/NAME, client/ADDRESS")
    text: str
    data: Mapping[str, Any]


class EventsDocument(View):
    """Events, oldest first."""

    events: tuple[EventRow, ...]
    last: int = Field(description="id of the newest event in this answer, else what was asked for as `after`")


class AlertRow(View):
    """An alert: one rule's state for one subject."""

    rule: str
    subject: str
    severity: SeverityWord
    state: Literal["pending", "firing", "ended"] = Field(
        description="pending: its condition has not held long enough yet; ended: over, to be told in a moment"
    )
    text: str
    value: float
    since: str = Field(description="when its condition began to hold")
    fired_at: str | None
    told_at: str | None = Field(description="when it was last sent to the channels; null: not at all")
    silenced_until: str | None
    muted: bool = Field(description="another alert of the same subject speaks for it")


class RuleRow(View):
    """A rule in force."""

    name: str
    on: tuple[str, ...]
    severity: SeverityWord
    above: float | None
    below: float | None
    hold_seconds: float
    clear_seconds: float
    group_seconds: float
    repeat_seconds: float
    subjects: tuple[str, ...]
    pools: tuple[str, ...]
    node_kinds: tuple[str, ...]
    channels: tuple[str, ...]
    mutes: tuple[str, ...]


class SilenceRow(View):
    """Alerts whose rule and subject match these patterns are not sent until then."""

    id: int
    rule: str
    subject: str
    until: str
    reason: str


class ChannelRow(View):
    """One way by which alerts leave. Addresses and secrets are not shown."""

    name: str
    kind: str
    severity: SeverityWord
    waiting: int = Field(description="alerts that wait to be sent")
    failing_since: str | None
    error: str
    delivered: int = Field(description="since the daemon started")
    dropped: int = Field(description="since the daemon started: refused, or waited too long")
    last_at: str | None


class AlertsDocument(View):
    """Alerts, rules, silences and channels."""

    alerts: tuple[AlertRow, ...]
    silences: tuple[SilenceRow, ...]
    channels: tuple[ChannelRow, ...]
    rules: tuple[RuleRow, ...]


class TestRow(View):
    """What became of a test alert."""

    __test__ = False

    channel: str
    ok: bool
    text: str


class TestsDocument(View):
    """A test alert through each channel, now and without the outbox."""

    __test__ = False

    results: tuple[TestRow, ...]
