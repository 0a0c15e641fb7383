"""What every registry must do, whatever it keeps its nodes in. A registry's tests derive from
RegistryContract and give it a `store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest

from nodegate.errors import Conflict, NotFound, Unavailable
from nodegate.model import Instant, Intent, Inventory, Node, Scalar
from nodegate.ports import Registry
from support import until


class Store(Protocol):
    """A place where nodes are kept, and how a test breaks and heals it."""

    def open(self) -> Registry:
        """One more client, as another process or gateway would be. The fixture closes it."""
        ...

    def break_(self) -> None:
        """Make the store unreadable, without a loss."""
        ...

    def heal(self) -> None:
        """Undo `break_`."""
        ...


class FixedClock:
    """A clock that stands at `at` until it is set."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = Instant(at)

    def now(self) -> Instant:
        return self.at


def a_node(node_id: str = "n1", **changes: Any) -> Node:
    fields: dict[str, Any] = {"url": "http://192.0.2.1:14265", "kind": "iri", **changes}
    return Node(id=node_id, **fields)


def by_id(inventory: Inventory) -> Mapping[str, Node]:
    return {node.id: node for node in inventory.nodes}


ODD_IDS = ["0", "a", "A", "a.b_c-d", "9" * 63, "a..b", "x-", "CON", "con.", "select"]

ODD_OPTIONS: list[dict[str, Scalar]] = [
    {},
    {"text": "", "true": True, "one": 1, "float": 1.0},
    {"ключ": "значение", "🗝": "🚪", "a b": "'\"\\;--\n\t\x00\x7f"},
    {"big": 2**70, "small": -0.0, "tiny": 5e-324, "digits": 0.1 + 0.2},
]


