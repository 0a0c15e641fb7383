"""The nodes of nodegate.toml over a registry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contract.memory_registry import Memory, MemoryRegistry
from contract.registry_contract import FixedClock, a_node, by_id
from nodegate.errors import Conflict, NotFound, Refused, Unavailable
from nodegate.model import Intent, Node, Source
from nodegate.registry.declared import DeclaredRegistry

FILE = a_node("file", weight=7, source=Source.FILE)


def gateway(memory: Memory, *declared: Node) -> DeclaredRegistry:
    """A nodegate that was started with these nodes in its file."""
    return DeclaredRegistry(MemoryRegistry(FixedClock(), memory), declared)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def inner(memory: Memory) -> MemoryRegistry:
    return MemoryRegistry(FixedClock(), memory)


@pytest.fixture
def registry(memory: Memory) -> DeclaredRegistry:
    return gateway(memory, FILE)


async def test_declared_nodes_stand_beside_the_registrys_in_order_of_id(registry: DeclaredRegistry) -> None:
    before, after = await registry.put(a_node("a")), await registry.put(a_node("z"))
    inventory = await registry.read()
    assert inventory.nodes == (before, FILE, after)
    assert [node.source for node in inventory.nodes] == [Source.REGISTRY, Source.FILE, Source.REGISTRY]
    assert inventory.faults == ()


async def test_an_unreachable_registry_is_not_an_inventory_of_declared_nodes_alone(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    memory.broken = "out of reach"
    with pytest.raises(Unavailable, match="out of reach"):
        await registry.read()


async def test_the_intent_of_a_declared_node_can_be_changed_and_outlives_a_restart(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    assert (drained.intent, drained.source, drained.version) == (Intent.DRAIN, Source.FILE, 1)
    for reader in (registry, gateway(memory, FILE)):
        assert (await reader.read()).nodes == (drained,)
    serving = await registry.put(replace(drained, intent=Intent.SERVE))
    assert (await registry.read()).nodes == (serving,)
    assert serving.version > drained.version


async def test_intents_of_declared_nodes_are_compared_and_set(registry: DeclaredRegistry) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    for version in (0, drained.version + 1):
        with pytest.raises(Conflict):
            await registry.put(replace(FILE, version=version))
    assert (await registry.read()).nodes == (drained,)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 8},
        {"url": "http://192.0.2.2:1"},
        {"kind": "evm"},
        {"pool": "other"},
        {"maxconn": 1},
        {"tls_verify": False},
        {"options": {"x": 1}},
        {"weight": 8, "intent": Intent.DRAIN},
    ],
    ids="+".join,
)
async def test_anything_else_of_a_declared_node_is_refused_with_what_to_do(
    registry: DeclaredRegistry, memory: Memory, change: dict[str, Any]
) -> None:
    with pytest.raises(
        Refused, match=r"declared in nodegate\.toml or by `up --node`: change \w+ there and restart"
    ) as raised:
        await registry.put(replace(FILE, **change))
    assert "'file'" in str(raised.value)
    assert next(iter(change)) in str(raised.value)
    assert memory.index == 0


async def test_a_declared_node_cannot_be_removed(registry: DeclaredRegistry, memory: Memory) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    for version in (0, drained.version):
        with pytest.raises(Refused, match=r"declared in nodegate\.toml or by `up --node`: take it out there"):
            await registry.delete("file", version)
    with pytest.raises(Refused, match=r"declared in nodegate\.toml or by `up --node`: take it out there"):
        await registry.put(replace(drained, intent=Intent.REMOVE))
    assert (await registry.read()).nodes == (drained,)


async def test_the_file_is_the_truth_for_all_but_the_intent(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    edited = replace(FILE, url="http://192.0.2.9:1", weight=1)
    assert (await gateway(memory, edited).read()).nodes == (
        replace(edited, intent=Intent.DRAIN, version=drained.version),
    )


async def test_the_intent_of_a_node_that_left_the_file_waits_for_its_return(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    without = await gateway(memory).read()
    assert (without.nodes, without.faults) == ((), ())
    assert (await gateway(memory, FILE).read()).nodes == (drained,)


async def test_a_node_that_left_the_file_can_be_added_as_one_of_the_registry(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    await registry.put(replace(FILE, intent=Intent.DRAIN))
    later = gateway(memory)
    added = await later.put(a_node("file", weight=1))
    assert (await later.read()).nodes == (added,)
    await later.delete("file", added.version)
    assert (await later.read()).nodes == ()


async def test_an_old_view_of_a_node_that_left_the_file_is_refused(
    registry: DeclaredRegistry, memory: Memory
) -> None:
    drained = await registry.put(replace(FILE, intent=Intent.DRAIN))
    later = gateway(memory)
    with pytest.raises(Refused, match=r"not declared in nodegate\.toml or by `up --node` any more"):
        await later.put(replace(drained, intent=Intent.SERVE))
    assert (await registry.read()).nodes == (drained,)


async def test_a_registry_node_under_a_declared_id_is_a_fault_and_the_file_is_in_force(
    registry: DeclaredRegistry, inner: MemoryRegistry, memory: Memory
) -> None:
    own = await inner.put(a_node("file", url="http://192.0.2.3:1", intent=Intent.DRAIN))
    inventory = await registry.read()
    assert inventory.nodes == (FILE,)
    (fault,) = inventory.faults
    for words in ("'file'", FILE.url, own.url, "intent drain", "the file's is in force"):
        assert words in fault
    with pytest.raises(Conflict, match="the file's is in force"):
        await registry.put(replace(FILE, intent=Intent.DRAIN))
    assert by_id(await inner.read()) == {"file": own}
    assert (await gateway(memory).read()).nodes == (own,)  # it is there again once the file lets go


async def test_an_overlay_that_asks_for_removal_drains_and_is_a_fault(
    registry: DeclaredRegistry, inner: MemoryRegistry
) -> None:
    written = await inner.put(replace(FILE, intent=Intent.REMOVE))
    inventory = await registry.read()
    assert inventory.nodes == (replace(FILE, intent=Intent.DRAIN, version=written.version),)
    assert "'file'" in inventory.faults[0]


async def test_faults_of_the_registry_are_kept(inner: MemoryRegistry) -> None:
    class Faulty(MemoryRegistry):
        async def read(self) -> Any:
            return replace(await super().read(), faults=("record x: odd",))

    assert (await DeclaredRegistry(Faulty(FixedClock()), [FILE]).read()).faults == ("record x: odd",)


async def test_what_is_not_declared_is_the_registrys_alone(
    registry: DeclaredRegistry, inner: MemoryRegistry
) -> None:
    put = await registry.put(a_node("own"))
    assert by_id(await inner.read()) == {"own": put}
    with pytest.raises(Conflict):
        await registry.put(a_node("own"))
    await registry.delete("own", put.version)
    with pytest.raises(NotFound):
        await registry.delete("own", put.version)
