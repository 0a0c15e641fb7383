"""The cluster's registry: records in Consul's key-value store, beside the services that others registered."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from nodegate.consul.budget import Budget
from nodegate.consul.catalog import Catalog
from nodegate.consul.client import ConsulClient, gathered
from nodegate.consul.kv import Entry, KeyValues, Listing
from nodegate.consul.watch import CatalogWatch
from nodegate.errors import Conflict, Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.model import Intent, Inventory, Node, Seconds, Source
from nodegate.ports import Clock
from nodegate.registry.consulnodes import (
    MARKER,
    NODES,
    Meant,
    Stored,
    assemble,
    places_of,
    read_records,
    read_stored,
    write_stored,
)
from nodegate.registry.remembered import Memory, confirm_memory, read_memory, write_memory
from nodegate.settings import FabioSettings, RegistrySettings

CONFIRM_EVERY = 10.0
"""Seconds between two notes that the kept inventory is still true; each is one call to the file system."""
KEEPING = 0.05
"""Share of the time that writing it may take: 5,000 services are 2 MB, at each change of one check."""
FRESH = 0.1
"""Seconds for which what `changed` has just read is the answer of the next `read`: it saves every second request,
and what comes later wakes `changed` again."""


class ConsulRegistry:
    """`ports.Registry` on the Consul behind `client`. Errors are those of the port.

    The last inventory is kept in the file `memory` (None: nowhere), see `remembered`. `agent` names the Consul node
    whose agent gets the services of new nodes (`registry.publishing`). `written` is told when a record has
    changed through this object, `remarks` are further faults to show. `current` is True once Consul was read.
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
        self.written: Callable[[], None] = lambda: None
        self.remarks: Callable[[], tuple[str, ...]] = lambda: ()
        self.current = False
        self._clock = clock
        self._fabio = fabio
        self._keys = KeyValues(client)
        self._watch = CatalogWatch(
            client, clock, _wanted(settings.services),
            share=settings.max_vanish, hold=Seconds(settings.vanish_hold),
        )  # fmt: skip
        self._file = memory
        self._budget = Budget()
        self._entries: Mapping[str, Entry] = {}
        self._understood: Mapping[str, tuple[Entry, Stored]] = {}
        self._kv_index = 0
        self._meant: Meant = {}
        self._store = ""
        self._last: Inventory | None = None
        self._fresh_until = 0.0
        self._confirmed = 0.0
        self._kept: Inventory | None = None
        self._unkept = False
        self._keep_after = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[Listing] | None = None

    def __repr__(self) -> str:
        return f"<ConsulRegistry {self.client.current}>"

    @property
    def stored(self) -> Mapping[str, Stored]:
        """The records as last read, by node id."""
        return {one.node.id: one for _, one in self._understood.values()}

    def places(self) -> Mapping[str, str]:
        """The services of the agent named `agent` that others registered and that are nodes: service id by node id."""
        if self._last is None or self._watch.catalog is None:
            return {}
        return places_of(self._last.nodes, self._watch.catalog.instances, self.agent)

    def remembered(self) -> Inventory | None:
        """The inventory as it was when nodegate last read it, in this run or an earlier one; None when there is
        none. Its `read_at` says how old it is."""
        if self._last is not None or self._file is None:
            return self._last
        memory = read_memory(self._file)
        if memory is None:
            return None
        self._store, self._entries = memory.store, memory.entries
        catalog = Catalog(instances=memory.instances, index=memory.index, read_at=memory.read_at)
        self._watch.remember(catalog)
        self._last = self._assembled(catalog)
        self._last = replace(self._last, index=memory.index, read_at=memory.read_at)
        self._kept = self._last
        return self._last

    async def read(self) -> Inventory:
        """All nodes now. Where the cluster has no leader, as any of its servers knows them."""
        loop = asyncio.get_running_loop()
        if self._last is not None and loop.time() < self._fresh_until:
            self._fresh_until = 0.0
            return self._last
        if self._last is None:
            self.remembered()
        listing, catalog = await gathered(self._keys.below(NODES, stale=True), self._watch.read())
        return await self._take(await self._believed(listing), catalog)

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
        known = self._understood.get(NODES + node.id)
        agent = known[1].agent if known is not None and node.version else await self._own_agent()
        try:
            # Consul takes a write of what is there already for none. The flags differ from write to write, so that
            # every one has a version of its own.
            version = await self._keys.put(
                NODES + node.id, write_stored(node, agent), version=node.version, flags=max(0, node.version)
            )
        except Conflict:
            raise Conflict(await self._why(node.id, node.version)) from None
        self.written()
        return replace(node, version=version)

    async def delete(self, node_id: str, version: int) -> None:
        """Delete by compare-and-set on `version`. Raises Refused for a service that others registered."""
        self._fresh_until = 0.0
        found = await self._keys.get(NODES + node_id)
        known = {node.id: node for node in self._last.nodes} if self._last is not None else {}
        stored = _stored(found) if found is not None else None
        if (stored is None and node_id in known and known[node_id].source is Source.SERVICE) or (
            stored is not None and stored.node.source is Source.SERVICE
        ):
            raise Refused(_FOREIGN.format(node_id))
        if found is None:
            raise NotFound(f"there is no node {node_id!r} in the registry")
        try:
            await self._keys.delete(NODES + node_id, version=version)
        except Conflict:
            raise Conflict(await self._why(node_id, version)) from None
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
        await self._keys.put(
            NODES + node.id, write_stored(node, self.agent), version=node.version, flags=node.version
        )

    async def close(self) -> None:
        """End the requests under way and close the client; later calls raise Unavailable."""
        for task in (self._pump, self._waiting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        if self._unkept and self._watch.catalog is not None and not self.client.closed:
            self._keep_after = 0.0
            await self._keep(self._watch.catalog, same=False)
        await self._watch.close()
        await self.client.close()

    async def _wait_for_news(self) -> None:
        """Wait until keys or services change, and take it into account."""
        await asyncio.sleep(self._budget.rest(self._clock.now()))
        if self._waiting is None:
            asked = self._keys.below(NODES, index=max(1, self._kv_index), stale=True)
            self._waiting = asyncio.create_task(asked, name="Consul's keys")
        keys, services = self._waiting, asyncio.create_task(self._watch.changed(), name="Consul's services")
        try:
            await asyncio.wait((keys, services), return_when=asyncio.FIRST_COMPLETED)
            began = self._clock.now()
            if (
                keys.done()
            ):  # else it goes on: Consul would not notice for a minute that nobody waits any more
                self._waiting = None
            listing = await self._believed(keys.result()) if keys.done() else None
            catalog = services.result() if services.done() else self._watch.catalog
        finally:
            services.cancel()
            await asyncio.gather(services, return_exceptions=True)
        if catalog is not None:
            await self._take(listing, catalog)
        now = self._clock.now()
        self._budget.spend(Seconds(now - began), now)

    async def _believed(self, listing: Listing) -> Listing:
        """`listing`, once it is certain that Consul has not hidden anything.

        A token that may not read gets an empty listing without an error. The marker key tells: it is made at the
        first use, and from then on a listing without it is not the truth.
        """
        marker = listing.entries.get(MARKER)
        if marker is None and not listing.fresh:
            raise Unavailable("Consul has no leader, and the server that answers has no nodes of ours")
        if marker is None:
            try:
                await self._keys.put(MARKER, json.dumps({"store": uuid.uuid4().hex}).encode(), version=0)
            except Conflict:
                again = await self._keys.below(NODES)
                if MARKER not in again.entries:
                    raise Refused(
                        f'Consul hides the keys below {NODES} from this token; it needs key_prefix "nodegate/" {{ policy = "write" }}'
                    ) from None
                return await self._believed(again)
            return await self._believed(await self._keys.below(NODES))
        store = str(_json(marker).get("store"))
        had = [one for one in self._understood.values() if one[1].node.source is Source.REGISTRY]
        if self._store and store != self._store and had:
            raise Refused(
                f"this Consul has not the data it had: its {len(had)} nodes stay in force. Restore Consul's snapshot; "
                f"or, to begin anew with what it has now, remove {self._file or 'the kept inventory'} and start nodegate again"
            )
        self._store = store
        return listing

    async def _take(self, listing: Listing | None, catalog: Catalog) -> Inventory:
        """The inventory of what was read; its index grows when, and only when, something in it changed."""
        if listing is not None and not (listing.index < self._kv_index and not listing.fresh):
            self._entries, self._kv_index = listing.entries, listing.index
        last = self._last
        new = replace(self._assembled(catalog), read_at=self._clock.now())
        same = last is not None and (last.nodes, last.routes, last.faults) == (
            new.nodes,
            new.routes,
            new.faults,
        )
        if last is not None:
            newest = max(self._kv_index, catalog.index)
            new = replace(
                new, index=last.index if same else newest if newest > last.index else last.index + 1
            )
        else:
            new = replace(new, index=max(1, self._kv_index, catalog.index))
        self._last, self.current = new, True
        await self._keep(catalog, same=same)
        return new

    def _assembled(self, catalog: Catalog) -> Inventory:
        records = read_records(self._entries, self._understood)
        self._understood = {
            key: (entry, records.stored[key.removeprefix(NODES)])
            for key, entry in self._entries.items()
            if key.removeprefix(NODES) in records.stored
        }
        found = assemble(records, catalog.instances, self._fabio, self._meant)
        return Inventory(
            nodes=found.nodes, index=1, read_at=catalog.read_at, routes=found.routes,
            faults=(*found.faults, *self._watch.notes, *self.remarks()),
        )  # fmt: skip

    async def _keep(self, catalog: Catalog, *, same: bool) -> None:
        """Write what was read to the file when it is another, as often as that costs little."""
        if self._file is None or self._last is None:
            return
        self._unkept = self._unkept or not same or self._kept is None
        now = self._clock.now()
        if not self._unkept:
            if now - self._confirmed >= CONFIRM_EVERY:
                self._confirmed = now
                await asyncio.to_thread(confirm_memory, self._file, now)
            return
        if now < self._keep_after:
            return
        memory = Memory(
            store=self._store,
            index=self._last.index,
            read_at=now,
            entries=self._entries,
            instances=catalog.instances,
        )
        self._kept, self._confirmed, self._unkept = self._last, now, False
        await asyncio.to_thread(write_memory, self._file, memory)
        self._keep_after = now + (self._clock.now() - now) / KEEPING

    async def _own_agent(self) -> str:
        """The agent for a new node, "" while it cannot be asked: then the next gateway that can adopts the node."""
        try:
            return await self.learn_agent()
        except NodegateError:
            return ""

    def _must_be_intent(self, node: Node) -> None:
        known = next((one for one in self._last.nodes if one.id == node.id), None) if self._last else None
        if known is None:
            raise Conflict(f"node {node.id!r} is not in Consul any more")
        if node.intent is Intent.REMOVE:
            raise Refused(_FOREIGN.format(node.id))
        if replace(node, intent=known.intent, version=known.version, failing=known.failing) != known:
            raise Refused(
                f"node {node.id!r} is described by its service in Consul: change it there; by command only its intent can be changed"
            )

    async def _why(self, node_id: str, version: int) -> str:
        """Why a compare-and-set on `version` was lost, in words."""
        found = await self._keys.get(NODES + node_id)
        if found is None:
            return f"node {node_id!r} was deleted meanwhile (it had version {version})"
        if version == 0:
            return f"there is a node {node_id!r} already (version {found.version})"
        return (
            f"node {node_id!r} was changed meanwhile (version {found.version}, not {version}); read it again"
        )


_FOREIGN = "node {0!r} is a service that others registered in Consul: deregister it there, or drain it"


def _heard(task: asyncio.Task[None]) -> None:
    """A failure that nobody waits for now comes again with the next read."""
    if not task.cancelled():
        task.exception()


def _stored(entry: Entry) -> Stored | None:
    try:
        return read_stored(entry)
    except Malformed:
        return None


def _json(entry: Entry) -> dict[str, object]:
    try:
        found = json.loads(entry.value)
    except ValueError as error:
        raise Malformed(f"key {entry.key} of Consul is no JSON; delete it") from error
    if not isinstance(found, dict):
        raise Malformed(f"key {entry.key} of Consul is no JSON object; delete it")
    return found


def _wanted(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a service is looked at."""

    def wanted(name: str) -> bool:
        return name != "consul" and (not patterns or any(fnmatchcase(name, pattern) for pattern in patterns))

    return wanted
