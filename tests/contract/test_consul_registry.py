"""The registry contract on Consul: a real agent that dies and comes back with its data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from consul import ConsulAgent, consul_binary
from contract.registry_contract import RegistryContract, Store, a_node
from nodegate.consul.client import ConsulClient
from nodegate.daemon.clock import SteadyClock
from nodegate.model import Source
from nodegate.ports import Registry
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.declared import DeclaredRegistry
from nodegate.settings import FabioSettings, RegistrySettings


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent(durable=True) as agent:
        yield agent


class ConsulStore:
    """Broken as by a power failure of the agent."""

    def __init__(self, agent: ConsulAgent, folder: Path) -> None:
        self.agent = agent
        self.folder = folder
        self.opened: list[ConsulRegistry] = []

    def open(self) -> Registry:
        client = ConsulClient((self.agent.url,))
        memory = self.folder / f"inventory-{len(self.opened)}.json"
        self.opened.append(
            ConsulRegistry(client, SteadyClock(), RegistrySettings(), FabioSettings(), memory=memory)
        )
        return self.opened[-1]

    def break_(self) -> None:
        self.agent.kill()

    def heal(self) -> None:
        self.agent.start()

    async def close(self) -> None:
        for registry in self.opened:
            await registry.close()
        if not self.agent.alive:
            self.agent.start()
        self.agent.call("DELETE", "/v1/kv/nodegate/nodes/?recurse")


class DeclaredStore(ConsulStore):
    def open(self) -> Registry:
        return DeclaredRegistry(super().open(), [a_node("declared-1", source=Source.FILE)])


class TestConsul(RegistryContract):
    @pytest.fixture
    async def store(self, agent: ConsulAgent, tmp_path: Path) -> AsyncIterator[Store]:
        store = ConsulStore(agent, tmp_path)
        yield store
        await store.close()


class TestDeclaredOverConsul(RegistryContract):
    @pytest.fixture
    async def store(self, agent: ConsulAgent, tmp_path: Path) -> AsyncIterator[Store]:
        store = DeclaredStore(agent, tmp_path)
        yield store
        await store.close()
