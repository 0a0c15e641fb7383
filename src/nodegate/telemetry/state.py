"""Metrics that are read from the latest Snapshot at the moment of the scrape, so that ages keep growing
while a pass hangs, and labels of pools that are gone vanish with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nodegate.model import Snapshot, Status
from nodegate.ports import Clock
from nodegate.views import status_of


class StateCollector(Collector):
    """Yields the state of the daemon; nothing but the readiness before the first pass."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], clock: Clock) -> None:
        self._snapshot = snapshot
        self._clock = clock

    def describe(self) -> list[GaugeMetricFamily]:
        """No names in advance: registering must not need a snapshot."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric that is known now."""
        snapshot = self._snapshot()
        yield _gauge(
            "nodegate_ready",
            "1 once a first pass was applied.",
            float(snapshot is not None and snapshot.ready),
        )
        if snapshot is None:
            return
        now = self._clock.now()
        yield _gauge("nodegate_pass_age_seconds", "Time since the latest pass.", max(0.0, now - snapshot.at))
        yield _gauge(
            "nodegate_registry_up",
            "1 while the registry can be read.",
            float(snapshot.registry_error is None),
        )
        yield _gauge("nodegate_haproxy_up", "1 while HAProxy answers.", float(snapshot.haproxy_error is None))
        if snapshot.inventory is not None:
            age = max(0.0, now - snapshot.inventory.read_at)
            yield _gauge("nodegate_inventory_age_seconds", "Time since the registry was last read.", age)
            yield _gauge(
                "nodegate_inventory_faults",
                "Records of the registry that could not be understood.",
                len(snapshot.inventory.faults),
            )
        yield _nodes(snapshot)
        yield _pool_heights(snapshot)
        yield _withheld(snapshot)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _nodes(snapshot: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily("nodegate_nodes", "Nodes by status.", labels=("pool", "kind", "status"))
    nodes = () if snapshot.inventory is None else snapshot.inventory.nodes
    counts = Counter((node.pool, node.kind, status_of(snapshot, node.id)) for node in nodes)
    for pool, kind in sorted({(node.pool, node.kind) for node in nodes}):
        for status in Status:
            family.add_metric((pool, kind, status.value), counts[pool, kind, status])
    return family


def _pool_heights(snapshot: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "nodegate_pool_height", "Height that a quorum of the pool supports.", labels=("pool",)
    )
    for view in snapshot.judgement.pools.values():
        if view.height is not None:
            family.add_metric((view.pool,), view.height)
    return family


def _withheld(snapshot: Snapshot) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "nodegate_withheld_changes", "Changes that safety holds back now, by rule.", labels=("rule",)
    )
    for rule, count in sorted(Counter(item.rule for item in snapshot.plan.withheld).items()):
        family.add_metric((rule,), count)
    return family
