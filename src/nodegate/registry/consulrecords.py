"""Nodes' records in Consul's key-value store: read with care, written by compare-and-set."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace

from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import Entry, KeyValues, Listing
from nodegate.errors import Conflict, Malformed, NotFound, Refused, Unavailable
from nodegate.model import Node, Source
from nodegate.registry.consulnodes import (
    MARKER,
    NODES,
    Records,
    Stored,
    read_records,
    read_stored,
    write_stored,
)

FOREIGN = "node {0!r} is a service that others registered in Consul: deregister it there, or drain it"


class RecordKeys:
    """The keys of all nodes, and what was read of them last. `kept` names what is to be removed so that another
    Consul is accepted. Errors are those of `ConsulClient`, and those that are named."""

    def __init__(self, client: ConsulClient, kept: str) -> None:
        self._keys = KeyValues(client)
        self._kept = kept
        self._understood: Mapping[str, tuple[Entry, Stored]] = {}
        self._read: tuple[Mapping[str, Entry], Records] = ({}, Records())
        self.entries: Mapping[str, Entry] = {}
        self.index = 0
        self.store = ""

    @property
    def stored(self) -> Mapping[str, Stored]:
        """The records as last read, by node id."""
        return {one.node.id: one for _, one in self._understood.values()}

    def recall(self, store: str, entries: Mapping[str, Entry]) -> None:
        """Start from what an earlier run knew."""
        self.store, self.entries = store, entries

    def records(self) -> Records:
        """What was taken last, understood; the same object until something is taken."""
        if self._read[0] is self.entries:
            return self._read[1]
        records = read_records(self.entries, self._understood)
        self._understood = {
            key: (entry, records.stored[key.removeprefix(NODES)])
            for key, entry in self.entries.items()
            if key.removeprefix(NODES) in records.stored
        }
        self._read = (self.entries, records)
        return records

    async def listing(self, *, wait: bool = False) -> Listing:
        """All keys now or, with `wait`, as soon as one has changed since `take`. Not to be believed yet."""
        return await self._keys.below(NODES, index=max(1, self.index) if wait else None, stale=True)

    def take(self, listing: Listing) -> None:
        """What a believed listing says counts from now on; a server that lags behind says nothing new."""
        if listing.fresh or listing.index >= self.index:
            self.entries, self.index = listing.entries, listing.index

    async def believed(self, listing: Listing) -> Listing:
        """`listing`, once it is certain that Consul has not hidden anything.

        A token that may not read gets an empty listing without an error. The marker key tells: it is made at the
        first use, and from then on a listing without it is not the truth.
        """
        marker = listing.entries.get(MARKER)
        if marker is None and not listing.fresh:
            raise Unavailable(
                "Consul has no leader, or one that is still starting; the server that answers has no nodes of ours"
            )
        if marker is None:
            try:
                await self._keys.put(MARKER, json.dumps({"store": uuid.uuid4().hex}).encode(), version=0)
            except Conflict:
                again = await self._keys.below(NODES)
                if MARKER not in again.entries:
                    raise Refused(
                        f'Consul hides the keys below {NODES} from this token; it needs key_prefix "nodegate/" {{ policy = "write" }}'
                    ) from None
                return await self.believed(again)
            return await self.believed(await self._keys.below(NODES))
        store = _store_in(marker, self.store)
        had = [one for one in self._understood.values() if one[1].node.source is Source.REGISTRY]
        if self.store and store != self.store and had:
            raise Refused(
                f"this Consul has not the data it had: its {len(had)} nodes stay in force. Restore Consul's snapshot; "
                f"or, to begin anew with what it has now, remove {self._kept} and start nodegate again"
            )
        self.store = store
        return listing

    def agent_of(self, node_id: str) -> str | None:
        """The agent that has the service of a record, None for a record that is not known."""
        known = self._understood.get(NODES + node_id)
        return None if known is None else known[1].agent

    async def put(self, node: Node, agent: str) -> Node:
        """Write the record by compare-and-set on `node.version`; the node with its new version. Raises Conflict, in
        words, when it has another one."""
        try:
            # Consul takes a write of what is there already for none. The flags differ from write to write, so that
            # every one has a version of its own.
            version = await self._keys.put(
                NODES + node.id, write_stored(node, agent), version=node.version, flags=max(0, node.version)
            )
        except Conflict:
            raise Conflict(await self._why(node.id, node.version)) from None
        return replace(node, version=version)

    async def delete(self, node_id: str, version: int) -> None:
        """Delete the record by compare-and-set on `version`. Raises NotFound, Conflict, and Refused for that of a
        service that others registered."""
        found = await self._keys.get(NODES + node_id)
        if found is None:
            raise NotFound(f"there is no node {node_id!r} in the registry")
        if _is_foreign(found):
            raise Refused(FOREIGN.format(node_id))
        try:
            await self._keys.delete(NODES + node_id, version=version)
        except Conflict:
            raise Conflict(await self._why(node_id, version)) from None

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


def _is_foreign(entry: Entry) -> bool:
    try:
        return read_stored(entry).node.source is Source.SERVICE
    except Malformed:
        return False


def _store_in(marker: Entry, known: str) -> str:
    """The name of Consul's data, by which they are told from another Consul's. `known` is what it was before."""
    try:
        found = json.loads(marker.value)
    except ValueError:
        found = None
    if isinstance(found, dict) and found.get("store"):
        return str(found["store"])
    right = json.dumps({"store": known})
    advice = f"put back what it was: consul kv put {marker.key} '{right}'" if known else "delete it"
    raise Malformed(f"key {marker.key} of Consul is not what nodegate wrote there; {advice}")
