"""When an alert fires, when it is over, and when that is said. Pure: time is passed in.

An alert is born when its rule's condition holds, fires once it held for `hold` seconds, and ends once it has been
over for `clear` seconds. What fires and ends within one `group` window is never said. Everything that is said
leaves a trace in the alert itself (`told_at`), which is kept on disk: a restart neither repeats nor forgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from nodegate.alerting.signals import Signal
from nodegate.model import Instant, Seconds
from nodegate.settings.alerts import OCCURRENCES
from nodegate.telemetry.kinds import Severity

AT_ONCE = Seconds(0.0)
CALM = Seconds(30.0)
"""What was bad must be good for so long before it is called over: what flaps is said once."""
GROUP = Seconds(10.0)
REPEAT = Seconds(3600.0)
"""The playbook's Alertmanager repeats every hour."""

Key = tuple[str, str]
"""(rule, subject)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is worth saying. `above` and `below` None: the signal's being there is the condition. Patterns in
    `subjects` are of the shell's kind; empty `pools`, `node_kinds`, `channels` mean all."""

    name: str
    on: tuple[str, ...]
    severity: Severity = Severity.WARNING
    above: float | None = None
    below: float | None = None
    hold: Seconds = AT_ONCE
    clear: Seconds = CALM
    group: Seconds = GROUP
    repeat: Seconds = REPEAT
    subjects: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    node_kinds: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    mutes: tuple[str, ...] = ()

    @property
    def momentary(self) -> bool:
        """It only looks at what just happens: there is no end that anybody should be told of."""
        return all(name in OCCURRENCES for name in self.on)

    def meets(self, signal: Signal) -> bool:
        """Whether the signal is what this rule waits for."""
        return (
            signal.name in self.on
            and (self.above is None or signal.value > self.above)
            and (self.below is None or signal.value < self.below)
            and (not self.pools or signal.pool in self.pools)
            and (not self.node_kinds or signal.node_kind in self.node_kinds)
            and (not self.subjects or any(fnmatchcase(signal.subject, pattern) for pattern in self.subjects))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule's state for one subject.

    `since` is when the condition began to hold, `seen_at` when it last did. `fired_at` None: it waits for its
    hold time. `ended_at` is set once it is over. `told_at` is when it was last said that it fires.
    """

    rule: str
    subject: str
    severity: Severity
    text: str
    value: float
    since: Instant
    seen_at: Instant
    fired_at: Instant | None = None
    ended_at: Instant | None = None
    told_at: Instant | None = None

    @property
    def key(self) -> Key:
        """Rule and subject."""
        return self.rule, self.subject

    @property
    def firing(self) -> bool:
        """It has fired and is not over."""
        return self.fired_at is not None and self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Until then, alerts whose rule and subject match the patterns are not said."""

    rule: str
    subject: str
    until: Instant
    reason: str = ""
    id: int = 0

    def covers(self, alert: Alert, now: Instant) -> bool:
        """Whether it keeps this alert quiet now."""
        return (
            now < self.until
            and fnmatchcase(alert.rule, self.rule)
            and fnmatchcase(alert.subject, self.subject)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said of one rule now: alerts that fire (new ones, and those due again) and ended ones."""

    rule: Rule
    firing: tuple[Alert, ...] = ()
    ended: tuple[Alert, ...] = ()


Alerts = Mapping[Key, Alert]


def observe(
    rules: Iterable[Rule], alerts: Alerts, signals: Iterable[Signal], now: Instant,
    unknown: Set[str] = frozenset(),
) -> dict[Key, Alert]:  # fmt: skip
    """The alerts after what `signals` say at `now`. An alert whose rule is gone is dropped. Of the subjects in
    `unknown` nobody can say whether a condition still holds: what waits or fires there goes on."""
    by_name: dict[str, list[Rule]] = {}
    by_rule = {rule.name: rule for rule in rules}
    for rule in by_rule.values():
        for name in rule.on:
            by_name.setdefault(name, []).append(rule)
    after: dict[Key, Alert] = {}
    for signal in signals:
        for rule in by_name.get(signal.name, ()):
            if rule.meets(signal):
                key = (rule.name, signal.subject)
                after[key] = _held(rule, alerts.get(key), signal, now)
    for key, alert in alerts.items():
        if key not in after and alert.rule in by_rule:
            rule = by_rule[alert.rule]
            open_ = alert.subject in unknown and alert.ended_at is None and not rule.momentary
            over = replace(alert, seen_at=now) if open_ else _over(rule, alert, now)
            if over is not None:
                after[key] = over
    return after


def _held(rule: Rule, alert: Alert | None, signal: Signal, now: Instant) -> Alert:
    if alert is None or (alert.ended_at is not None and alert.told_at is None):
        alert = Alert(
            rule=rule.name, subject=signal.subject, severity=rule.severity, text=signal.text,
            value=signal.value, since=_began(rule, signal, now), seen_at=now,
        )  # fmt: skip
    fired_at = alert.fired_at
    if fired_at is None and now - alert.since >= rule.hold:
        fired_at = now
    return replace(
        alert, severity=rule.severity, text=signal.text, value=signal.value, seen_at=now, fired_at=fired_at,
        ended_at=None,
    )  # fmt: skip


def _began(rule: Rule, signal: Signal, now: Instant) -> Instant:
    """When the condition began. A signal's own beginning counts only where its being there is the condition;
    when it passed a threshold is not known."""
    if signal.since is None or rule.above is not None or rule.below is not None:
        return now
    return min(now, signal.since)


def _over(rule: Rule, alert: Alert, now: Instant) -> Alert | None:
    """The alert without its condition; None: nobody needs to know of it any more."""
    if alert.fired_at is None:
        return None
    if alert.ended_at is None and now - alert.seen_at >= rule.clear:
        alert = replace(alert, ended_at=now)
    forgotten = alert.ended_at is not None and (alert.told_at is None or rule.momentary)
    return None if forgotten else alert


def not_ahead(alert: Alert, now: Instant) -> Alert:
    """The alert without times that are still to come, which a clock that went wrong before a restart has left."""
    times = {name: getattr(alert, name) for name in ("since", "seen_at", "fired_at", "ended_at", "told_at")}
    return replace(alert, **{name: min(at, now) for name, at in times.items() if at is not None})


def muted(rules: Iterable[Rule], alerts: Alerts) -> frozenset[Key]:
    """Alerts about which a firing alert of the same subject speaks already."""
    by_rule = {rule.name: rule for rule in rules}
    return frozenset(
        (name, alert.subject)
        for alert in alerts.values()
        if alert.firing and alert.rule in by_rule
        for name in by_rule[alert.rule].mutes
        if (name, alert.subject) in alerts
    )


def due(
    rules: Iterable[Rule], alerts: Alerts, silences: Iterable[Silence], now: Instant
) -> tuple[Notice, ...]:
    """What is to be said now, one notice for each rule that has something to say."""
    rules, silences = tuple(rules), tuple(silences)
    quiet = muted(rules, alerts)
    held: dict[str, list[Alert]] = {}
    for alert in alerts.values():
        held.setdefault(alert.rule, []).append(alert)
    notices = []
    for rule in rules:
        fresh, again, ended = [], [], []
        for alert in held.get(rule.name, ()):
            if alert.ended_at is not None:
                ended.append(alert)  # only what was told is still here: its end is told too, silenced or not
            elif alert.fired_at is None or alert.key in quiet or any(s.covers(alert, now) for s in silences):
                continue
            elif alert.told_at is None:
                fresh.append(alert)
            elif now - alert.told_at >= rule.repeat:
                again.append(alert)
        waited = [
            now - at for alert in (*fresh, *ended) if (at := alert.ended_at or alert.fired_at) is not None
        ]
        if again or (waited and max(waited) >= rule.group):
            notices.append(Notice(rule=rule, firing=(*fresh, *again), ended=tuple(ended)))
    return tuple(notices)


def told(alerts: Alerts, notices: Iterable[Notice], now: Instant) -> dict[Key, Alert]:
    """The alerts after `notices` were handed on: what ended is forgotten."""
    after = dict(alerts)
    for notice in notices:
        for alert in notice.firing:
            after[alert.key] = replace(alert, told_at=now)
        for alert in notice.ended:
            after.pop(alert.key, None)
    return after
