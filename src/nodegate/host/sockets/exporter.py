"""The gauge as metrics for Prometheus: as text, as a file for node_exporter's textfile collector, or served."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nodegate.errors import Unavailable
from nodegate.host.sockets.gauge import Gauge, Reading

METRICS: Mapping[str, str] = {
    "nodegate_host_sockets": "TCP connections of a node's API, by state.",
    "nodegate_host_backlog": "Connections that wait to be accepted.",
    "nodegate_host_open_files": "Open descriptors of the node's process.",
    "nodegate_host_open_files_limit": "How many descriptors it may have.",
    "nodegate_host_listening": "Whether something listens on the port.",
}
STATES = ("established", "close_wait", "fin_wait", "owed", "unread")


class SocketCollector(Collector):
    """Looks at each scrape."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        return families(self._gauge.read())

    def describe(self) -> Iterable[Metric]:
        """See Collector: the names are known without a look."""
        return families(())


def families(readings: Iterable[Reading]) -> Iterator[Metric]:
    """The metrics of some readings; what is not known is left out."""
    sockets = _family("nodegate_host_sockets", "port", "state")
    backlog = _family("nodegate_host_backlog", "port")
    files = _family("nodegate_host_open_files", "port")
    limit = _family("nodegate_host_open_files_limit", "port")
    listening = _family("nodegate_host_listening", "port")
    for reading in readings:
        port = str(reading.port)
        for state in STATES:
            sockets.add_metric((port, state), getattr(reading.sockets, state))
        backlog.add_metric((port,), reading.sockets.backlog)
        listening.add_metric((port,), 1 if reading.sockets.listening else 0)
        if reading.process.files is not None:
            files.add_metric((port,), reading.process.files)
        if reading.process.files_limit is not None:
            limit.add_metric((port,), reading.process.files_limit)
    yield from (sockets, backlog, files, limit, listening)


def _family(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, METRICS[name], labels=labels)


def registry_of(gauge: Gauge) -> CollectorRegistry:
    """A registry with nothing else in it."""
    registry = CollectorRegistry()
    registry.register(SocketCollector(gauge))
    return registry


def text_of(gauge: Gauge) -> bytes:
    """Metrics in Prometheus's text format."""
    return generate_latest(registry_of(gauge))


def write_textfile(gauge: Gauge, path: Path) -> None:
    """Replace the file at one blow: node_exporter never reads half of it. Raises Unavailable when it cannot."""
    text = text_of(gauge)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as made:
            made.write(text)
        os.chmod(made.name, 0o644)  # node_exporter has a user of its own
        os.replace(made.name, path)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