class RegistryContract:
    """The contract of `ports.Registry`. Derive, and define the fixture `store`."""

    @pytest.fixture
    def registry(self, store: Store) -> Registry:
        return store.open()

    async def test_holds_what_was_put_and_nothing_else(self, registry: Registry) -> None:
        before = by_id(await registry.read())
        put = await registry.put(a_node(weight=7, maxconn=3, tls_verify=False, intent=Intent.DRAIN))
        assert put.version > 0
        assert by_id(await registry.read()) == {**before, "n1": put}

    async def test_replaces_a_record_whose_version_is_known(self, registry: Registry) -> None:
        first = await registry.put(a_node())
        second = await registry.put(replace(first, weight=5))
        assert second.version > first.version
        assert by_id(await registry.read())["n1"] == second

    async def test_lists_nodes_in_order_of_id(self, registry: Registry) -> None:
        for node_id in ("b", "a-1", "a", "B", "a.0"):
            await registry.put(a_node(node_id))
        ids = [node.id for node in (await registry.read()).nodes]
        assert ids == sorted(ids)

    @pytest.mark.parametrize("node_id", ODD_IDS)
    async def test_keeps_odd_but_legal_ids_apart(self, registry: Registry, node_id: str) -> None:
        put = await registry.put(a_node(node_id))
        assert by_id(await registry.read())[node_id] == put
        await registry.delete(node_id, put.version)
        assert node_id not in by_id(await registry.read())

    async def test_ids_that_differ_in_case_are_two_nodes(self, registry: Registry) -> None:
        lower, upper = await registry.put(a_node("x")), await registry.put(a_node("X", url="http://other:1"))
        nodes = by_id(await registry.read())
        assert (nodes["x"], nodes["X"]) == (lower, upper)

    @pytest.mark.parametrize("options", ODD_OPTIONS)
    async def test_options_come_back_with_value_and_type(
        self, registry: Registry, options: dict[str, Scalar]
    ) -> None:
        await registry.put(a_node(options=options))
        found = by_id(await registry.read())["n1"].options
        assert {name: (type(value), repr(value)) for name, value in found.items()} == {
            name: (type(value), repr(value)) for name, value in options.items()
        }

    async def test_creating_what_exists_is_a_conflict_and_writes_nothing(self, registry: Registry) -> None:
        first = await registry.put(a_node())
        index = (await registry.read()).index
        with pytest.raises(Conflict, match="n1"):
            await registry.put(a_node(weight=1))
        after = await registry.read()
        assert by_id(after)["n1"] == first
        assert after.index == index

    async def test_an_old_version_loses_and_writes_nothing(self, registry: Registry) -> None:
        first = await registry.put(a_node())
        second = await registry.put(replace(first, weight=5))
        for lost in (first.version, second.version + 1, -1):
            with pytest.raises(Conflict, match="n1"):
                await registry.put(replace(first, weight=9, version=lost))
            with pytest.raises(Conflict, match="n1"):
                await registry.delete("n1", lost)
        assert by_id(await registry.read())["n1"] == second

    async def test_changing_what_was_deleted_is_a_conflict(self, registry: Registry) -> None:
        first = await registry.put(a_node())
        await registry.delete("n1", first.version)
        with pytest.raises(Conflict, match="n1"):
            await registry.put(replace(first, weight=9))
        assert "n1" not in by_id(await registry.read())

    async def test_a_version_is_never_used_again(self, registry: Registry) -> None:
        first = await registry.put(a_node())
        await registry.delete("n1", first.version)
        again = await registry.put(a_node())
        assert again.version > first.version
        with pytest.raises(Conflict):
            await registry.delete("n1", first.version)

    async def test_deleting_what_is_not_there_says_so(self, registry: Registry) -> None:
        for version in (0, 1):
            with pytest.raises(NotFound, match="n1"):
                await registry.delete("n1", version)

    async def test_the_index_grows_with_every_change_and_only_then(self, registry: Registry) -> None:
        indices = [(await registry.read()).index]
        node = await registry.put(a_node())
        indices.append((await registry.read()).index)
        node = await registry.put(node)
        indices.append((await registry.read()).index)
        await registry.delete("n1", node.version)
        indices.append((await registry.read()).index)
        assert indices == sorted(set(indices))
        assert (await registry.read()).index == indices[-1]

    async def test_changed_returns_at_once_when_the_index_differs(self, registry: Registry) -> None:
        await registry.put(a_node())
        index = (await registry.read()).index
        for other in (0, index - 1, index + 1):
            assert await asyncio.wait_for(registry.changed(other), 10) == index

    @pytest.mark.parametrize("deletes", [False, True], ids=["put", "delete"])
    async def test_changed_wakes_for_a_write_of_its_own_process(
        self, registry: Registry, deletes: bool
    ) -> None:
        node = await registry.put(a_node())
        index = (await registry.read()).index
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(registry.changed(index)) for _ in range(3)]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            if deletes:
                await registry.delete("n1", node.version)
            else:
                await registry.put(replace(node, weight=1))
            woken = await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert set(woken) == {(await registry.read()).index}
        assert woken[0] > index

    async def test_changed_wakes_for_a_write_of_another_client(self, store: Store) -> None:
        here, there = store.open(), store.open()
        index = (await here.read()).index
        waiting = asyncio.create_task(here.changed(index))
        put = await there.put(a_node())
        assert await asyncio.wait_for(waiting, 10) > index
        assert by_id(await here.read())["n1"] == put

    async def test_changed_waits_while_nothing_changes_and_can_be_cancelled(self, registry: Registry) -> None:
        await registry.put(a_node())
        index = (await registry.read()).index
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(registry.changed(index), 0.5)
        put = await registry.put(a_node("n2"))
        assert by_id(await registry.read())["n2"] == put

    async def test_of_concurrent_creators_exactly_one_wins(self, store: Store) -> None:
        clients = [store.open() for _ in range(4)]
        results = await asyncio.gather(
            *(client.put(a_node(weight=number)) for number, client in enumerate(clients)),
            return_exceptions=True,
        )
        won = [result for result in results if isinstance(result, Node)]
        assert len(won) == 1
        assert [type(result) for result in results if result not in won] == [Conflict] * 3
        assert [by_id(await client.read())["n1"] for client in clients] == won * 4

    async def test_no_concurrent_change_is_lost(self, store: Store) -> None:
        clients = [store.open() for _ in range(3)]
        await clients[0].put(a_node(weight=0))

        async def add_ten(client: Registry) -> None:
            for _ in range(10):
                await until(lambda: _incremented(client), what="a compare-and-set that wins")

        await asyncio.gather(*(add_ten(client) for client in clients))
        assert by_id(await clients[0].read())["n1"].weight == 30

    async def test_a_broken_store_raises_and_never_reads_as_empty(
        self, store: Store, registry: Registry
    ) -> None:
        node = await registry.put(a_node())
        before = await registry.read()
        store.break_()
        calls: list[Callable[[], Any]] = [
            registry.read,
            lambda: registry.changed(before.index),
            lambda: registry.changed(0),
            lambda: registry.put(replace(node, weight=1)),
            lambda: registry.delete("n1", node.version),
            lambda: store.open().read(),
        ]
        for call in calls:
            with pytest.raises(Unavailable) as raised:
                await asyncio.wait_for(call(), 10)
            assert len(str(raised.value)) > 20  # words, not a code
        store.heal()
        after = await registry.read()
        assert (after.nodes, after.index) == (before.nodes, before.index)
        assert (await registry.put(replace(node, weight=1))).version > node.version

    async def test_a_waiting_changed_hears_of_a_broken_store(self, store: Store, registry: Registry) -> None:
        await registry.put(a_node())
        waiting = asyncio.create_task(registry.changed((await registry.read()).index))
        await asyncio.sleep(0)
        store.break_()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 10)


async def _incremented(client: Registry) -> bool:
    node = by_id(await client.read())["n1"]
    try:
        await client.put(replace(node, weight=node.weight + 1))
    except Conflict:
        return False
    return True
