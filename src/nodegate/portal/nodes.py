"""The portal's nodes in the registry: every write by compare-and-set, as commands of an operator are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nodegate.errors import BadDocument, Conflict, NotFound
from nodegate.model import Intent, Inventory, Node
from nodegate.portal.places import host_and_port
from nodegate.portal.records import Registration
from nodegate.ports import Adapter, Registry
from nodegate.registry.records import conflicts, new_node
from nodegate.settings import Settings, default_id

TRIES = 5
"""How often a lost race is run again."""


class Nodes:
    """Writes to the registry. All methods raise Unavailable when it cannot be reached, Conflict when other
    writers win all tries. `wake` asks the daemon for a pass."""

    def __init__(
        self,
        registry: Registry,
        adapters: Mapping[str, Adapter],
        settings: Settings,
        wake: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._adapters = adapters
        self._settings = settings
        self._wake = wake

    async def join(self, registration: Registration, weight: int) -> Node:
        """Declare the registration's node, and find it again if that was done already. Raises BadDocument
        when it does not fit its pool."""
        for _ in range(TRIES):
            inventory = await self._registry.read()
            names = {node.id: node for node in inventory.nodes}
            for name in _ids(registration):
                held = names.get(name)
                if held is None:
                    node = self._new(registration, name, weight, inventory)
                    try:
                        stored = await self._registry.put(node)
                    except Conflict:
                        break  # somebody took the id just now: look again
                    self._wake()
                    return stored
                if (held.url, held.address) == (registration.url, registration.address):
                    if held.intent is Intent.REMOVE:
                        raise Conflict(f"the former node {held.id!r} is still being removed")
                    return held
        raise Conflict("others kept changing the registry at the same time")

    async def change(self, node_id: str, revise: Callable[[Node], Node]) -> Node:
        """Lay a change over the node's record. Raises NotFound when there is none."""
        for _ in range(TRIES):
            inventory = await self._registry.read()
            node = next((node for node in inventory.nodes if node.id == node_id), None)
            if node is None:
                raise NotFound(f"there is no node {node_id!r}")
            revised = revise(node)
            if revised == node:
                return node
            try:
                stored = await self._registry.put(revised)
            except Conflict:
                continue
            self._wake()
            return stored
        raise Conflict(f"others kept changing {node_id!r} at the same time; try again")

    async def remove(self, node_id: str | None) -> None:
        """Drain, then forget; nothing when it is gone already."""
        if node_id is None:
            return
        try:
            await self.change(node_id, lambda node: replace(node, intent=Intent.REMOVE))
        except NotFound:
            return

    async def stranger_at(self, registration: Registration) -> Node | None:
        """A node of the registry at the registration's host and port that the portal did not put there."""
        place = host_and_port(registration.url)
        pinned = (registration.address, place[1])
        return next(
            (
                node
                for node in (await self._registry.read()).nodes
                if node.address is None and host_and_port(node.url) in (place, pinned)
            ),
            None,
        )

    def _new(self, registration: Registration, name: str, weight: int, inventory: Inventory) -> Node:
        fields = {
            "id": name,
            "url": registration.url,
            "kind": registration.kind,
            "pool": registration.pool,
            "weight": weight,
            "address": registration.address,
        }
        node = new_node(fields, self._adapters, file="registration")
        if (fault := conflicts(node, inventory, self._settings, file="registration")) is not None:
            raise BadDocument([fault])
        return node


def _ids(registration: Registration) -> tuple[str, str]:
    """The node's id, and the one it has when that is taken."""
    name = default_id(registration.url)
    return name, f"{name[:54]}-{registration.id[:8]}"
