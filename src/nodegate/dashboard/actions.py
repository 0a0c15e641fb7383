"""What an operator can do in the dashboard: the admin API's own functions, with a way back.

Each asks for the session anew: one that has ended, or is a viewer's, changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from nodegate.api import intents
from nodegate.api.context import Registrations
from nodegate.dashboard.source import Source
from nodegate.dataplane.tables import counted_as
from nodegate.errors import NotFound, Refused
from nodegate.model import Intent, Node
from nodegate.registry.records import document_of
from nodegate.telemetry import Event, record

log = logging.getLogger("nodegate.dashboard")

SEEN_WITHIN = 2.0
"""Seconds to wait until the daemon has seen a change, so that the page shows it at once."""

_SAID = {
    Intent.SERVE: "{} is to serve",
    Intent.DRAIN: "{} drains: no new requests, those under way finish",
    Intent.REMOVE: "{} drains and is then forgotten",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done, in a sentence, and how to take it back; None: there is nothing to take back."""

    text: str
    undo: Callable[[], Awaitable[Done]] | None = None


async def change_node(source: Source, session: str, node_id: str, changes: Mapping[str, object]) -> Done:
    """Change intent or weight of a node.

    Raises Refused without an operator's session, and as `intents.change`. The undo raises Conflict when
    somebody changed the node in between.
    """
    require_operator(source, session)
    before = await _node(source, node_id)
    after = await intents.change(source.context, node_id, changes, None)
    await _seen(source, after)
    if after == before:
        return Done(text=f"{node_id} is as you want it already")
    former = {name: _plain(getattr(before, name)) for name in changes}

    async def undo() -> Done:
        return await _back(source, session, after, before, former)

    return Done(text=_words(node_id, changes), undo=undo)


async def ban(source: Source, session: str, client: str, seconds: float) -> Done:
    """Ban a client. Raises Refused without an operator's session or a policy, Malformed, Unavailable."""
    require_operator(source, session)
    found = await source.context.firewall.ban(counted_as(client), seconds)
    record(
        log, logging.INFO, Event.INTENT, f"{found.client} is banned for {seconds:g} s", client=found.client
    )

    async def undo() -> Done:
        return await unban(source, session, found.client)

    return Done(text=f"{found.client} is banned for {seconds:g} s", undo=undo)


async def unban(source: Source, session: str, client: str) -> Done:
    """Lift a ban. Raises Refused without an operator's session, NotFound, Unavailable."""
    require_operator(source, session)
    if not await source.context.firewall.unban(client):
        raise NotFound(f"{client} is not banned any more")
    record(log, logging.INFO, Event.INTENT, f"{client} is not banned any more", client=client)
    return Done(text=f"{client} may come in again")


async def approve(source: Source, session: str, registration: str) -> Done:
    """Let a registered node join. Raises Refused without an operator's session, NotFound, Conflict, Unavailable."""
    require_operator(source, session)
    row = await _registrations(source).approve(registration)
    return Done(text=f"the node {row.url} is approved")


async def reject(source: Source, session: str, registration: str, reason: str) -> Done:
    """End a registration; its owner gets a mail. Raises as `approve`."""
    require_operator(source, session)
    row = await _registrations(source).reject(registration, reason)
    return Done(text=f"the registration of {row.url} has ended")


def require_operator(source: Source, session: str) -> None:
    """Raises Refused when the session has ended or may only look."""
    known = source.sessions.get(session, source.now())
    if known is None:
        raise Refused("your session has ended; log in again")
    if not known.role.may_write:
        raise Refused("you are logged in to look only")
    source.sessions.touch(session, source.now())


async def _back(
    source: Source, session: str, after: Node, before: Node, former: Mapping[str, object]
) -> Done:
    require_operator(source, session)
    try:
        stored = await intents.change(source.context, after.id, former, after.version)
    except NotFound:
        # It was removed and is forgotten already: declare it anew as it was.
        stored = await intents.declare(source.context, document_of(before))
    await _seen(source, stored)
    return Done(text=f"{after.id} is as it was before")


async def _node(source: Source, node_id: str) -> Node:
    inventory = await source.context.registry.read()
    found = next((node for node in inventory.nodes if node.id == node_id), None)
    if found is None:
        raise NotFound(f"there is no node {node_id!r} any more")
    return found


async def _seen(source: Source, node: Node) -> None:
    await intents.seen(source.context, lambda inventory: inventory.index >= node.version, within=SEEN_WITHIN)


def _registrations(source: Source) -> Registrations:
    if source.context.registrations is None:
        raise Refused("the registration page is off")
    return source.context.registrations


def _plain(value: object) -> object:
    return value.value if isinstance(value, Intent) else value


def _words(node_id: str, changes: Mapping[str, object]) -> str:
    said = []
    if "intent" in changes:
        said.append(_SAID[Intent(str(changes["intent"]))].format(node_id))
    if "weight" in changes:
        said.append(f"the weight of {node_id} is {changes['weight']}")
    return "; ".join(said)
