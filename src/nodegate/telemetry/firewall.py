"""Metrics of the policies: HAProxy's counters as they were last read, under the names that policies know.

Clients can ask for methods of any name: what no policy names is counted as `other`, so that nobody can make
up labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

OTHER = "other"
"""Label of whatever no policy names."""


class MethodCount(Protocol):
    """What is counted of a method since HAProxy started to count it."""

    @property
    def kind(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...


class RuleCount(Protocol):
    """How often a rule refused."""

    @property
    def kind(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def refused(self) -> int: ...


class Ban(Protocol):
    """A ban, by the policy or by an operator."""

    @property
    def automatic(self) -> bool: ...


class Counts(Protocol):
    """HAProxy's tables (`nodegate.dataplane.tables.Tables`)."""

    @property
    def methods(self) -> Sequence[MethodCount]: ...
    @property
    def rules(self) -> Sequence[RuleCount]: ...
    @property
    def clients(self) -> Sequence[object]: ...
    @property
    def bans(self) -> Sequence[Ban]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What may become a label: methods by kind, rules, and the version in force by kind."""

    methods: Mapping[str, frozenset[str]] = field(default_factory=dict)
    rules: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    faults: int = 0


class FirewallCollector(Collector):
    """Yields nothing before `counts` is set, and nothing of HAProxy's while it is None."""

    def __init__(self) -> None:
        self.names: Names | None = None
        self.counts: Counts | None = None

    def describe(self) -> list[GaugeMetricFamily]:
        """No names in advance: registering must not need counters."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """One family for each metric that is known now."""
        if self.names is None:
            return
        versions = GaugeMetricFamily(
            "nodegate_policy_info",
            "Always 1; the version says which policy is in force.",
            labels=("kind", "version"),
        )
        for kind, version in sorted(self.names.versions.items()):
            versions.add_metric((kind, version), 1)
        yield versions
        yield GaugeMetricFamily(
            "nodegate_policy_faults", "Policy documents that could not be taken.", value=self.names.faults
        )
        if self.counts is not None:
            yield from _methods(self.counts, self.names)
            yield _rules(self.counts, self.names)
            yield _bans(self.counts)
            yield GaugeMetricFamily(
                "nodegate_clients", "Clients that HAProxy remembers.", value=len(self.counts.clients)
            )


_METHODS = (
    ("requests", "nodegate_method_requests", "Calls that the policy let through."),
    ("errors", "nodegate_method_errors", "Calls that ended in a status of 4xx."),
    ("failures", "nodegate_method_failures", "Calls that ended in a status of 5xx."),
    ("bytes_out", "nodegate_method_response_bytes", "Bytes of answers."),
)


def _methods(counts: Counts, names: Names) -> Iterator[CounterMetricFamily]:
    for attribute, name, text in _METHODS:
        sums: Counter[tuple[str, str]] = Counter()
        for row in counts.methods:
            if row.kind in names.methods:
                known = row.method if row.method in names.methods[row.kind] else OTHER
                sums[row.kind, known] += getattr(row, attribute)
        yield _counters(name, text, ("kind", "method"), sums)


def _rules(counts: Counts, names: Names) -> CounterMetricFamily:
    sums: Counter[tuple[str, str]] = Counter()
    for row in counts.rules:
        if row.kind in names.methods:
            sums[row.kind, row.rule if row.rule in names.rules else OTHER] += row.refused
    return _counters("nodegate_refused", "Requests refused, by rule.", ("kind", "rule"), sums)


def _counters(
    name: str, text: str, labels: tuple[str, str], sums: Mapping[tuple[str, str], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(sums.items()):
        family.add_metric(key, value)
    return family


def _bans(counts: Counts) -> GaugeMetricFamily:
    family = GaugeMetricFamily("nodegate_bans", "Bans now, by who made them.", labels=("by",))
    automatic = sum(ban.automatic for ban in counts.bans)
    family.add_metric(("policy",), automatic)
    family.add_metric(("operator",), len(counts.bans) - automatic)
    return family
