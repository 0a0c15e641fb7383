"""The nodes of nodegate.toml, laid over any other registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from nodegate.errors import Conflict, Refused
from nodegate.model import Intent, Inventory, Node, Source
from nodegate.ports import Registry

_MAY_DIFFER = frozenset({"intent", "version", "source"})


class DeclaredRegistry:
    """`ports.Registry` that shows the `declared` nodes (source FILE) beside those of `inner`.

    A declared node is the file's to describe; only its intent can be changed by command. That is kept in
    `inner` as an overlay: a record with source FILE, of which nothing but the intent counts. An overlay
    whose node is no longer declared waits for the node's return and is not shown: a node that was drained
    does not serve again because a line of the file was commented out for an hour.
    """

    def __init__(self, inner: Registry, declared: Sequence[Node]) -> None:
        self._inner = inner
        self._declared = {node.id: replace(node, source=Source.FILE, version=0) for node in declared}

    async def read(self) -> Inventory:
        """All nodes now. Where the registry holds a node of its own under a declared id, the file's is in
        force and a fault says so."""
        return self.over(await self._inner.read())

    def over(self, inner: Inventory) -> Inventory:
        """The declared nodes laid over an inventory of the inner registry."""
        records = {node.id: node for node in inner.nodes}
        nodes = {node.id: node for node in inner.nodes if node.source is not Source.FILE}
        faults = list(inner.faults)
        for node_id, declared in self._declared.items():
            record = records.get(node_id)
            nodes[node_id] = declared
            if record is None:
                continue
            if record.source is not Source.FILE:
                faults.append(_shadowed(record, declared))
            elif record.intent is Intent.REMOVE:
                faults.append(f"overlay of node {node_id!r}: {CANNOT_GO}; it is drained instead")
                nodes[node_id] = replace(declared, intent=Intent.DRAIN, version=record.version)
            else:
                nodes[node_id] = replace(declared, intent=record.intent, version=record.version)
        ordered = tuple(nodes[node_id] for node_id in sorted(nodes))
        return replace(inner, nodes=ordered, faults=tuple(faults))

    async def changed(self, after: int) -> int:
        """As the inner registry's; the file's nodes change with a restart only."""
        return await self._inner.changed(after)

    async def put(self, node: Node) -> Node:
        """As the inner registry's. Raises Refused for any change of a declared node but to intent serve
        or drain, and for a declared node that the file has no more."""
        declared = self._declared.get(node.id)
        if declared is None:
            return await self._put_own(node)
        differing = [
            field.name
            for field in fields(Node)
            if field.name not in _MAY_DIFFER and getattr(node, field.name) != getattr(declared, field.name)
        ]
        if differing:
            raise Refused(
                f"node {node.id!r} is declared in nodegate.toml or by `up --node`: change {', '.join(differing)} there and restart; "
                "by command only its intent can be changed"
            )
        if node.intent is Intent.REMOVE:
            raise Refused(f"node {node.id!r} {CANNOT_GO}")
        try:
            return await self._inner.put(replace(node, source=Source.FILE))
        except Conflict:
            record = await self._record(node.id)
            if record is not None and record.source is not Source.FILE:
                raise Conflict(_shadowed(record, declared)) from None
            raise

    async def delete(self, node_id: str, version: int) -> None:
        """As the inner registry's. Raises Refused for a declared node."""
        if node_id in self._declared:
            raise Refused(f"node {node_id!r} {CANNOT_GO}")
        await self._inner.delete(node_id, version)

    async def _put_own(self, node: Node) -> Node:
        if node.source is Source.FILE:
            raise Refused(
                f"node {node.id!r} is not declared in nodegate.toml or by `up --node` any more: add it as a new node"
            )
        try:
            return await self._inner.put(node)
        except Conflict:
            left = await self._record(node.id)
            if node.version != 0 or left is None or left.source is not Source.FILE:
                raise
        # An overlay that is left of a declared node is not shown, so it must not be in the way either.
        return await self._inner.put(replace(node, version=left.version))

    async def _record(self, node_id: str) -> Node | None:
        inventory = await self._inner.read()
        return next((node for node in inventory.nodes if node.id == node_id), None)


CANNOT_GO = "is declared in nodegate.toml or by `up --node`: take it out there and restart, or drain it"


def _shadowed(record: Node, declared: Node) -> str:
    return (
        f"node {record.id!r} is declared in nodegate.toml as {declared.url} and in the registry as {record.url} "
        f"(intent {record.intent}); the file's is in force. Give that one another id, or take it out of the file"
    )
