"""A machine with its Consul agent dies: another gateway registers the services that it had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from consul import ConsulAgent, consul_binary
from consulservers import ConsulServers
from nodegate.consul.client import ConsulClient
from nodegate.daemon.clock import SteadyClock
from nodegate.errors import NodegateError
from nodegate.model import Instant, Node, Snapshot
from nodegate.protocols import adapters
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.publishing import Publisher
from nodegate.settings import FabioSettings, RegistrySettings, Settings
from support import until

pytestmark = pytest.mark.scenario


@pytest.fixture
def servers() -> Iterator[ConsulServers]:
    consul_binary()
    with ConsulServers() as servers:
        yield servers


@asynccontextmanager
async def gateway(agent: ConsulAgent) -> AsyncIterator[tuple[ConsulRegistry, Publisher]]:
    """What a gateway beside this agent has for its services."""
    settings = Settings(registry=RegistrySettings(take_over_after=5))
    registry = ConsulRegistry(ConsulClient((agent.url,)), SteadyClock(), settings.registry, FabioSettings())
    snapshot = Snapshot(at=Instant(0.0), started_at=Instant(0.0))
    try:
        yield registry, Publisher(registry, settings, adapters(), lambda: snapshot)
    finally:
        await registry.close()


async def rounds(registry: ConsulRegistry, loop: Publisher) -> None:
    """One round of a gateway; one that fails is followed by the next."""
    try:
        await registry.read()
        await loop.once()
    except NodegateError:
        return


async def test_the_services_of_a_dead_machine_are_on_another_agent_and_stay_there_when_it_is_back(
    servers: ConsulServers,
) -> None:
    leader = servers.leader()
    first, second = (agent for agent in servers.agents if agent is not leader)

    def where() -> set[str]:
        """The Consul nodes that have the node's service, and live."""
        found = leader.get("/v1/health/service/nodegate-iri")
        alive = {
            check["Node"]
            for check in leader.get("/v1/health/state/passing")
            if check["CheckID"] == "serfHealth"
        }
        return {one["Node"]["Node"] for one in found} & alive

    async with gateway(first) as here, gateway(second) as there:
        await here[0].put(Node(id="n1", url="http://10.0.0.1:14265", kind="iri"))

        async def only(name: str) -> bool:
            for each in (here, there):
                await rounds(*each)
            return where() == {name}

        await until(lambda: only(first.node), what="the service is where it was added", within=60)
        first.kill()
        await until(lambda: only(second.node), what="the other gateway takes it over", within=60)
        first.start()
        await until(
            lambda: first.node in {one["Node"] for one in leader.get("/v1/catalog/nodes")}, what="it is back"
        )
        await until(lambda: only(second.node), what="it stays, and the first one drops its own", within=60)
        assert there[0].stored["n1"].agent == second.node
