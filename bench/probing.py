"""10,000 nodes probed every 10 seconds by one nodegate, as operators run it: `nodegate up`, with registry, passes,
HAProxy with 10,000 servers, admin API and metrics. The whole daemon process is measured, after its start."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.environment import scratch
from bench.figures import Figure, Outcome
from bench.rig import Daemon, Usage, until
from nodegate.daemon.clock import SteadyClock
from nodegate.daemon.state import StateDir
from nodegate.haproxy import wire
from nodegate.lab.process import LabProcess
from nodegate.lab.remote import LabNode
from nodegate.model import Node
from nodegate.registry.sqlite import SqliteRegistry

NODES = 10_000
INTERVAL = 10.0
SETTLE_SECONDS = 5.0
SECONDS = 60.0
START_WITHIN = 120.0
LATENESS = "nodegate_probe_lateness_seconds"
PASSES = "nodegate_pass_duration_seconds"
SETTINGS = f"[probe]\ninterval = {INTERVAL}\n"

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The counters of one moment: metrics, and what the three parties have used."""

    metrics: Metrics
    nodegate: Usage
    haproxy: Usage
    lab: Usage


async def run() -> Outcome:
    """Raises NodegateError when the fleet is not up in time."""
    async with await LabProcess.start(NODES, arguments=("--addresses",)) as lab:
        with scratch() as directory:
            await _declare(directory / "s", lab.nodes)
            began = time.monotonic()
            async with Daemon(directory, SETTINGS) as daemon:
                await until(
                    lambda: _all_serve(daemon), what="all nodes serve", within=START_WITHIN, every=0.5
                )
                started = time.monotonic() - began
                await asyncio.sleep(SETTLE_SECONDS)
                before = await _moment(daemon, lab)
                most = await _watch_memory(daemon.pid)
                after = await _moment(daemon, lab)
    return _outcome(before, after, started=started, memory=most)


async def _declare(state: Path, nodes: Sequence[LabNode]) -> None:
    """Put the nodes into the registry of a state directory that no daemon runs on yet."""
    directory = StateDir(state)
    directory.prepare()
    registry = SqliteRegistry(directory.registry, SteadyClock())
    try:
        for node in nodes:
            await registry.put(Node(id=node.id, url=node.url, kind=node.kind))
    finally:
        await registry.close()


async def _all_serve(daemon: Daemon) -> bool:
    """Whether every node is up and HAProxy has all of them."""
    metrics = await daemon.metrics()
    if metrics.get('nodegate_nodes{kind="iri",pool="main",status="up"}') != NODES:
        return False
    (reply,) = await daemon.runtime.send([wire.SHOW_SERVERS])
    return sum(" pool_main " in line for line in reply.splitlines()) == NODES


async def _moment(daemon: Daemon, lab: LabProcess) -> Moment:
    return Moment(
        metrics=await daemon.metrics(),
        nodegate=Usage.of(daemon.pid),
        haproxy=Usage.of(await daemon.haproxy_pid()),
        lab=Usage.of(lab.pid),
    )


async def _watch_memory(pid: int) -> int:
    """The largest resident memory that was seen in the window, in bytes."""
    most = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        most = max(most, Usage.of(pid).memory)
        await asyncio.sleep(0.5)
    return most


def _within(before: Metrics, after: Metrics, name: str, share: float) -> float:
    """The smallest bound of the histogram that `share` of the new observations stay within."""
    count = after[f"{name}_count"] - before[f"{name}_count"]
    pattern = re.compile(re.escape(name) + r'_bucket\{le="([^"]+)"\}')
    for key, value in after.items():
        if (match := pattern.fullmatch(key)) and value - before.get(key, 0.0) >= share * count:
            return float(match[1])
    raise RuntimeError(f"{name} has no buckets")


def _mean(before: Metrics, after: Metrics, name: str) -> float:
    count = after[f"{name}_count"] - before[f"{name}_count"]
    return (after[f"{name}_sum"] - before[f"{name}_sum"]) / max(1.0, count)


def _probes(metrics: Metrics) -> float:
    return sum(value for key, value in metrics.items() if key.startswith("nodegate_probes_total"))


def _outcome(before: Moment, after: Moment, *, started: float, memory: int) -> Outcome:
    old, new = before.metrics, after.metrics
    seconds = after.nodegate.at - before.nodegate.at
    probes = _probes(new) - _probes(old)
    passes = new[f"{PASSES}_count"] - old[f"{PASSES}_count"]
    cores = {
        name: getattr(after, name).cores_since(getattr(before, name))
        for name in ("nodegate", "haproxy", "lab")
    }
    changed = {
        key: new[key] - old.get(key, 0.0)
        for key in new
        if key.startswith(
            ("nodegate_probes_total", "nodegate_verdict_changes_total", "nodegate_changes_total")
        )
    }
    return Outcome(
        figures=(
            Figure(
                what="10,000 nodes every 10 s: lateness of probes, p99", value=_within(old, new, LATENESS, 0.99),
                unit="s", at_most=1.0, note=f"at most; mean {_mean(old, new, LATENESS) * 1000:.0f} ms",
            ),
            Figure(
                what="probes per second", value=probes / seconds, note=f"{NODES / INTERVAL:,.0f} are due",
            ),
            Figure(
                what="CPU of the nodegate process", value=cores["nodegate"], unit="cores", at_most=1.0,
                note="probes, passes, registry, API, metrics",
            ),
            Figure(what="memory of the nodegate process, largest", value=memory / 1e6, unit="MB", at_most=400.0),
            Figure(
                what="a whole pass, HAProxy read and told, mean", value=_mean(old, new, PASSES) * 1000, unit="ms",
                note=f"{passes / seconds:.2g} passes a second",
            ),
            Figure(what="CPU of HAProxy: its own checks, its reports", value=cores["haproxy"], unit="cores"),
            Figure(what="from the start until all 10,000 serve", value=started, unit="s"),
        ),
        details={"seconds": seconds, "cores": cores, "counts": changed},
    )  # fmt: skip
