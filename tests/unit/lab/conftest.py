"""A running lab, a raw client that hides nothing, and simulated nodes without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from nodegate.lab.answers import Reply, Work
from nodegate.lab.http1 import Request
from nodegate.lab.iri import RELEASES, IriNode, IriProfile
from nodegate.lab.iri_commands import COMMANDS
from nodegate.lab.lab import Lab, LabOptions
from nodegate.lab.server import NodeServer
from nodegate.lab.tangle import Tangle
from nodegate.model import Instant, Seconds

NOW = Instant(1_600_000_000.0)


@pytest.fixture
def tangle() -> Tangle:
    return Tangle(seed="test", now=NOW)


@dataclass
class Asked:
    """An IRI node that is asked without a network; serialised work is done at once."""

    node: IriNode
    now: Instant = NOW
    held: list[float] = field(default_factory=list)

    def __call__(self, **body: Any) -> tuple[int, dict[str, Any]]:
        return self.raw(json.dumps(body).encode())

    def raw(
        self, body: bytes, *, method: str = "POST", version: str | None = "1"
    ) -> tuple[int, dict[str, Any]]:
        headers = {} if version is None else {"x-iota-api-version": version}
        request = Request(method=method, target="/", headers=headers, body=body, keep_alive=True)
        _, outcome = self.node.admit(request, self.now)
        if isinstance(outcome, Work):
            self.held.append(outcome.hold(self.now))
            for _ in outcome.steps(self.now):
                pass
            outcome = outcome.run(self.now)
        assert isinstance(outcome, Reply)
        document = json.loads(self.node.encode(outcome, Seconds(0.0)))
        assert document.pop("duration") == 0
        return outcome.status, document


@pytest.fixture
def asked(tangle: Tangle) -> Callable[..., Asked]:
    """Makes a node to ask: `asked(release="1.8.6", **profile)`."""

    def make(release: str = "1.8.6", **profile: Any) -> Asked:
        chosen = RELEASES[release]
        profile.setdefault("remote_limited", chosen.remote_limited)
        profile.setdefault("neighbors", ("tcp://192.0.2.1:15600",))
        return Asked(IriNode(IriProfile(id="n", release=chosen, **profile), tangle, COMMANDS))

    return make


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A lab without nodes whose network moves quickly and whose stalls are short."""
    options = LabOptions(
        interval=Seconds(0.1),
        spread=Seconds(0.0),
        stall=Seconds(0.4),
        walk=Seconds(0.0),
        work=Seconds(0.0),
        pow=True,
    )
    async with Lab(options) as running:
        yield running


@dataclass
class Raw:
    """One connection to a node, byte for byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, body: bytes, *, headers: str = "X-IOTA-API-Version: 1\r\n", method: str = "POST") -> None:
        head = f"{method} / HTTP/1.1\r\nHost: lab\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers["Content-Length"])), 5)
        return int(first.split(" ")[1]), headers, body

    async def ask(self, **body: Any) -> tuple[int, Any]:
        self.send(json.dumps(body).encode())
        status, _, answer = await self.receive()
        return status, json.loads(answer)

    async def closed(self) -> bytes:
        """All that still comes until the other side closes; raises when it resets."""
        return await asyncio.wait_for(self.reader.read(), 5)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[NodeServer], Any]]:
    """`await connect(node)` opens a raw connection; all are closed at the end."""
    opened: list[asyncio.StreamWriter] = []

    async def open_one(node: NodeServer) -> Raw:
        reader, writer = await asyncio.open_connection(node.host, node.port)
        opened.append(writer)
        return Raw(reader, writer)

    yield open_one
    for writer in opened:
        writer.close()
