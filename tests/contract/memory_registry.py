"""An honest registry in memory: the contract in its plainest form, and a fake for tests of what uses one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from nodegate.errors import Conflict, NotFound, Unavailable
from nodegate.model import Inventory, Node
from nodegate.ports import Clock


@dataclass
class Memory:
    """What clients of one store share. `broken` says why it cannot be reached."""

    nodes: dict[str, Node] = field(default_factory=dict)
    index: int = 0
    broken: str | None = None
    change: asyncio.Condition = field(default_factory=asyncio.Condition)


class MemoryRegistry:
    """`ports.Registry` over a Memory."""

    def __init__(self, clock: Clock, memory: Memory | None = None) -> None:
        self._clock = clock
        self.memory = memory or Memory()

    async def read(self) -> Inventory:
        self._reach()
        nodes = tuple(self.memory.nodes[node_id] for node_id in sorted(self.memory.nodes))
        return Inventory(nodes=nodes, index=self.memory.index, read_at=self._clock.now())

    async def changed(self, after: int) -> int:
        async with self.memory.change:
            while True:
                self._reach()
                if self.memory.index != after:
                    return self.memory.index
                try:
                    async with asyncio.timeout(0.05):
                        await self.memory.change.wait()
                except TimeoutError:
                    continue

    async def put(self, node: Node) -> Node:
        self._reach()
        self._compare(node.id, node.version)
        stored = replace(node, version=self.memory.index + 1)
        self.memory.nodes[node.id] = stored
        await self._grow()
        return stored

    async def delete(self, node_id: str, version: int) -> None:
        self._reach()
        if node_id not in self.memory.nodes:
            raise NotFound(f"there is no node {node_id!r}")
        self._compare(node_id, version)
        del self.memory.nodes[node_id]
        await self._grow()

    def _reach(self) -> None:
        if self.memory.broken is not None:
            raise Unavailable(self.memory.broken)

    def _compare(self, node_id: str, version: int) -> None:
        stored = self.memory.nodes.get(node_id)
        if (stored.version if stored else 0) != version:
            raise Conflict(f"node {node_id!r} was changed meanwhile")

    async def _grow(self) -> None:
        self.memory.index += 1
        async with self.memory.change:
            self.memory.change.notify_all()
