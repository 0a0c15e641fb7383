"""Metrics of events, alerts and the certificate."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nodegate.model import Instant
from nodegate.telemetry.kinds import Event, Severity


class AlertMetrics(Collector):
    """Counts events, and reads the rest at the moment of the scrape.

    `firing` gives the severities of the alerts that fire, `waiting` how many alerts wait for each channel,
    `certificate_ends` when the listener's certificate does (None: there is none).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.firing: Callable[[], Iterable[Severity]] = tuple
        self.waiting: Callable[[], Mapping[str, int]] = dict
        self.certificate_ends: Callable[[], Instant | None] = lambda: None
        self._events = Counter(
            "nodegate_events", "Events, by kind and severity.", ("kind", "severity"), registry=registry
        )
        registry.register(self)

    def happened(self, events: Iterable[Event]) -> None:
        """Count events."""
        for event in events:
            self._events.labels(event.kind.value, event.severity.value).inc()

    def describe(self) -> list[GaugeMetricFamily]:
        """No names in advance: registering must not need alerts."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric that is known now."""
        alerts = GaugeMetricFamily("nodegate_alerts", "Alerts that fire now.", labels=("severity",))
        counts = Counts(self.firing())
        for severity in Severity:
            alerts.add_metric((severity.value,), counts[severity])
        yield alerts
        waiting = GaugeMetricFamily(
            "nodegate_alerts_waiting", "Alerts that wait to be sent by a channel.", labels=("channel",)
        )
        for channel, count in self.waiting().items():
            waiting.add_metric((channel,), count)
        yield waiting
        if (ends := self.certificate_ends()) is not None:
            yield GaugeMetricFamily(
                "nodegate_certificate_expiry_timestamp_seconds",
                "When the listener's certificate ends.",
                value=ends,
            )
