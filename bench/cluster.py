"""Consul says that a node is bad, is new, or is one of thousands: how long until clients notice, and do they?

A real Consul agent, gateways as child processes on the loopback, nodes as processes of their own. The peer's
figures are those of Fabio 1.7.3 on a machine of the same size, measured in the same way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from bench.environment import scratch
from bench.figures import Figure, Outcome
from bench.rig import TRUSTING, Daemon, Usage, until
from bench.testbed import ConsulAgent, Missing, said
from nodegate.lab.load import Load, LoadOptions
from nodegate.lab.process import LabProcess
from nodegate.model import Seconds

FILLERS = (0, 100, 400)
FABIO_MS = {0: 3.0, 100: 179.0, 400: 632.0}
TURNS = 15
GATEWAYS = 3
ADDITIONS = 8
RATE = 200.0
AFTER_SECONDS = 6.0
PAUSE = 0.01
"""Seconds between two requests of a connection: the clients must not take the CPU from what is measured."""
SETTLE_SECONDS = 5.0
BULK = 5_000
PER_TRANSACTION = 32
"""Services in one transaction, which takes 64 operations at most."""
FAR = "far-away"
MEGABYTE = 1_000_000
BODY = b'{"command":"getNodeInfo"}'
HEADERS = {"Content-Type": "application/json", "X-IOTA-API-Version": "1"}
SETTINGS = """\
[gateway]
access_log = false
[registry]
url = "{url}"
[fabio]
strict = true
[cluster]
enabled = false
[probe]
interval = {interval}
backoff_max = 60.0
[health]
max_age = 300.0
[safety]
panic_threshold = 1.0
[pools.main]
kind = "iri"
max_lag = 1000
"""
"""Each node is a network of its own, so their heights are not the same."""


async def run() -> Outcome:
    """The figures; the details have every single measurement."""
    try:
        with said():
            return await _measure()
    except Missing as error:
        return Outcome(figures=(Figure(what="Consul", value=None, note=str(error)),))


async def _measure() -> Outcome:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for measure in (_reaction, _registration, _death, _bulk):
        found = await measure()
        figures += found.figures
        details |= found.details
    return Outcome(figures=tuple(figures), details=details)


@asynccontextmanager
async def _scene(
    nodes: int, gateways: int = 1, interval: float = 2.0
) -> AsyncIterator[tuple[ConsulAgent, list[LabProcess], list[Daemon]]]:
    """An agent, lab nodes in processes of their own, and gateways that know none of them yet."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        consul = stack.enter_context(ConsulAgent())
        labs = []
        for _ in range(nodes):
            labs.append(await LabProcess.start(1, arguments=("--interval", "1", "--seed", "bench")))
            stack.push_async_callback(labs[-1].stop)
        daemons = []
        for number in range(gateways):
            directory = folder / f"g{number}"
            policies = directory / "s" / "policies"
            policies.mkdir(parents=True, mode=0o700)
            (policies / "iri.toml").write_text(TRUSTING)
            daemons.append(
                await stack.enter_async_context(
                    Daemon(directory, SETTINGS.format(url=consul.url, interval=interval))
                )
            )
        yield consul, labs, daemons


def _register(consul: ConsulAgent, name: str, lab: LabProcess, check: dict[str, Any] | None = None) -> None:
    port = int(lab.nodes[0].url.rpartition(":")[2])
    consul.register(
        "iri", name, Address="127.0.0.1", Port=port, Meta={"nodegate-kind": "iri"},
        Check=check or {"CheckID": f"{name}-ttl", "TTL": "600s", "Status": "passing"},
    )  # fmt: skip


