"""Metrics of the cluster, read at the moment of the scrape; absent without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nodegate.views.cluster import GatewaysDocument


class ClusterCollector(Collector):
    """Gateways by state, and what is wrong."""

    def __init__(self) -> None:
        self.document: Callable[[], GatewaysDocument] = lambda: GatewaysDocument(me=None)

    def describe(self) -> list[GaugeMetricFamily]:
        """No names in advance: registering must not need a cluster."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family for each metric."""
        document = self.document()
        if document.me is None:
            return
        alive = sum(row.alive for row in document.gateways)
        family = GaugeMetricFamily(
            "nodegate_gateways", "Gateways of the cluster by state.", labels=("state",)
        )
        family.add_metric(("alive",), alive)
        family.add_metric(("dead",), len(document.gateways) - alive)
        yield family
        yield GaugeMetricFamily(
            "nodegate_gateway_policy_differs",
            "Gateways with another policy than this one, or that could not take one over.",
            value=sum(bool(row.differs or row.fault) for row in document.gateways),
        )
        yield GaugeMetricFamily(
            "nodegate_cluster_faults",
            "What is wrong with the cluster, seen from this gateway.",
            value=len(document.faults),
        )
