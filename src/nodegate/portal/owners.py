"""What owners can do with their nodes, once a link has opened their page."""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodegate.errors import NotFound, Refused
from nodegate.model import Intent, Node, Seconds
from nodegate.portal import news, rows
from nodegate.portal.answers import LinkOver
from nodegate.portal.desk import Desk, mail_to
from nodegate.portal.nodes import Nodes
from nodegate.portal.records import OPEN, Letter, Registration, State
from nodegate.portal.store import Store
from nodegate.portal.tokens import Purpose, Signer
from nodegate.ports import Clock
from nodegate.settings.portal import PortalSettings
from nodegate.telemetry.kinds import Event

log = logging.getLogger("nodegate.portal")


class Owners:
    """Sessions of owners, and what they do in them. All methods may raise Unavailable."""

    def __init__(
        self, *, settings: PortalSettings, desk: Desk, store: Store, nodes: Nodes, signer: Signer, clock: Clock,
        post: Callable[[], None], tell: Callable[[Event], None],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._desk = desk
        self._store = store
        self._nodes = nodes
        self._signer = signer
        self._clock = clock
        self._post = post
        self._tell = tell

    async def open(self, text: str) -> str:
        """Use an owner's link; returns the session's text. Raises as `look`."""
        token, registration = await self._desk.look(Purpose.OWNER, text)
        if not await self._store.transact(lambda db: rows.use(db, token.nonce, token.expires)):
            raise LinkOver("This link has been used; each link works once.", token)
        return self.session(registration)

    def session(self, registration: Registration) -> str:
        """The text that keeps the owner's page open in a browser."""
        life = Seconds(self._settings.session_life)
        return self._signer.sign(
            Purpose.SESSION, registration.id, secrets.token_hex(8), now=self._clock.now(), life=life
        )

    async def owned(self, session: str) -> tuple[Registration, ...]:
        """All registrations of the session's owner, the newest first. Raises Refused when it is over."""
        token = self._signer.read(Purpose.SESSION, session)
        if token.expired(self._clock.now()):
            raise Refused("You have been signed out, because it was a while ago that you used your link.")
        if await self._store.transact(lambda db: rows.is_used(db, token.nonce)):
            raise Refused("You have signed out.")

        def work(db: sqlite3.Connection) -> tuple[Registration, ...]:
            try:
                return rows.of_owner(db, rows.get(db, token.subject).mailbox)
            except NotFound as error:
                raise Refused("Your registration is no longer kept.") from error

        return await self._store.transact(work)

    async def close(self, session: str) -> None:
        """Sign out: the session is good for nobody any more."""
        token = self._signer.read(Purpose.SESSION, session)
        await self._store.transact(lambda db: rows.use(db, token.nonce, token.expires))

    async def act(self, session: str, registration_id: str, deed: str) -> None:
        """`pause`, `resume` or `leave`. Raises Refused for a node that is not the session's, NotFound."""
        mine = next((one for one in await self.owned(session) if one.id == registration_id), None)
        if mine is None or mine.state not in OPEN:
            raise NotFound("You have no such node, or it has left already.")
        now = self._clock.now()
        changes: dict[str, Any]
        if deed == "leave":
            await self._nodes.remove(mine.node_id)
            changes = {"state": State.LEFT, "ended_at": now, "reason": "its owner took it out"}
        elif mine.node_id is None or deed not in {"pause", "resume"}:
            raise NotFound("That cannot be done with this node now.")
        else:
            await self._pause(mine.node_id, mine, pause=deed == "pause")
            changes = {"paused": deed == "pause", "out_since": None, "told_at": None}

        def work(db: sqlite3.Connection) -> Registration | None:
            current = rows.get(db, mine.id)
            if current.state not in OPEN:
                return None  # an operator, or a second click, was quicker
            after = replace(current, **changes)
            rows.save(db, after)
            if after.state is State.LEFT:
                rows.enqueue(db, mail_to(after, Letter.REMOVED, now, "You took it out yourself."))
            return after

        after = await self._store.transact(work)
        if after is None:
            raise NotFound("You have no such node, or it has left already.")
        if after.state is State.LEFT:
            if after.node_id != mine.node_id:  # it joined in the meantime
                await self._nodes.remove(after.node_id)
            self._tell(news.changed(after, now))
        log.info("the owner of %s chose to %s", mine.node_id or mine.url, deed)
        self._post()

    async def _pause(self, node_id: str, mine: Registration, *, pause: bool) -> None:
        """The owner's wish as the node's intent. What an operator drained, no owner brings back."""

        def revise(node: Node) -> Node:
            if pause:
                return replace(node, intent=Intent.DRAIN) if node.intent is Intent.SERVE else node
            if node.intent is Intent.DRAIN and not mine.paused:
                raise Refused("The operator of this fleet has paused your node.")
            return replace(node, intent=Intent.SERVE) if node.intent is Intent.DRAIN else node

        await self._nodes.change(node_id, revise)
