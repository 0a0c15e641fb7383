"""Metrics of scaling, for the pools that have it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ScalingMetrics:
    """Sizes as gauges, actions as counters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._nodes = Gauge(
            "nodegate_scaling_nodes",
            "Nodes of a pool that is scaled: wanted, healthy, starting, broken, own.",
            ("pool", "what"),
            registry=registry,
        )
        self._actions = Counter(
            "nodegate_scaling_actions",
            "Nodes started, drained and stopped by scaling, by outcome.",
            ("pool", "action", "outcome"),
            registry=registry,
        )

    def sizes(self, pool: str, **counts: int) -> None:
        """What the pool has and wants now."""
        for what, count in counts.items():
            self._nodes.labels(pool, what).set(count)

    def acted(self, pool: str, action: str, *, ok: bool) -> None:
        """An action is over."""
        self._actions.labels(pool, action, "ok" if ok else "failed").inc()
