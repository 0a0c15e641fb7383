"""10,000 nodes added to a running HAProxy, and removed again, while clients send requests through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.clients import Clients
from bench.environment import free_port, scratch
from bench.figures import Figure, Outcome, ratio
from bench.rig import Usage
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.errors import Unavailable
from nodegate.lab.process import LabProcess
from nodegate.lab.remote import LabNode
from nodegate.model import Plan, Routing, Server, ServerState
from nodegate.protocols.iri import Iri
from nodegate.routing.diff import diff
from nodegate.settings import Settings

NODES = 10_000
FIRST = 3
CONNECTIONS = 20
RATE = 500.0
QUIET_SECONDS = 3.0
LIMIT = 10.0
BACKEND = "pool_main"
ROUNDS = 20
"""Tries to remove all servers: one that carries a request is removed by a later one."""

Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One change of the fleet: its seconds, HAProxy's CPU seconds, its memory afterwards, and what the
    clients saw of it."""

    seconds: float
    cpu: float
    memory: int
    clients: Report


async def run() -> Outcome:
    """Raises NodegateError when HAProxy does not take the nodes."""
    async with await LabProcess.start(NODES, arguments=("--addresses",)) as lab:
        with scratch() as directory:
            return await _measure(lab.nodes, directory)


async def _measure(nodes: Sequence[LabNode], directory: Path) -> Outcome:
    place = f"127.0.0.1:{free_port()}"
    driver = HaproxyDriver(Settings.model_validate({"gateway": {"listen": [place]}}), directory)
    shape = driver.shape(["main"], {"main": Iri.traffic})
    few, every = _routing(shape, nodes[:FIRST]), _routing(shape, nodes)
    try:
        await driver.ensure()
        await _become(driver, few)
        async with Clients(f"http://{place}", connections=CONNECTIONS, rate=RATE) as clients:
            quiet = await clients.during(QUIET_SECONDS)
            added = await _phase(driver, every, clients)
            settled = await clients.during(QUIET_SECONDS)
            removed = await _phase(driver, few, clients)
            last = await clients.settle()
    finally:
        await driver.stop(grace=0)
    return _outcome({"quiet": quiet, "settled": settled, "last": last}, added, removed)


async def _phase(driver: HaproxyDriver, wanted: Routing, clients: Clients) -> Phase:
    pid = (await driver.running()).pid
    await clients.phase()
    before = Usage.of(pid)
    await _become(driver, wanted)
    after = Usage.of(pid)
    return Phase(
        seconds=after.at - before.at,
        cpu=after.cpu - before.cpu,
        memory=after.memory,
        clients=await clients.phase(),
    )


async def _become(driver: HaproxyDriver, wanted: Routing) -> None:
    """What the passes of a daemon do until HAProxy runs what is wanted. Raises Unavailable if it never does."""
    for _ in range(ROUNDS):
        running = (await driver.running()).routing
        changes = diff(running, wanted)
        if not changes:
            return
        refused = await driver.apply(Plan(changes=changes), wanted)
    raise Unavailable(f"HAProxy does not take {len(refused)} changes: {refused[:3]}")


def _routing(shape: Routing, nodes: Sequence[LabNode]) -> Routing:
    servers = {}
    for node in nodes:
        parts = urlsplit(node.url)
        servers[BACKEND, node.id] = Server(
            backend=BACKEND,
            name=node.id,
            address=parts.hostname or "",
            port=parts.port or 80,
            weight=100,
            state=ServerState.READY,
        )
    return Routing(skeleton=shape.skeleton, maps=shape.maps, servers=servers)


def _outcome(others: dict[str, Report], added: Phase, removed: Phase) -> Outcome:
    reports = {**others, "added": added.clients, "removed": removed.clients}
    quiet, busy = others["quiet"]["latency_ms"]["max"], added.clients["latency_ms"]["max"]
    requests = sum(report["ok"] + report["failed"] for report in reports.values())
    return Outcome(
        figures=(
            Figure(
                what="10,000 nodes added to the running HAProxy", value=added.seconds, unit="s",
                at_most=LIMIT, note=f"{added.cpu:.1f} s of HAProxy's CPU",
            ),
            Figure(
                what="failed client requests, over all of it",
                value=sum(report["failed"] for report in reports.values()),
                at_most=0,
                note=f"of {requests:,}",
            ),
            Figure(
                what="slowest client request while adding", value=busy, unit="ms",
                ratio=ratio(busy, quiet), peer="the slowest before",
            ),
            Figure(what="10,000 nodes removed again", value=removed.seconds, unit="s"),
            Figure(what="HAProxy's memory with 10,000 nodes", value=added.memory / 1e6, unit="MB"),
        ),
        details={"clients": reports, "cpu_seconds": {"added": added.cpu, "removed": removed.cpu}},
    )  # fmt: skip