class _Clients:
    """A few connections that ask again and again; remembers when each node answered for the last time."""

    def __init__(self, url: str, connections: int = 6) -> None:
        self._url, self._connections = url, connections
        self.last: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Clients:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(trust_env=False, headers=HEADERS) as session:
            while True:
                try:
                    async with session.post(self._url, data=BODY) as response:
                        await response.read()
                        node = response.headers.get("X-Nodegate-Node", "")
                except aiohttp.ClientError:
                    continue
                now = time.monotonic()
                self.first.setdefault(node, now)
                self.last[node] = now
                await asyncio.sleep(PAUSE)

    async def answers(self, node: str, since: float) -> float:
        """When `node` first answered after `since` was seen, once it did."""

        async def has() -> float:
            return self.last.get(node, 0.0) if self.last.get(node, 0.0) > since else 0.0

        return await until(has, what=f"{node} answers", every=0.001)


async def _reaction() -> Outcome:
    """From the check turning critical to the last answer of that node."""
    figures, details = [], {}
    for fillers in FILLERS:
        async with _scene(3) as (consul, labs, (daemon,)):
            for number, lab in enumerate(labs, start=1):
                _register(consul, f"n{number}", lab)
            for number in range(fillers):
                check = {"CheckID": f"f{number}", "TTL": "600s", "Status": "passing"}
                consul.register(f"filler-{number}", f"f{number}", Port=1, Check=check)
            took = await _turns(consul, daemon)
            figures.append(
                Figure(
                    what=f"check critical to the last answer, {fillers + 1} services, p50",
                    value=statistics.median(took) * 1000,
                    unit="ms",
                    at_most=50,
                    ratio=statistics.median(took) * 1000 / FABIO_MS[fillers],
                    peer="Fabio",
                )
            )
            details[f"reaction_ms_{fillers + 1}"] = [round(each * 1000, 1) for each in took]
    return Outcome(figures=tuple(figures), details=details)


async def _turns(consul: ConsulAgent, daemon: Daemon) -> list[float]:
    took = []
    async with _Clients(daemon.url) as clients:
        for node in ("n1", "n2", "n3"):
            await clients.answers(node, 0.0)
        await asyncio.sleep(SETTLE_SECONDS)  # what was registered just now has been read
        for _ in range(TURNS):
            began = time.monotonic()
            await asyncio.to_thread(consul.say, "n1-ttl", "critical")
            await asyncio.sleep(1.0)
            took.append(max(0.0, clients.last["n1"] - began))
            back = time.monotonic()
            await asyncio.to_thread(consul.say, "n1-ttl", "passing")
            await clients.answers("n1", back)
            await asyncio.sleep(1.0)  # one change after the other, not a storm of them
    return took


async def _registration() -> Outcome:
    """From a registration with a passing check to the first answer through each of three gateways."""
    async with _scene(2, GATEWAYS) as (consul, labs, daemons), AsyncExitStack() as stack:
        _register(consul, "n1", labs[0])
        clients = [await stack.enter_async_context(_Clients(daemon.url, 2)) for daemon in daemons]
        for each in clients:
            await each.answers("n1", 0.0)
        took = []
        for turn in range(ADDITIONS):
            name, began = f"new{turn}", time.monotonic()
            await asyncio.to_thread(_register, consul, name, labs[1])
            await asyncio.gather(*(each.answers(name, began) for each in clients))
            took.append(max(each.first[name] for each in clients) - began)
            await asyncio.to_thread(consul.deregister, name)
            await asyncio.sleep(1.0)
    return Outcome(
        figures=(
            Figure(what=f"registered to routable on {GATEWAYS} gateways, slowest of {ADDITIONS}", value=max(took),
                   unit="s", at_most=1.0),
        ),
        details={"registration_s": [round(each, 3) for each in took]},
    )  # fmt: skip


