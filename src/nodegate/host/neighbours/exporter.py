"""Neighbours as metrics of Prometheus, on an address of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from nodegate.errors import Unavailable
from nodegate.host.neighbours.tracks import Row, State, cut_off

METRICS: Mapping[str, str] = {
    "nodegate_neighbours_up": "1 when the node answered the last look, else 0.",
    "nodegate_neighbours_look_age_seconds": "Time since the node last answered.",
    "nodegate_neighbours": "Neighbours by state: live, quiet or dead.",
    "nodegate_neighbours_cut_off": "1 when all neighbours are dead: then it is the node or the network.",
    "nodegate_neighbours_removed": "Dead neighbours that were removed since the watch began.",
    "nodegate_neighbour_connected": "1 when the neighbour is connected, else 0; absent where the node does not say.",
    "nodegate_neighbour_quiet_seconds": "How long the neighbour has brought nothing new.",
    "nodegate_neighbour_dead": "1 when it has been quiet for the grace period, else 0.",
    "nodegate_neighbour_transactions": (
        "Transactions (messages, blocks) since it connected, by what: all, new, invalid, stale, known, sent, "
        "requested, dropped."
    ),
}
"""Every metric and its help; counters get `_total` behind their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the metrics tell. `age` is in seconds, None before the first answer; `up` tells of the last look."""

    node: str
    up: bool
    age: float | None
    rows: tuple[Row, ...]
    removed: int


class NeighbourCollector:
    """Makes metrics from the newest look. While the node does not answer its neighbours are absent: counters of
    yesterday would look like those of today."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        look = self._look()
        yield _gauge("nodegate_neighbours_up", {(): float(look.up)})
        if look.age is not None:
            yield _gauge("nodegate_neighbours_look_age_seconds", {(): look.age})
        removed = CounterMetricFamily("nodegate_neighbours_removed", METRICS["nodegate_neighbours_removed"])
        removed.add_metric((), look.removed)
        yield removed
        if look.up:
            yield from _of_rows(look.rows)

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the names do not depend on the look."""
        yield from ()


def _of_rows(rows: tuple[Row, ...]) -> Iterator[Metric]:
    states: dict[tuple[str, ...], float] = {
        (state.value,): float(sum(row.state is state for row in rows)) for state in State
    }
    yield _gauge("nodegate_neighbours", states, "state")
    yield _gauge("nodegate_neighbours_cut_off", {(): float(cut_off(rows))})
    named: dict[tuple[str, ...], Row] = {(row.neighbour.uri,): row for row in rows}
    yield _gauge(
        "nodegate_neighbour_connected",
        {
            key: float(row.neighbour.connected)
            for key, row in named.items()
            if row.neighbour.connected is not None
        },
        "neighbour",
    )
    yield _gauge(
        "nodegate_neighbour_quiet_seconds", {key: row.quiet for key, row in named.items()}, "neighbour"
    )
    dead = {key: float(row.state is State.DEAD) for key, row in named.items()}
    yield _gauge("nodegate_neighbour_dead", dead, "neighbour")
    name = "nodegate_neighbour_transactions"
    counters = CounterMetricFamily(name, METRICS[name], labels=("neighbour", "what"))
    for key, row in named.items():
        for what, value in row.neighbour.counters.known_values().items():
            counters.add_metric((*key, what), value)
    yield counters


def _gauge(name: str, values: Mapping[tuple[str, ...], float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, METRICS[name], labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


class Exporter:
    """Serves `/metrics` on one address."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(NeighbourCollector(look))
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> str:
        """Listen on `HOST:PORT` (`*`: everywhere); returns the URL. Raises Unavailable when that cannot be."""
        host, _, port = address.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, None if host == "*" else host.strip("[]"), int(port)).start()
        except OSError as error:
            await self.stop()
            raise Unavailable(f"cannot serve metrics on {address}: {error.strerror or error}") from error
        return f"http://{address}/metrics"

    async def stop(self) -> None:
        """Stop serving; calling it twice is harmless."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
