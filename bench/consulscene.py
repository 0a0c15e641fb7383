"""A real Consul agent, nodes in processes of their own, gateways, and clients that remember who answered when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from bench.environment import scratch
from bench.rig import TRUSTING, Daemon, until
from bench.testbed import ConsulAgent
from nodegate.lab.process import LabProcess

PAUSE = 0.01
"""Seconds between two requests of a connection: the clients must not take the CPU from what is measured."""
PATIENCE = aiohttp.ClientTimeout(total=10.0)
"""For one request; a gateway that does not answer must not hold the benchmark up."""
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


@asynccontextmanager
async def scene(
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
            text = SETTINGS.format(url=consul.url, interval=interval)
            daemons.append(await stack.enter_async_context(Daemon(directory, text)))
        yield consul, labs, daemons


def port_of(lab: LabProcess) -> int:
    """The port of a lab's only node."""
    return int(lab.nodes[0].url.rpartition(":")[2])


def register(consul: ConsulAgent, name: str, lab: LabProcess, check: dict[str, Any] | None = None) -> None:
    """Register a lab's node as an instance of service `iri`, with a TTL check that passes unless `check` is given."""
    consul.register(
        "iri", name, Address="127.0.0.1", Port=port_of(lab), Meta={"nodegate-kind": "iri"},
        Check=check or {"CheckID": f"{name}-ttl", "TTL": "600s", "Status": "passing"},
    )  # fmt: skip


class Asking:
    """A few connections that ask again and again; remembers when each node answered first and last."""

    def __init__(self, url: str, connections: int = 6) -> None:
        self._url, self._connections = url, connections
        self.last: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Asking:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(trust_env=False, headers=HEADERS, timeout=PATIENCE) as session:
            while True:
                try:
                    async with session.post(self._url, data=BODY) as response:
                        await response.read()
                        node = response.headers.get("X-Nodegate-Node", "")
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(PAUSE)
                    continue
                now = time.monotonic()
                self.first.setdefault(node, now)
                self.last[node] = now
                await asyncio.sleep(PAUSE)

    async def answers(self, node: str, since: float = 0.0) -> float:
        """When `node` answered after `since`, once it did. Raises Unavailable when it does not."""

        async def has() -> float:
            return self.last.get(node, 0.0) if self.last.get(node, 0.0) > since else 0.0

        return await until(has, what=f"{node} answers", every=0.001)

    async def silent(self, node: str, since: float, *, for_: float) -> float:
        """When `node` answered last, once it has not answered for a while; `since` when it did not at all. Raises
        Unavailable when it goes on answering."""

        async def is_silent() -> bool:
            return time.monotonic() - max(since, self.last.get(node, 0.0)) >= for_

        await until(is_silent, what=f"{node} does not answer any more", within=30.0, every=0.005)
        return max(since, self.last.get(node, 0.0))