async def _death() -> Outcome:
    """One of three nodes killed at 200 requests a second, with a Consul check every second."""
    async with _scene(3) as (consul, labs, (daemon,)):
        for number, lab in enumerate(labs, start=1):
            check = {"CheckID": f"n{number}-tcp", "TCP": lab.nodes[0].url.removeprefix("http://"), "Interval": "1s",
                     "Timeout": "1s", "Status": "passing"}  # fmt: skip
            _register(consul, f"n{number}", lab, check)
        async with _Clients(daemon.url, 1) as clients:
            for node in ("n1", "n2", "n3"):
                await clients.answers(node, 0.0)
        load = Load(
            LoadOptions(url=daemon.url, rate=RATE, connections=20, bodies=(BODY,), timeout=Seconds(5.0))
        )
        await load.start()
        await asyncio.sleep(2.0)
        os.kill(labs[0].pid, signal.SIGKILL)
        await asyncio.sleep(AFTER_SECONDS)
        report = await load.stop()
    return Outcome(
        figures=(
            Figure(what=f"failed requests when 1 of 3 nodes is killed at {RATE:g}/s (Fabio: 34 to 99)",
                   value=float(report.failures), at_most=0),
        ),
        details={"killed": report.document()},
    )  # fmt: skip


async def _bulk() -> Outcome:
    """5,000 services with nodes, and one more change."""
    # One simulated node stands for all 5,000, and must not be what is measured.
    async with _scene(1, interval=30.0) as (consul, labs, (daemon,)):
        port = int(labs[0].nodes[0].url.rpartition(":")[2])
        meta = {"nodegate-kind": "iri", "nodegate-pool": "bulk"}

        def register(first: int, count: int) -> None:
            """In transactions of Consul's catalogue: an agent takes them one by one, a few hundred a second at best."""
            for start in range(first, first + count, PER_TRANSACTION):
                numbers = range(start, min(first + count, start + PER_TRANSACTION))
                consul.put(
                    "/v1/txn",
                    [operation for number in numbers for operation in _operations(number, port, meta)],
                )

        consul.put("/v1/catalog/register", {"Node": FAR, "Address": "127.0.0.1"})
        await asyncio.to_thread(register, 0, BULK)
        async with aiohttp.ClientSession(headers=_token(daemon), trust_env=False) as session:
            await until(
                lambda: _known(session, daemon, BULK), what="all services are nodes", within=300, every=0.5
            )
            usage = Usage.of(daemon.pid)
            took = []
            for extra in range(5):
                began = time.monotonic()
                await asyncio.to_thread(register, BULK + extra, 1)
                wanted = BULK + extra + 1
                await until(partial(_known, session, daemon, wanted), what="one more", every=0.02)
                took.append(time.monotonic() - began)
    return Outcome(
        figures=(
            Figure(what=f"memory with {BULK:,} services", value=usage.memory / MEGABYTE, unit="MB", at_most=400),
            Figure(what=f"one more among {BULK:,} applied, median", value=statistics.median(took), unit="s", at_most=2.0),
        ),
        details={"bulk_s": [round(each, 3) for each in took]},
    )  # fmt: skip


def _operations(number: int, port: int, meta: dict[str, str]) -> list[dict[str, Any]]:
    """A service and its passing check on a machine without an agent."""
    name = f"b{number}"
    service = {"ID": name, "Service": "bulk", "Address": "127.0.0.1", "Port": port, "Meta": meta}
    check = {"Node": FAR, "CheckID": f"{name}-c", "Name": "c", "Status": "passing", "ServiceID": name}
    return [
        {"Service": {"Verb": "set", "Node": FAR, "Service": service}},
        {"Check": {"Verb": "set", "Check": check}},
    ]


def _token(daemon: Daemon) -> dict[str, str]:
    return {"Authorization": f"Bearer {(daemon.state / 'token').read_text().strip()}"}


async def _known(session: aiohttp.ClientSession, daemon: Daemon, count: int) -> bool:
    """Whether so many nodes are known and HAProxy serves with all of them."""
    async with session.get(f"{daemon.admin_url}/api/v1/status") as response:
        pools = (await response.json())["pools"]
    return any(
        pool["name"] == "bulk" and pool["nodes"] == count and pool["serving"] == count for pool in pools
    )
