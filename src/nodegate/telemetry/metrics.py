"""The Telemetry that the daemon feeds: Prometheus metrics in a registry of their own."""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from nodegate.model import Observation, Reading, Seconds, Snapshot
from nodegate.ports import Clock
from nodegate.telemetry.alerts import AlertMetrics
from nodegate.telemetry.cluster import ClusterCollector
from nodegate.telemetry.events import turned
from nodegate.telemetry.firewall import Counts, FirewallCollector, Names
from nodegate.telemetry.portal import PortalMetrics
from nodegate.telemetry.scaling import ScalingMetrics
from nodegate.telemetry.state import StateCollector

PROBE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LATENESS_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PASS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10)


class Telemetry:
    """What the daemon tells of itself. One per daemon, no globals: two daemons in a process do not mix."""

    def __init__(self, *, clock: Clock, version: str) -> None:
        self._snapshot: Snapshot | None = None
        self.registry = registry = CollectorRegistry()
        registry.register(StateCollector(lambda: self._snapshot, clock))
        self._firewall = FirewallCollector()
        registry.register(self._firewall)
        self.cluster = ClusterCollector()
        registry.register(self.cluster)
        self.scaling = ScalingMetrics(registry)
        self.alerts = AlertMetrics(registry)
        self.portal = PortalMetrics(registry)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        Gauge(
            "nodegate_build_info",
            "Always 1; the labels say what runs.",
            ("version", "python"),
            registry=registry,
        ).labels(version, platform.python_version()).set(1)
        self._verdicts = Counter(
            "nodegate_verdict_changes",
            "Nodes that changed their status.",
            ("pool", "was", "now"),
            registry=registry,
        )
        self._probes = Histogram(
            "nodegate_probe_duration_seconds",
            "Whole probes, from the first question to the last byte, by kind of node.",
            ("kind",),
            buckets=PROBE_BUCKETS,
            registry=registry,
        )
        self._outcomes = Counter(
            "nodegate_probes",
            "Probes by kind of node and outcome: ok, or the kind of failure.",
            ("kind", "outcome"),
            registry=registry,
        )
        self._lateness = Histogram(
            "nodegate_probe_lateness_seconds",
            "How much later than due probes began.",
            buckets=LATENESS_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge("nodegate_probes_in_flight", "Probes under way.", registry=registry)
        self._passes = Histogram(
            "nodegate_pass_duration_seconds",
            "Passes: judge, plan, apply.",
            buckets=PASS_BUCKETS,
            registry=registry,
        )
        self._changes = Counter(
            "nodegate_changes", "Changes handed to HAProxy, by what they do.", ("change",), registry=registry
        )
        self._refused = Counter(
            "nodegate_changes_refused", "Changes that HAProxy did not take.", registry=registry
        )
        self._haproxy_starts = Counter(
            "nodegate_haproxy_restarts",
            "Times that HAProxy was found dead and started again.",
            registry=registry,
        )
        self._restarts = Counter(
            "nodegate_task_restarts",
            "Supervised tasks that failed and were started again.",
            ("task",),
            registry=registry,
        )

    def passed(self, before: Snapshot, after: Snapshot) -> None:
        """A pass led from one published snapshot to the next: count it. Once for each pass."""
        self._snapshot = after
        self._passes.observe(after.pass_duration)
        for change in after.plan.changes:
            self._changes.labels(change.kind.value).inc()
        self._refused.inc(len(after.refused))
        for pool, was, verdict in turned(before, after):
            self._verdicts.labels(pool, was.value, verdict.status.value).inc()

    def observed(self, observation: Observation, kind: str) -> None:
        """A probe of a node of `kind` is over."""
        outcome = observation.outcome
        self._probes.labels(kind).observe(observation.duration)
        self._outcomes.labels(kind, "ok" if isinstance(outcome, Reading) else outcome.kind.value).inc()

    def probe_started(self, lateness: Seconds) -> None:
        """A probe began `lateness` seconds after it was due."""
        self._lateness.observe(max(0.0, lateness))

    def probes_in_flight(self, count: int) -> None:
        """So many probes are under way now."""
        self._in_flight.set(count)

    def haproxy_started(self) -> None:
        """HAProxy was gone and was started again."""
        self._haproxy_starts.inc()

    def restarted(self, task: str) -> None:
        """The supervised task of that name was started again."""
        self._restarts.labels(task).inc()

    def counted(self, names: Names, counts: Counts | None) -> None:
        """HAProxy's counters were read; None: they cannot be, and their metrics are absent until they can."""
        self._firewall.names, self._firewall.counts = names, counts

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics for a scraper with that Accept header: the text and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
