"""Events and alerts as the documents of `nodegate.views.events`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from nodegate.alerting.outbox import ChannelState
from nodegate.alerting.rules import Alert, Alerts, Rule, Silence, muted
from nodegate.model import Instant
from nodegate.settings import ChannelSettings
from nodegate.telemetry.kinds import Event
from nodegate.views import iso
from nodegate.views.events import AlertRow, ChannelRow, EventRow, EventsDocument, RuleRow, SilenceRow


def event_row(event: Event) -> EventRow:
    """One event."""
    return EventRow(
        id=event.id,
        at=iso(event.at) or "",
        kind=event.kind.value,
        severity=event.severity.value,
        subject=event.subject,
        text=event.text,
        data=event.data,
    )


def events_document(events: Iterable[Event], after: int) -> EventsDocument:
    """Events as an answer to somebody who asked for those after `after`."""
    rows = tuple(event_row(event) for event in events)
    return EventsDocument(events=rows, last=rows[-1].id if rows else after)


def alert_rows(
    rules: Iterable[Rule], alerts: Alerts, silences: Iterable[Silence], now: Instant
) -> tuple[AlertRow, ...]:
    """All alerts, the worst and oldest first."""
    silences = tuple(silences)
    quiet = muted(rules, alerts)
    ranked = sorted(
        alerts.values(), key=lambda alert: (not alert.firing, -alert.severity.rank, alert.since, alert.key)
    )
    return tuple(_alert_row(alert, silences, alert.key in quiet, now) for alert in ranked)


def _alert_row(alert: Alert, silences: Iterable[Silence], quiet: bool, now: Instant) -> AlertRow:
    until = max((one.until for one in silences if one.covers(alert, now)), default=None)
    return AlertRow(
        rule=alert.rule,
        subject=alert.subject,
        severity=alert.severity.value,
        state="ended" if alert.ended_at is not None else "firing" if alert.firing else "pending",
        text=alert.text,
        value=alert.value,
        since=iso(alert.since) or "",
        fired_at=iso(alert.fired_at),
        told_at=iso(alert.told_at),
        silenced_until=iso(until),
        muted=quiet,
    )


def rule_row(rule: Rule) -> RuleRow:
    """One rule."""
    return RuleRow(
        name=rule.name,
        on=rule.on,
        severity=rule.severity.value,
        above=rule.above,
        below=rule.below,
        hold_seconds=rule.hold,
        clear_seconds=rule.clear,
        group_seconds=rule.group,
        repeat_seconds=rule.repeat,
        subjects=rule.subjects,
        pools=rule.pools,
        node_kinds=rule.node_kinds,
        channels=rule.channels,
        mutes=rule.mutes,
    )


def silence_row(silence: Silence) -> SilenceRow:
    """One silence."""
    return SilenceRow(
        id=silence.id,
        rule=silence.rule,
        subject=silence.subject,
        until=iso(silence.until) or "",
        reason=silence.reason,
    )


def channel_row(name: str, settings: ChannelSettings, state: ChannelState) -> ChannelRow:
    """One channel."""
    return ChannelRow(
        name=name,
        kind=settings.kind,
        severity=settings.severity,
        waiting=state.waiting,
        failing_since=iso(state.failing_since),
        error=state.error,
        delivered=state.delivered,
        dropped=state.dropped,
        last_at=iso(state.last_at),
    )
