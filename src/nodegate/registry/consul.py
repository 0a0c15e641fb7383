"""The cluster's registry: records in Consul's key-value store, beside the services that others registered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from nodegate.consul.budget import Budget
from nodegate.consul.catalog import Catalog
from nodegate.consul.client import ConsulClient, gathered
from nodegate.consul.kv import Listing
from nodegate.consul.watch import CatalogWatch
from nodegate.errors import Conflict, NodegateError, NotFound, Refused
from nodegate.model import Intent, Inventory, Node, Seconds, Source
from nodegate.ports import Clock
from nodegate.registry.consulnodes import Before, Stored, assemble, places_of
from nodegate.registry.consulrecords import FOREIGN, RecordKeys
from nodegate.registry.remembered import Keeper, Memory
from nodegate.settings import FabioSettings, RegistrySettings

FRESH = 0.1
"""Seconds for which what `changed` has just read is the answer of the next `read`: it saves every second request,
and what comes later wakes `changed` again."""


class ConsulRegistry:
    """`ports.Registry` on the Consul behind `client`. Errors are those of the port.

    The last inventory is kept in the file `memory` (None: nowhere), see `remembered`. `agent` names the Consul node
    whose agent gets the services of new nodes (`registry.publishing`), `registers` the further names that routes
    ask for. `written` is told when those change, or a record through this object; `remarks` are further faults to show. `current` is True once Consul was read.
    """

    def __init__(
        self,
        client: ConsulClient,
        clock: Clock,
        settings: RegistrySettings,
        fabio: FabioSettings,
        *,
        memory: Path | None = None,
    ) -> None:
        self.client = client
        self.agent = ""
        self.registers: tuple[str, ...] = ()
        self.written: Callable[[], None] = lambda: None
        self.remarks: Callable[[], tuple[str, ...]] = lambda: ()
        self.current = False
        self.clock = clock
        self._fabio = fabio
        self._watch = CatalogWatch(
            client, clock, _wanted(settings.services),
            share=settings.max_vanish, hold=Seconds(settings.vanish_hold),
        )  # fmt: skip
        self._records = RecordKeys(client, str(memory or "the kept inventory"))
        self._keeper = Keeper(memory, clock)
        self._budget = Budget()
        self._before = Before()
        self._last: Inventory | None = None
        self._fresh_until = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[Listing] | None = None

    def __repr__(self) -> str:
        return f"<ConsulRegistry {self.client.current}>"

    @property
    def stored(self) -> Mapping[str, Stored]:
        """The records as last read, by node id."""
        return self._records.stored

    def places(self) -> Mapping[str, str]:
        """The services of the agent named `agent` that others registered and that are nodes: service id by node id."""
        if self._last is None or self._watch.catalog is None:
            return {}
        return places_of(self._last.nodes, self._watch.catalog.instances, self.agent)

    def lost_agents(self) -> frozenset[str]:
        """The agents that have services of records and that Consul does not know, or takes for dead, now."""
        living = self._watch.living_agents()
        named = {one.agent for one in self.stored.values() if one.agent}
        return frozenset(named - living) if living else frozenset()

    def remembered(self) -> Inventory | None:
        """The inventory as it was when nodegate last read it, in this run or an earlier one; None when there is
        none. Its `read_at` says how old it is."""
        memory = None if self._last is not None else self._keeper.recall()
        if memory is None:
            return self._last
        self._records.recall(memory.store, memory.entries)
        catalog = Catalog(instances=memory.instances, index=memory.index, read_at=memory.read_at)
        self._watch.remember(catalog)
        self._last = self._assembled(catalog)
        self._last = replace(self._last, index=memory.index, read_at=memory.read_at)
        return self._last

    async def read(self) -> Inventory:
        """All nodes now. Where the cluster has no leader, as any of its servers knows them."""
        loop = asyncio.get_running_loop()
        if self._last is not None and loop.time() < self._fresh_until:
            self._fresh_until = 0.0
            return self._last
        if self._last is None:
            self.remembered()
        listing, catalog = await gathered(self._records.listing(), self._watch.read())
        return self._take(await self._records.believed(listing), catalog)

    async def changed(self, after: int) -> int:
        """Wait until the index differs from `after`: within milliseconds of the change in Consul."""
        if self._last is None or self._last.index != after:
            await self.read()
        while self._last is not None and self._last.index == after:
            if self._pump is None or self._pump.done():
                self._pump = asyncio.create_task(self._wait_for_news(), name="Consul's news")
                self._pump.add_done_callback(_heard)
            await asyncio.shield(self._pump)
        self._fresh_until = asyncio.get_running_loop().time() + FRESH
        assert self._last is not None
        return self._last.index

    async def put(self, node: Node) -> Node:
        """Create or replace by compare-and-set on `node.version`. Raises Refused for any change but the intent of
        a service that others registered."""
        self._fresh_until = 0.0
        if node.source is Source.SERVICE:
            self._must_be_intent(node)
        known = self._records.agent_of(node.id) if node.version else None
        written = await self._records.put(node, known if known is not None else await self._own_agent())
        self.written()
        return written

    async def delete(self, node_id: str, version: int) -> None:
        """Delete by compare-and-set on `version`. Raises Refused for a service that others registered."""
        self._fresh_until = 0.0
        try:
            await self._records.delete(node_id, version)
        except NotFound:
            if any(node.id == node_id and node.source is Source.SERVICE for node in self._nodes()):
                raise Refused(FOREIGN.format(node_id)) from None
            raise
        self.written()

    async def learn_agent(self) -> str:
        """The name of the Consul node whose agent is at the client's first address. Errors are the client's."""
        if not self.agent:
            found = (await self.client.get("/v1/agent/self", local=True)).value
            self.agent = str(found["Config"]["NodeName"])
        return self.agent

    async def adopt(self, node: Node) -> None:
        """Make the agent of this machine the one that has the node's service. Raises Conflict when the record has
        changed meanwhile."""
        await self._records.put(node, self.agent)

    async def close(self) -> None:
        """End the requests under way and close the client; later calls raise Unavailable."""
        for task in (self._pump, self._waiting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        await self._keeper.finish()
        await self._watch.close()
        await self.client.close()

    async def _wait_for_news(self) -> None:
        """Wait until keys or services change, and take it into account."""
        await asyncio.sleep(self._budget.rest(self.clock.now()))
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._records.listing(wait=True), name="Consul's keys")
        keys, services = self._waiting, asyncio.create_task(self._watch.changed(), name="Consul's services")
        try:
            await asyncio.wait((keys, services), return_when=asyncio.FIRST_COMPLETED)
            began = self.clock.now()
            if keys.done():
                # Else it goes on: Consul would not notice for a minute that nobody waits any more.
                self._waiting = None
            listing = await self._records.believed(keys.result()) if keys.done() else None
            catalog = services.result() if services.done() else self._watch.catalog
        finally:
            services.cancel()
            await asyncio.gather(services, return_exceptions=True)
        if catalog is not None:
            self._take(listing, catalog)
        now = self.clock.now()
        self._budget.spend(Seconds(now - began), now)

    def _take(self, listing: Listing | None, catalog: Catalog) -> Inventory:
        """The inventory of what was read; its index grows when, and only when, something in it changed."""
        if listing is not None:
            self._records.take(listing)
        last = self._last
        new = self._assembled(catalog)
        newest = max(1, self._records.index, catalog.index)
        same = last is not None and _content(last) == _content(new)
        if last is not None:
            newest = last.index if same else max(newest, last.index + 1)
        if same and last is not None:
            new = replace(new, nodes=last.nodes, routes=last.routes)  # whoever compares sees it at once
        new = replace(new, index=newest, read_at=self.clock.now())
        self._last, self.current = new, True
        self._keeper.keep(lambda: self._memory(catalog, new), same=same)
        return new

    def _memory(self, catalog: Catalog, inventory: Inventory) -> Memory:
        return Memory(
            store=self._records.store, index=inventory.index, read_at=inventory.read_at,
            entries=self._records.entries, instances=catalog.instances,
        )  # fmt: skip

    def _assembled(self, catalog: Catalog) -> Inventory:
        found = assemble(self._records.records(), catalog.instances, self._fabio, self._before)
        if found.registers != self.registers:
            self.registers = found.registers
            self.written()
        return Inventory(
            nodes=found.nodes, index=1, read_at=catalog.read_at, routes=found.routes,
            faults=(*found.faults, *self._watch.notes, *self.remarks()),
        )  # fmt: skip

    def _nodes(self) -> tuple[Node, ...]:
        return self._last.nodes if self._last is not None else ()

    async def _own_agent(self) -> str:
        """The agent for a new node, "" while it cannot be asked: then the next gateway that can adopts the node."""
        try:
            return await self.learn_agent()
        except NodegateError:
            return ""

    def _must_be_intent(self, node: Node) -> None:
        known = next((one for one in self._nodes() if one.id == node.id), None)
        if known is None:
            raise Conflict(f"node {node.id!r} is not in Consul any more")
        if node.intent is Intent.REMOVE:
            raise Refused(FOREIGN.format(node.id))
        if replace(node, intent=known.intent, version=known.version, failing=known.failing) != known:
            raise Refused(
                f"node {node.id!r} is described by its service in Consul: change it there; by command only its intent can be changed"
            )


def _content(inventory: Inventory) -> tuple[object, ...]:
    return inventory.nodes, inventory.routes, inventory.faults


def _heard(task: asyncio.Task[None]) -> None:
    """A failure that nobody waits for now comes again with the next read."""
    if not task.cancelled():
        task.exception()


def _wanted(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a service is looked at."""

    def wanted(name: str) -> bool:
        return name != "consul" and (not patterns or any(fnmatchcase(name, pattern) for pattern in patterns))

    return wanted
