"""What the publisher registers beside records and verdicts: further names of the gateway, and what was left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from consul import ConsulAgent, consul_binary
from nodegate.consul.client import ConsulClient
from nodegate.model import Instant, Node, Snapshot
from nodegate.protocols import adapters
from nodegate.registry.aliases import Itself, itself
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.consulnodes import NODES
from nodegate.registry.publishing import Publisher
from nodegate.settings import FabioSettings, RegistrySettings, Settings
from support import until

GATEWAY = Itself(name="g1", service="nodegate", service_id="nodegate-g1", address="10.0.0.9", port=14267)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> Instant:
        return Instant(self.at)


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent() as agent:
        yield agent


@pytest.fixture
def agent(consul: ConsulAgent) -> Iterator[ConsulAgent]:
    yield consul
    consul.clear(NODES)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., tuple[ConsulRegistry, Publisher]]


@pytest.fixture
async def make(agent: ConsulAgent, clock: Clock) -> AsyncIterator[Make]:
    opened: list[ConsulRegistry] = []

    def made(name: str = "") -> tuple[ConsulRegistry, Publisher]:
        registry = ConsulRegistry(
            ConsulClient((agent.url,)), clock, RegistrySettings(), FabioSettings(strict=True)
        )
        registry.agent = name
        opened.append(registry)
        snapshot = Snapshot(at=Instant(0.0), started_at=Instant(0.0))
        return registry, Publisher(registry, Settings(), adapters(), lambda: snapshot)

    yield made
    for registry in opened:
        await registry.close()


def web(agent: ConsulAgent, *tags: str, number: int = 1) -> None:
    check = {"CheckID": f"web-{number}-ttl", "TTL": "600s", "Status": "passing"}
    agent.register("web", f"web-{number}", Address="10.0.0.2", Port=80, Tags=list(tags), Check=check)


def lives(agent: ConsulAgent) -> None:
    """The gateway's own service, as the cluster registers it."""
    check = {"CheckID": "nodegate-g1:ready", "TTL": "600s", "Status": "passing"}
    agent.register("nodegate", "nodegate-g1", Port=14267, Check=check)


async def test_a_name_that_a_route_asks_for_leads_to_the_gateway_as_long_as_the_route_lives(
    agent: ConsulAgent, make: Make
) -> None:
    lives(agent)
    web(agent, "urlprefix-/shop register=shop", "urlprefix-/x register=other")
    registry, loop = make()
    loop.itself = GATEWAY
    await registry.read()
    assert await loop.once() == ()
    (found,) = agent.instances("shop")
    assert (found["ServiceAddress"], found["ServicePort"], found["ServiceTags"]) == ("10.0.0.9", 14267, [])
    assert len(agent.instances("other")) == 1
    index = found["ModifyIndex"]
    await loop.once()
    assert agent.instances("shop")[0]["ModifyIndex"] == index  # nothing to do, nothing done
    web(agent, "urlprefix-/shop register=shop")
    await registry.read()
    assert await loop.once() == ()
    assert agent.instances("other") == []
    agent.deregister("web-1")
    await registry.read()
    assert await loop.once() == ()
    assert agent.instances("shop") == []


async def test_its_check_follows_the_gateways_own(agent: ConsulAgent, make: Make) -> None:
    lives(agent)
    web(agent, "urlprefix-/shop register=shop")
    registry, loop = make()
    loop.itself = GATEWAY
    await registry.read()
    await loop.once()

    def status() -> str:
        return str(agent.checks().get("shop-g1:alias", {}).get("Status"))

    await until(lambda: status() == "passing", what="the name leads to a living gateway")
    agent.say("nodegate-g1:ready", "critical", "not ready")
    await until(lambda: status() == "critical", what="the name follows the gateway")
    agent.say("nodegate-g1:ready", "passing")
    await until(lambda: status() == "passing", what="and back")


