"""The shipped rules, and the operator's over them. Pure.

The numbers are the thresholds that the IRI playbook's monitoring shipped for years (its `alert.rules.yml`), where
it has one; what it says of the machine (CPU, memory, disk) belongs to the machine's own exporter, see
docs/monitoring.md. Thresholds in milestones and neighbours are for IRI: other chains have other habits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nodegate.alerting.rules import GROUP, REPEAT, Rule
from nodegate.documents import Document
from nodegate.errors import BadDocument, Fault
from nodegate.model import Seconds
from nodegate.settings import AlertsSettings, RuleSettings
from nodegate.settings.alerts import OCCURRENCES
from nodegate.telemetry.kinds import Severity

_HOUR = Seconds(3600.0)
_MINUTE = Seconds(60.0)
_CRITICAL = Severity.CRITICAL

DEFAULT_RULES: tuple[Rule, ...] = (
    # InstanceDown: 1m.
    Rule(name="node-down", on=("node-down", "node-unknown"), hold=_MINUTE, severity=_CRITICAL,
         mutes=("node-lag", "node-lag-critical", "few-neighbours", "node-still")),
    # Latest less solid milestone: more than 5 for an hour, more than 10 for an hour.
    Rule(name="node-lag", on=("node-lag",), above=5, hold=_HOUR, node_kinds=("iri",)),
    Rule(name="node-lag-critical", on=("node-lag",), above=10, hold=_HOUR, node_kinds=("iri",),
         severity=_CRITICAL, mutes=("node-lag",)),
    # Neighbours: fewer than 2 for a minute; more than 11, and more than 15, for an hour.
    Rule(name="few-neighbours", on=("node-neighbours",), below=2, hold=_MINUTE, node_kinds=("iri",)),
    Rule(name="many-neighbours", on=("node-neighbours",), above=11, hold=_HOUR, node_kinds=("iri",)),
    Rule(name="many-neighbours-critical", on=("node-neighbours",), above=15, hold=_HOUR, node_kinds=("iri",),
         severity=_CRITICAL, mutes=("many-neighbours",)),
    # No increase of the solid milestone within 30 minutes, for a minute more.
    Rule(name="node-still", on=("node-still",), above=1800, hold=_MINUTE, severity=_CRITICAL),
    # No milestone metric: 2m.
    Rule(name="node-no-height", on=("node-no-height",), hold=Seconds(120.0), node_kinds=("iri", "evm"),
         severity=_CRITICAL),
    # From here on nodegate's own; docs/metrics.md has the same conditions for Prometheus.
    Rule(name="pool-empty", on=("pool-empty",), hold=Seconds(5.0), severity=_CRITICAL),
    Rule(name="pool-still", on=("pool-still",), severity=_CRITICAL),
    Rule(name="withheld", on=("withheld",), hold=Seconds(600.0)),
    Rule(name="registry-lost", on=("registry-lost",), hold=_MINUTE),
    Rule(name="registry-stale", on=("registry-lost",), above=300, severity=_CRITICAL, mutes=("registry-lost",)),
    Rule(name="haproxy-lost", on=("haproxy-lost",), hold=Seconds(5.0), severity=_CRITICAL),
    Rule(name="haproxy-restarted", on=("haproxy-restarted",), clear=Seconds(300.0)),
    Rule(name="certificate", on=("certificate-days",), below=14, repeat=Seconds(86_400.0)),
    Rule(name="certificate-critical", on=("certificate-days",), below=3, repeat=Seconds(21_600.0),
         severity=_CRITICAL, mutes=("certificate",)),
    Rule(name="certificate-refused", on=("certificate-refused",), clear=Seconds(300.0)),
    Rule(name="policy-faults", on=("policy-faults",)),
    Rule(name="peer-lost", on=("peer-lost",), hold=Seconds(30.0)),
    Rule(name="scaling-failed", on=("scaling-failed",), clear=Seconds(600.0)),
    # For each of a node's neighbours that a watch at the node tells of; hours of silence are one alert.
    Rule(name="neighbour-dead", on=("neighbour-dead",), clear=Seconds(600.0)),
    Rule(name="channel-failed", on=("channel-failed",), hold=Seconds(300.0)),
    Rule(name="ban", on=("banned",), severity=Severity.INFO, clear=Seconds(600.0)),
    Rule(name="registered", on=("registered",), severity=Severity.INFO, clear=Seconds(600.0)),
)  # fmt: skip


_OF_SIGNALS = ("above", "below", "hold")
"""What only signals have: something that lasts, and a value."""


def rules_of(settings: AlertsSettings, document: Document | None = None) -> tuple[Rule, ...]:
    """The rules in force; `document` is the one that the settings come from. Raises BadDocument for a new rule that
    says not what it looks at, for one that asks an event how long or how much, and for one that mutes a rule that
    there is not."""
    written = document or Document(file="nodegate.toml", data={}, lines={})

    def fault(rule: str, key: str, message: str) -> Fault:
        return written.fault(("alerts", "rules", rule, key), message)

    shipped = {rule.name: rule for rule in DEFAULT_RULES} if settings.default_rules else {}
    rules = {name: _based(rule, settings) for name, rule in shipped.items()}
    faults = []
    for name, own in settings.rules.items():
        if not own.enabled:
            rules.pop(name, None)
        elif not own.on and name not in shipped:
            faults.append(fault(name, "on", "a new rule needs `on`: the signals or events that it looks at"))
        else:
            rules[name] = replace(rules.get(name) or _based(Rule(name=name, on=()), settings), **_given(own))
            happens = next((one for one in rules[name].on if one in OCCURRENCES), None)
            words = f"means nothing for {happens!r}: it is an event, which happens at one moment; remove this line"
            given = [key for key in _OF_SIGNALS if getattr(own, key) is not None]
            faults += [fault(name, key, words) for key in given if happens]
    for name, own in settings.rules.items():
        faults += [
            fault(name, "mutes", f"there is no rule {other!r}") for other in own.mutes if other not in rules
        ]
    if faults:
        raise BadDocument(faults)
    return tuple(rules.values())


def _based(rule: Rule, settings: AlertsSettings) -> Rule:
    """The rule with the general times where it has none of its own."""
    return replace(
        rule,
        group=Seconds(settings.group) if rule.group == GROUP else rule.group,
        repeat=Seconds(settings.repeat) if rule.repeat == REPEAT else rule.repeat,
    )


def _given(own: RuleSettings) -> dict[str, Any]:
    """What the operator's table says, in the terms of `Rule`."""
    given: dict[str, Any] = {
        key: value
        for key in ("above", "below", "hold", "clear", "group", "repeat")
        if (value := getattr(own, key)) is not None
    }
    given |= {
        key: value
        for key in ("on", "subjects", "pools", "node_kinds", "channels", "mutes")
        if (value := getattr(own, key))
    }
    return given | ({"severity": Severity(own.severity)} if own.severity is not None else {})
