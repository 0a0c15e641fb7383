"""What the Consul registry does beyond the contract: blind tokens, lost data, what is kept, services of others."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consul import ConsulAgent, consul_binary
from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import KeyValues
from nodegate.daemon.clock import SteadyClock
from nodegate.errors import Conflict, Malformed, Refused, Unavailable
from nodegate.model import Intent, Judgement, Node, Seconds, Snapshot, Source, Status, Verdict
from nodegate.protocols import adapters
from nodegate.registry.aliases import itself
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.consulnodes import MARKER, NODES
from nodegate.registry.publishing import Publisher
from nodegate.settings import FabioSettings, RegistrySettings, Settings
from support import free_port, until

Open = Callable[..., ConsulRegistry]


@pytest.fixture(scope="module")
def secured() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent(acl=str(uuid.uuid4())) as agent:
        yield agent


@pytest.fixture
def agent(secured: ConsulAgent) -> Iterator[ConsulAgent]:
    yield secured
    secured.clear(NODES)


@pytest.fixture
async def open_(agent: ConsulAgent, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[ConsulRegistry] = []

    def make(
        token: str | None = None,
        *,
        url: str | None = None,
        memory: str | None = "inventory.json",
        **settings: Any,
    ) -> ConsulRegistry:
        client = ConsulClient(
            (url or agent.url,), agent.acl if token is None else token, timeout=Seconds(5.0)
        )
        opened.append(
            ConsulRegistry(
                client, SteadyClock(), RegistrySettings(**settings), FabioSettings(),
                memory=tmp_path / memory if memory else None,
            )
        )  # fmt: skip
        return opened[-1]

    yield make
    for registry in opened:
        await registry.close()


def a_node(name: str = "n1", **fields: Any) -> Node:
    return Node(**{"id": name, "url": "http://10.0.0.1:14265", "kind": "iri", **fields})


def register(agent: ConsulAgent, name: str = "theirs") -> None:
    agent.register("iri", name, Address="10.0.0.2", Port=14265, Meta={"nodegate-kind": "iri"})


async def test_a_token_that_may_not_read_the_keys_is_refused_and_not_believed(
    agent: ConsulAgent, open_: Open
) -> None:
    await open_(memory=None).put(a_node())
    await open_(memory=None).read()
    rules = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
    for keys in ("", 'key_prefix "other/" { policy = "write" }'):
        token = agent.new_token(f"half-{uuid.uuid4().hex}", f"{rules} {keys}")
        with pytest.raises(Refused, match="key_prefix"):
            await open_(token, memory=None).read()


async def test_consul_with_other_data_than_before_is_refused_while_there_are_nodes_to_lose(
    agent: ConsulAgent, open_: Open, tmp_path: Path
) -> None:
    registry = open_()
    node = await registry.put(a_node())
    await registry.read()
    await until((tmp_path / "inventory.json").exists, what="the inventory is kept")
    agent.call("DELETE", f"/v1/kv/{NODES}?recurse")
    for reader in (registry, open_()):
        with pytest.raises(Refused, match=r"inventory\.json"):
            await reader.read()
        kept = reader.remembered()
        assert kept is not None
        assert kept.nodes == (node,)
    assert (await open_(memory="another.json").read()).nodes == ()


@pytest.mark.parametrize("garbage", [b"garbage", b"[]", b"{}", b'{"store": ""}', b"\xff"])
async def test_a_damaged_marker_is_told_with_what_it_was(
    agent: ConsulAgent, open_: Open, garbage: bytes
) -> None:
    registry = open_()
    await registry.put(a_node())
    await registry.read()
    keys = KeyValues(registry.client)
    marker = await keys.get(MARKER)
    assert marker is not None
    await keys.put(MARKER, garbage)
    with pytest.raises(Malformed, match="put back what it was") as raised:
        await registry.read()
    assert str(raised.value).endswith(f"consul kv put {MARKER} '{marker.value.decode()}'")
    await keys.put(MARKER, marker.value)
    assert [node.id for node in (await registry.read()).nodes] == ["n1"]


async def test_the_last_inventory_is_there_without_consul_with_its_time_and_is_never_an_answer(
    agent: ConsulAgent, open_: Open
) -> None:
    register(agent)
    first = open_()
    await first.put(a_node())
    was = await first.read()
    await first.close()
    away = open_(url=f"http://127.0.0.1:{free_port()}")
    kept = away.remembered()
    assert kept is not None
    assert kept.nodes == was.nodes
    assert abs(kept.read_at - was.read_at) < 60
    with pytest.raises(Unavailable):
        await away.read()
    assert away.remembered() == kept
    assert open_(url=f"http://127.0.0.1:{free_port()}", memory="none.json").remembered() is None


async def test_what_vanished_while_nodegate_was_away_is_held_back_too(
    agent: ConsulAgent, open_: Open
) -> None:
    for number in range(4):
        register(agent, f"s{number}")
    first = open_()
    assert len((await first.read()).nodes) == 4
    await first.close()
    for number in range(1, 4):
        agent.deregister(f"s{number}")
    found = await open_(vanish_hold=600).read()
    assert len(found.nodes) == 4
    assert "vanished" in found.faults[0]
    assert len((await open_(vanish_hold=0).read()).nodes) == 1


async def test_a_service_of_others_takes_an_intent_and_nothing_else(agent: ConsulAgent, open_: Open) -> None:
    register(agent)
    registry = open_()
    (node,) = (await registry.read()).nodes
    assert (node.source, node.version) == (Source.SERVICE, 0)
    drained = await registry.put(replace(node, intent=Intent.DRAIN))
    assert (await open_(memory=None).read()).nodes == (drained,)
    await registry.read()
    for change in ({"weight": 1}, {"url": "http://10.0.0.9:1"}, {"intent": Intent.REMOVE}):
        with pytest.raises(Refused, match="theirs"):
            await registry.put(replace(drained, **change))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="deregister it there"):
        await registry.delete("theirs", drained.version)
    with pytest.raises(Conflict):
        await registry.put(replace(node, intent=Intent.DRAIN))


async def test_a_record_that_cannot_be_understood_is_a_fault_and_hides_no_other(
    agent: ConsulAgent, open_: Open
) -> None:
    registry = open_()
    good = await registry.put(a_node("good"))
    agent.put(f"/v1/kv/{NODES}bad", "{")
    found = await registry.read()
    assert found.nodes == (good,)
    assert "'bad'" in found.faults[0]
    assert MARKER not in {node.id for node in found.nodes}


# Publishing


def judged(*nodes: Node, status: Status = Status.UP) -> Callable[[], Snapshot]:
    from nodegate.model import Instant, Inventory

    verdicts = {node.id: Verdict(node_id=node.id, status=status, since=Instant(0.0)) for node in nodes}
    inventory = Inventory(nodes=nodes, index=1, read_at=Instant(0.0))
    return lambda: Snapshot(
        at=Instant(0.0), started_at=Instant(0.0), inventory=inventory, judgement=Judgement(verdicts=verdicts)
    )


def publisher(
    registry: ConsulRegistry, snapshot: Callable[[], Snapshot] | None = None, **settings: Any
) -> Publisher:
    return Publisher(
        registry, Settings(registry=RegistrySettings(**settings)), adapters(), snapshot or judged()
    )


async def test_a_round_registers_changes_and_drops_services_and_leaves_those_of_others_alone(
    agent: ConsulAgent, open_: Open
) -> None:
    register(agent)
    registry = open_()
    loop = publisher(registry)
    agent.register("nodegate-iri", "nodegate-old", Meta={"nodegate-record": "old"})
    await loop.once()  # nothing was read yet: nothing is dropped
    assert agent.instances("nodegate-iri") != []
    node = await registry.put(a_node())
    await registry.read()
    assert await loop.once() == ()
    (one,) = agent.instances("nodegate-iri")
    index = one["ModifyIndex"]
    await loop.once()
    assert agent.instances("nodegate-iri")[0]["ModifyIndex"] == index  # nothing to do, nothing done
    node = await registry.put(replace(node, weight=7))
    await registry.read()
    await loop.once()
    assert agent.instances("nodegate-iri")[0]["ServiceWeights"]["Passing"] == 7
    await registry.delete(node.id, node.version)
    await registry.read()
    assert await loop.once() == ()
    assert agent.instances("nodegate-iri") == []
    assert agent.instances("iri") != []


async def test_nodes_that_another_agent_has_are_not_registered_here(agent: ConsulAgent, open_: Open) -> None:
    registry = open_()
    registry.agent = "another"
    await registry.put(a_node())
    await registry.read()
    registry.agent = ""
    assert await publisher(registry).once() == ()
    assert agent.instances("nodegate-iri") == []


async def test_a_node_that_was_added_while_its_agent_was_away_is_adopted(
    agent: ConsulAgent, open_: Open
) -> None:
    away = ConsulClient((f"http://127.0.0.1:{free_port()}", agent.url), agent.acl)
    registry = ConsulRegistry(away, SteadyClock(), RegistrySettings(), FabioSettings())
    await registry.put(a_node())
    await registry.close()
    here = open_(memory=None)
    await here.read()
    assert here.stored["n1"].agent == ""
    loop = publisher(here)
    assert await loop.once() == ()
    await here.read()
    assert here.stored["n1"].agent == agent.node
    assert await loop.once() == ()
    assert len(agent.instances("nodegate-iri")) == 1


async def test_what_the_agent_does_not_take_is_a_fault_in_words(agent: ConsulAgent, open_: Open) -> None:
    token = agent.new_token(
        f"readonly-{uuid.uuid4().hex}",
        'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" } '
        'key_prefix "nodegate/" { policy = "write" }',
    )
    registry = open_(token)
    loop = publisher(registry)
    await registry.put(a_node())
    await registry.read()
    (fault,) = await loop.once()
    assert "service_prefix" in fault


async def test_a_further_name_that_the_token_may_not_take_is_said_with_the_right_that_it_needs(
    agent: ConsulAgent, open_: Open
) -> None:
    check = {"CheckID": "web-ttl", "TTL": "600s", "Status": "passing"}
    agent.register("web", Address="10.0.0.2", Port=80, Tags=["urlprefix-/ register=shop"], Check=check)
    token = agent.new_token(
        f"half-{uuid.uuid4().hex}",
        'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" } '
        'key_prefix "nodegate/" { policy = "write" } service_prefix "nodegate" { policy = "write" }',
    )
    registry = open_(token)
    loop = publisher(registry)
    loop.itself = itself(Settings(), "g1")
    await registry.read()
    (fault,) = await loop.once()
    assert "register=shop" in fault
    assert 'service "shop" { policy = "write" }' in fault
    assert agent.instances("shop") == []


async def test_verdicts_are_told_told_again_after_a_loss_and_taken_back(
    agent: ConsulAgent, open_: Open
) -> None:
    register(agent)
    registry = open_()
    loop = publisher(registry)
    await registry.read()
    await loop.once()
    own = await registry.put(a_node())
    nodes = (await registry.read()).nodes
    loop = publisher(registry, judged(*nodes, status=Status.DEGRADED), publish_verdict=True, check="none")
    assert await loop.once() == ()
    assert await loop.once() == ()
    names = {f"_nodegate_verdict:nodegate-{own.id}", "_nodegate_verdict:theirs"}
    checks = agent.get("/v1/agent/checks")
    assert {name: checks[name]["Status"] for name in names} == dict.fromkeys(names, "warning")
    await loop.leave()
    assert not names & agent.get("/v1/agent/checks").keys()