async def test_a_gateway_that_stops_takes_its_further_names_along_and_leaves_those_of_others(
    agent: ConsulAgent, make: Make
) -> None:
    lives(agent)
    web(agent, "urlprefix-/shop register=shop")
    registry, loop = make()
    loop.itself = GATEWAY
    await registry.read()
    await loop.once()
    agent.register("shop", "shop-g2", Port=1, Meta={"nodegate-alias": "g2"})
    await loop.once()
    assert len(agent.instances("shop")) == 2
    await loop.leave()
    assert [one["ServiceID"] for one in agent.instances("shop")] == ["shop-g2"]


@pytest.mark.parametrize(("name", "gateway"), [("nodegate", GATEWAY), ("Consul", GATEWAY), ("shop", None)])
async def test_a_name_that_cannot_be_taken_is_said(
    agent: ConsulAgent, make: Make, name: str, gateway: Itself | None
) -> None:
    web(agent, f"urlprefix-/shop register={name}")
    registry, loop = make()
    loop.itself = gateway
    await registry.read()
    (fault,) = await loop.once()
    assert fault.startswith(f"register={name}: ")
    assert agent.get("/v1/agent/services").keys() == {"web-1"}


def test_the_gateway_is_registered_where_clients_reach_it() -> None:
    settings = Settings.model_validate(
        {"gateway": {"listen": ["0.0.0.0:8080"]}, "cluster": {"address": "192.0.2.7", "service": "lb"}}
    )
    assert itself(settings, "g9") == Itself(
        name="g9", service="lb", service_id="lb-g9", address="192.0.2.7", port=8080
    )


async def test_what_fabio_has_in_consuls_keys_and_has_no_effect_is_said_until_it_is_gone(
    agent: ConsulAgent, make: Make, clock: Clock
) -> None:
    agent.put(
        "/v1/kv/fabio/config", "# ours\nroute add web /x http://10.0.0.1:80/\n\n// old\nroute del shop\n"
    )
    agent.put("/v1/kv/fabio/config/empty", "# nothing")
    agent.put("/v1/kv/fabio/noroute.html", "<h1>gone</h1>")
    registry, loop = make()
    await registry.read()
    commands, page = await loop.once()
    assert commands.startswith("Consul's key fabio/config has 2 route commands")
    assert "noroute.html" in page
    agent.call("DELETE", "/v1/kv/fabio/?recurse")
    clock.at += 31
    assert await loop.once() == ()


async def a_record_of(make: Make, machine: str) -> None:
    registry, _ = make(machine)
    await registry.put(Node(id="n1", url="http://10.0.0.1:14265", kind="iri"))


def machine(agent: ConsulAgent, name: str, status: str) -> None:
    """Another machine with a Consul agent, and what the others think of it."""
    serf: dict[str, Any] = {"Node": name, "CheckID": "serfHealth", "Name": "Serf", "Status": status}
    agent.put("/v1/catalog/register", {"Node": name, "Address": "10.9.9.9", "Check": serf})


async def test_services_of_a_machine_that_is_lost_for_long_are_taken_over_by_the_one_gateway_that_leads(
    agent: ConsulAgent, make: Make, clock: Clock
) -> None:
    await a_record_of(make, "gone")
    registry, loop = make()
    await registry.read()
    loop.leads = lambda task: task == "service/n2"
    await loop.once()
    clock.at += 61
    await loop.once()
    await registry.read()
    assert registry.stored["n1"].agent == "gone"  # another gateway's business
    loop.leads = lambda task: task == "service/n1"
    assert await loop.once() == ()
    await registry.read()
    assert registry.stored["n1"].agent == agent.node
    assert await loop.once() == ()
    assert len(agent.instances("nodegate-iri")) == 1


async def test_a_machine_that_is_back_in_time_keeps_its_services(
    agent: ConsulAgent, make: Make, clock: Clock
) -> None:
    try:
        machine(agent, "shaky", "critical")
        await a_record_of(make, "shaky")
        registry, loop = make()
        for status in ("critical", "passing", "critical"):
            machine(agent, "shaky", status)
            await registry.read()
            await loop.once()
            clock.at += 40
        await loop.once()
        await registry.read()
        assert registry.stored["n1"].agent == "shaky"
        clock.at += 61
        await loop.once()
        await registry.read()
        assert registry.stored["n1"].agent == agent.node
    finally:
        agent.put("/v1/catalog/deregister", {"Node": "shaky"})
