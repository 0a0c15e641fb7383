"""Any sequence of calls, through any of three clients, against a plain model of what must be there."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contract.memory_registry import Memory, MemoryRegistry
from contract.registry_contract import FixedClock, a_node
from nodegate.errors import Conflict, NotFound
from nodegate.model import Node, Source
from nodegate.ports import Registry
from nodegate.registry.declared import DeclaredRegistry
from nodegate.registry.sqlite import SqliteRegistry

ids = st.sampled_from(["a", "b", "c"])
clients = st.integers(0, 2)
versions = st.sampled_from(["known", "none", "older", "newer"])
CLOCK = FixedClock()


class RegistryMachine(RuleBasedStateMachine):
    """Derive, and define `opener`: what opens one more client of a store in `folder`."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="nodegate-registry-"))
        self.open = self.opener()
        self.clients = [self.open() for _ in range(3)]
        self.model: dict[str, Node] = {}
        self.index = self.runner.run(self.clients[0].read()).index

    def opener(self) -> Callable[[], Registry]:
        raise NotImplementedError

    def version(self, node_id: str, which: str) -> int:
        known = self.model[node_id].version if node_id in self.model else 0
        return {"known": known, "none": 0, "older": known - 1, "newer": known + 1}[which]

    @rule(client=clients, node_id=ids, which=versions, weight=st.integers(0, 256))
    def put(self, client: int, node_id: str, which: str, weight: int) -> None:
        version = self.version(node_id, which)
        node = a_node(node_id, weight=weight, version=version)
        try:
            stored = self.runner.run(self.clients[client].put(node))
        except Conflict:
            assert version != self.version(node_id, "known")
            return
        assert version == self.version(node_id, "known")
        assert stored == replace(node, version=stored.version)
        assert stored.version > self.index
        self.model[node_id] = stored
        self.grown()

    @rule(client=clients, node_id=ids, which=versions)
    def delete(self, client: int, node_id: str, which: str) -> None:
        version = self.version(node_id, which)
        try:
            self.runner.run(self.clients[client].delete(node_id, version))
        except NotFound:
            assert node_id not in self.model
        except Conflict:
            assert version != self.version(node_id, "known")
        else:
            assert self.model.pop(node_id).version == version
            self.grown()

    @rule(client=clients)
    def restart(self, client: int) -> None:
        self.close(self.clients[client])
        self.clients[client] = self.open()

    def grown(self) -> None:
        before = self.index
        waits = [asyncio.wait_for(client.changed(before), 10) for client in self.clients]

        async def all_of_them() -> list[int]:
            return await asyncio.gather(*waits)

        (self.index,) = set(self.runner.run(all_of_them()))
        assert self.index > before

    @invariant()
    def all_clients_see_the_model(self) -> None:
        for client in self.clients:
            inventory = self.runner.run(client.read())
            own = tuple(node for node in inventory.nodes if node.source is Source.REGISTRY)
            assert own == tuple(self.model[node_id] for node_id in sorted(self.model))
            assert (inventory.index, inventory.faults) == (self.index, ())

    def close(self, client: Registry) -> None:
        close = getattr(client, "close", None)
        if close is not None:
            self.runner.run(close())

    def teardown(self) -> None:
        for client in self.clients:
            self.close(client)
        self.runner.close()
        shutil.rmtree(self.folder)


class _Closing(DeclaredRegistry):
    def __init__(self, inner: SqliteRegistry) -> None:
        super().__init__(inner, [a_node("declared", source=Source.FILE)])
        self.close = inner.close


class MemoryMachine(RegistryMachine):
    def opener(self) -> Callable[[], Registry]:
        memory = Memory()
        return lambda: MemoryRegistry(CLOCK, memory)


class SqliteMachine(RegistryMachine):
    def opener(self) -> Callable[[], Registry]:
        return lambda: SqliteRegistry(self.folder / "registry.db", CLOCK)


class DeclaredMachine(RegistryMachine):
    def opener(self) -> Callable[[], Registry]:
        return lambda: _Closing(SqliteRegistry(self.folder / "registry.db", CLOCK))


LIMITS = settings(max_examples=15, stateful_step_count=15, deadline=None)

TestMemory = MemoryMachine.TestCase
TestMemory.settings = LIMITS
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = LIMITS
TestDeclared = DeclaredMachine.TestCase
TestDeclared.settings = LIMITS
