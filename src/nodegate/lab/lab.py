"""A whole lab: any number of simulated nodes on the loopback that share one network, in this process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from nodegate.errors import Conflict, NotFound, Refused
from nodegate.lab import faults
from nodegate.lab.answers import Simulated
from nodegate.lab.connection import Listener
from nodegate.lab.evm import Chain, EvmNode
from nodegate.lab.faults import Fault, FaultName
from nodegate.lab.iri import (
    DEFAULT_RELEASE,
    POW,
    POW_COMMANDS,
    RELEASES,
    STALL,
    WALK,
    IriNode,
    IriProfile,
)
from nodegate.lab.iri_commands import COMMANDS
from nodegate.lab.server import WORKERS, NodeServer
from nodegate.lab.tangle import Tangle
from nodegate.model import Instant, Seconds

Kind = Literal["iri", "evm"]
KINDS: Final[tuple[Kind, ...]] = ("iri", "evm")
LOOPBACK: Final = "127.0.0.1"
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - the listener keeps itself to the loopback
_INTERVAL: Final = Seconds(2.0)
_SPREAD: Final = Seconds(0.2)
_PER_BLOCK: Final = 250  # addresses used in each 127.x.y.0/24
_MAX_SHARED: Final = 200 * _PER_BLOCK * _PER_BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """What is common to all nodes of a lab. Times are in seconds.

    `interval` is the time between two milestones (blocks); the real coordinator took about a minute, a lab is
    watched. `spread` is the largest delay after which a node sees a new milestone. `pow` opens attachToTangle
    to everybody; `trust_loopback` exempts the loopback from the remote limits, as the real node does, which
    in a lab would leave nothing to see. `release` is one of `nodegate.lab.iri.RELEASES`.
    """

    seed: str = "nodegate"
    interval: Seconds = _INTERVAL
    spread: Seconds = _SPREAD
    release: str = DEFAULT_RELEASE
    pow: bool = False
    trust_loopback: bool = False
    neighbors: int = 3
    stall: Seconds = STALL
    walk: Seconds = WALK
    work: Seconds = POW
    workers: int = WORKERS


class Lab:
    """Simulated nodes, their network, and the switches for their faults.

    `start` may be called again to add nodes of another kind; `add` adds one. All nodes of one kind share one
    growing chain of milestones or blocks. Use it as an async context manager, or call `stop`.
    """

    def __init__(self, options: LabOptions | None = None) -> None:
        """Raises Refused for a release or an interval that cannot be."""
        self.options = options or LabOptions()
        if self.options.release not in RELEASES:
            raise Refused(f"unknown release {self.options.release!r}: choose one of {', '.join(RELEASES)}")
        if self.options.interval < 0.05:
            raise Refused("the interval between milestones must be at least 0.05 s: making one costs 4 ms")
        self.tangle: Tangle | None = None
        self.chain: Chain | None = None
        self._nodes: dict[str, NodeServer] = {}
        self._listeners: dict[str, Listener] = {}  # by node; nodes on one port share theirs
        self._by_address: dict[str, NodeServer] = {}
        self._shared: Listener | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._epoch = time.time() - time.monotonic()

    def now(self) -> Instant:
        """The lab's clock: seconds since the epoch, never stepping."""
        return Instant(self._epoch + time.monotonic())

    @property
    def nodes(self) -> tuple[NodeServer, ...]:
        """All nodes in the order in which they were started."""
        return tuple(self._nodes.values())

    def node(self, name: str) -> NodeServer:
        """One node. Raises NotFound."""
        try:
            return self._nodes[name]
        except KeyError:
            raise NotFound(f"this lab has no node {name!r}: it has {_some(self._nodes)}") from None

    async def start(
        self, count: int = 5, kind: Kind = "iri", *, base_port: int = 0, addresses: bool = False
    ) -> tuple[NodeServer, ...]:
        """Start `count` nodes and return them.

        Ports are `base_port`, `base_port` + 1 and so on, or chosen by the system when it is 0. With
        `addresses` each node has its own loopback address 127.x.y.z and all share one port.
        Raises Unavailable when a port is taken; no node of this call is left then.
        """
        started: list[NodeServer] = []
        try:
            if addresses and self._shared is None:
                self._shared = Listener(self._by_address.get, host=ALL_ADDRESSES)
                await self._shared.start(base_port)
            for place in range(count):
                port = base_port + place if base_port else 0
                started.append(await self.add(kind, port=port, addresses=addresses))
        except BaseException:
            for node in started:
                await self.remove(node.id)
            raise
        return tuple(started)

    async def add(
        self, kind: Kind = "iri", *, name: str = "", port: int = 0, addresses: bool = False
    ) -> NodeServer:
        """Start one more node. Raises Conflict when its name is taken, Unavailable when its port is."""
        name = name or self._free_name(kind)
        if name in self._nodes:
            raise Conflict(f"this lab already has a node {name!r}")
        simulated = self._simulated(kind, name)
        host = self._free_address() if addresses else LOOPBACK
        node = NodeServer(
            name=name, host=host, simulated=simulated, now=self.now, workers=self.options.workers
        )
        if addresses and self._shared is not None:
            listener = self._shared
            self._by_address[host] = node
        else:
            listener = Listener(lambda address: node, host=host)
            await listener.start(port)
        node.port = listener.port
        self._nodes[name] = node
        self._listeners[name] = listener
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick(), name="lab milestones")
        return node

    async def remove(self, name: str) -> None:
        """Stop one node for good: its connections are reset and its port is free. Raises NotFound."""
        node = self.node(name)
        listener = self._listeners.pop(name)
        if listener is not self._shared:
            listener.close()
        self._by_address.pop(node.host, None)
        del self._nodes[name]
        await _ended(node)

    async def fault(self, name: str, fault: Fault | FaultName | str, **parameters: float | int | str) -> None:
        """Give the node a fault, in place of the one it has: `fault("iri-2", "lag", milestones=20)`.

        Returns when it is in force. Raises NotFound, and BadDocument for a fault that cannot be.
        """
        node = self.node(name)
        wanted = fault if isinstance(fault, Fault) else faults.fault(fault, **parameters)
        if wanted.name is FaultName.REFUSE and self._listeners[name] is not self._shared:
            node.suffer(wanted)
            await self._listeners[name].pause()
            node.reset_all()
            return
        await self._listeners[name].resume()
        node.suffer(wanted)

    async def heal(self, name: str) -> None:
        """Take the node's fault away; a node that refused listens again on the same port. Raises NotFound."""
        node = self.node(name)
        node.suffer(None)
        await self._listeners[name].resume()

    async def stop(self) -> None:
        """Stop everything; calling it twice is harmless."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        for name in list(self._nodes):
            await self.remove(name)
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _tick(self) -> None:
        """Grow the networks, one milestone and one block each interval."""
        while True:
            await asyncio.sleep(self.options.interval)
            if self.tangle is not None:
                self.tangle.issue(self.now())
            if self.chain is not None:
                self.chain.extend(self.now())

    def _simulated(self, kind: Kind, name: str) -> Simulated:
        options = self.options
        chance = random.Random(f"{options.seed}/{name}")
        delay = Seconds(chance.uniform(0, options.spread))
        if kind == "evm":
            self.chain = self.chain or Chain(seed=options.seed, now=self.now(), step=options.interval)
            return EvmNode(self.chain, name=name, delay=delay, peers=5 + chance.randrange(20))
        self.tangle = self.tangle or Tangle(seed=options.seed, now=self.now(), step=options.interval)
        profile = IriProfile(
            id=name,
            release=RELEASES[options.release],
            remote_limited=remote_limited(options),
            neighbors=tuple(f"tcp://192.0.2.{1 + place}:15600" for place in range(options.neighbors)),
            delay=delay,
            solidify=Seconds(chance.uniform(0, options.spread / 2)),
            stall=options.stall,
            walk=options.walk,
            work=options.work,
        )
        return IriNode(profile, self.tangle, COMMANDS)

    def _free_name(self, kind: Kind) -> str:
        place = len(self._nodes) + 1
        while f"{kind}-{place}" in self._nodes:
            place += 1
        return f"{kind}-{place}"

    def _free_address(self) -> str:
        place = len(self._by_address)
        while (address := _address(place)) in self._by_address:
            place += 1
        return address

    def __repr__(self) -> str:
        return f"<Lab nodes={len(self._nodes)} release={self.options.release} tangle={self.tangle}>"


def remote_limited(options: LabOptions) -> frozenset[str]:
    """The commands that a lab's IRI nodes refuse to strangers, who are all clients unless the loopback is
    trusted."""
    if options.trust_loopback:
        return frozenset()
    limited = RELEASES[options.release].remote_limited
    return limited - POW_COMMANDS if options.pow else limited


def _address(place: int) -> str:
    """The loopback address of the node at `place` of those that share a port."""
    if place >= _MAX_SHARED:
        raise Refused(f"at most {_MAX_SHARED} nodes can share one port")
    block, last = divmod(place, _PER_BLOCK)
    return f"127.{1 + block // _PER_BLOCK}.{block % _PER_BLOCK}.{1 + last}"


async def _ended(node: NodeServer) -> None:
    """Reset the node's connections and end what it was doing."""
    node.reset_all()
    tasks = list(node.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _some(names: Iterable[str]) -> str:
    """A few of the names, for a message."""
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") or "none"


def ready_document(lab: Lab, control: str) -> Mapping[str, object]:
    """What a lab prints when it is ready."""
    return {
        "nodes": [{"id": node.id, "url": node.url, "kind": node.kind} for node in lab.nodes],
        "control": control,
    }
