"""Writing to the registry by compare-and-set, and waiting until the daemon has seen it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from nodegate.api.context import ApiContext
from nodegate.errors import BadDocument, Conflict, NotFound, Refused
from nodegate.model import Intent, Inventory, Node, Source
from nodegate.registry.declared import CANNOT_GO
from nodegate.registry.records import conflicts, new_node, revise
from nodegate.telemetry import Event, record

log = logging.getLogger("nodegate.api")

TRIES = 5
"""How often a lost race is run again. Each loss means that somebody else won, so that five in a row are
a storm of writers, which the caller should know about."""

GLANCE = 0.02
"""Seconds between two looks at the snapshot while waiting for a change to be seen."""


async def declare(context: ApiContext, fields: Mapping[str, object]) -> Node:
    """Store a new node. Raises BadDocument, Conflict for a taken id, Unavailable."""
    node = new_node(fields, context.adapters)
    inventory = await context.registry.read()
    taken = next((other for other in inventory.nodes if other.id == node.id), None)
    if taken is not None:
        words = "is being removed" if taken.intent is Intent.REMOVE else f"is taken by {taken.url}"
        raise Conflict(f"the id {node.id!r} {words}; give this node another `id`")
    _must_fit(node, inventory, context)
    stored = await context.registry.put(node)
    _announce(context, stored.id, {"url": stored.url, "kind": stored.kind, "pool": stored.pool})
    return stored


async def change(
    context: ApiContext, node_id: str, changes: Mapping[str, object], version: int | None
) -> Node:
    """Change some fields of a node, with `version` only if its record still has that.

    Raises NotFound, BadDocument, Refused for what nodegate.toml declares, Unavailable; Conflict when the
    version differs or other writers win all tries.
    """
    for _ in range(TRIES):
        node, inventory = await _current(context, node_id, version)
        revised = revise(node, changes, context.adapters)
        if revised == node:
            return node
        _must_not_remove_declared(revised)
        _must_fit(revised, inventory, context)
        try:
            stored = await context.registry.put(revised)
        except Conflict:
            if version is not None:
                raise
            continue
        _announce(context, node_id, changes)
        return stored
    raise _lost(node_id, inventory)


async def forget(context: ApiContext, node_id: str, version: int | None) -> None:
    """Delete a node's record at once. Raises as `change`."""
    for _ in range(TRIES):
        node, inventory = await _current(context, node_id, version)
        _must_not_remove_declared(replace(node, intent=Intent.REMOVE))
        try:
            await context.registry.delete(node_id, node.version)
        except Conflict:
            if version is not None:
                raise
            continue
        _announce(context, node_id, {"forgotten": True})
        return
    raise _lost(node_id, inventory)


async def seen(context: ApiContext, condition: Callable[[Inventory], bool], *, within: float) -> bool:
    """Wait until the daemon's inventory meets `condition`; False when that takes over `within` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        inventory = context.snapshot().inventory
        if inventory is not None and condition(inventory):
            return True
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(GLANCE)


def _lost(node_id: str, inventory: Inventory) -> Conflict:
    """Why no compare-and-set was won."""
    for fault in inventory.faults:
        if fault.startswith(f"record of node {node_id!r} "):
            return Conflict(f"{node_id!r} cannot be changed while its record cannot be read: {fault}")
    return Conflict(f"others kept changing {node_id!r} at the same time; look at it and try again")


async def _current(context: ApiContext, node_id: str, version: int | None) -> tuple[Node, Inventory]:
    inventory = await context.registry.read()
    node = next((node for node in inventory.nodes if node.id == node_id), None)
    if node is None:
        raise NotFound(f"there is no node {node_id!r}")
    if version is not None and node.version != version:
        raise Conflict(f"{node_id!r} has version {node.version} now, not {version}: somebody changed it")
    return node, inventory


def _must_not_remove_declared(node: Node) -> None:
    if node.source is Source.FILE and node.intent is Intent.REMOVE:
        raise Refused(f"{node.id!r} {CANNOT_GO}")


def _must_fit(node: Node, inventory: Inventory, context: ApiContext) -> None:
    fault = conflicts(node, inventory, context.settings)
    if fault is not None:
        raise BadDocument([fault])


def _announce(context: ApiContext, node_id: str, changes: Mapping[str, object]) -> None:
    context.wake()
    record(
        log,
        logging.INFO,
        Event.INTENT,
        f"{node_id} was changed by command",
        node=node_id,
        changes=dict(changes),
    )
