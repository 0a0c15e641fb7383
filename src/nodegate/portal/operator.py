"""What operators do with registrations; `nodegate.api.context.Registrations` is its contract."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

from nodegate.errors import BadDocument, Conflict, Fault, NotFound
from nodegate.model import Instant
from nodegate.portal import news, rows
from nodegate.portal.desk import Desk, mail_to
from nodegate.portal.nodes import Nodes
from nodegate.portal.records import OPEN, Ban, Letter, Outbox, Registration, State
from nodegate.portal.store import Store
from nodegate.ports import Clock
from nodegate.settings.mail import checked_mailbox
from nodegate.telemetry.kinds import Event
from nodegate.views import iso
from nodegate.views.registrations import (
    MailsView,
    RegistrationBanRow,
    RegistrationBansDocument,
    RegistrationRow,
    RegistrationsDocument,
    RegistrationsEnded,
)

log = logging.getLogger("nodegate.portal")

_GOING = (*OPEN, State.UNCONFIRMED)


class Operator:
    """The operator's side of the portal. All methods may raise Unavailable."""

    def __init__(
        self, *, desk: Desk, store: Store, nodes: Nodes, clock: Clock, post: Callable[[], None],
        tell: Callable[[Event], None],
    ) -> None:  # fmt: skip
        """`post` wakes the outbox, `tell` takes events."""
        self._desk = desk
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._post = post
        self._tell = tell

    async def listed(self, state: str | None = None) -> RegistrationsDocument:
        """All registrations, or those in one state. Raises BadDocument for a word that is none."""
        states = tuple(State) if state is None else (_state(state),)
        found, mails = await self._store.transact(lambda db: (rows.listed(db, states), rows.outbox(db)))
        return RegistrationsDocument(
            registrations=tuple(map(_row, found)), mails=_mails(mails, self._clock.now())
        )

    async def approve(self, registration_id: str) -> RegistrationRow:
        """Let a waiting node join. Raises NotFound, Conflict when it does not wait."""

        def work(db: sqlite3.Connection) -> tuple[Registration, bool]:
            current = rows.get(db, registration_id)
            if current.state not in {State.WAITING, State.APPROVED}:
                raise Conflict(f"registration {current.id} does not wait for approval, it is {current.state}")
            approved = replace(current, state=State.APPROVED)
            rows.save(db, approved)
            return approved, approved != current

        approved, fresh = await self._store.transact(work)
        if fresh:
            self._tell(news.changed(approved, self._clock.now()))
        return _row(await self._desk.admit(approved))

    async def reject(self, registration_id: str, reason: str) -> RegistrationRow:
        """Do not take a node, or take an active one out; its owner gets a mail with the reason. Raises
        NotFound, Conflict when it has ended."""
        current = await self._store.transact(lambda db: rows.get(db, registration_id))
        if current.state not in _GOING or (ended := await self._end(current, State.REJECTED, reason)) is None:
            raise Conflict(f"registration {current.id} has ended already, it is {current.state}")
        return _row(ended)

    async def bans(self) -> RegistrationBansDocument:
        """Who may not register."""
        found = await self._store.transact(rows.bans)
        return RegistrationBansDocument(bans=tuple(map(_ban_row, found)))

    async def ban(self, subject: str, reason: str) -> RegistrationsEnded:
        """Ban an e-mail address, a mail domain (`@example.org`), an IP address or a network: what is
        registered there ends, its owners get a mail. Raises BadDocument for anything else."""
        ban = Ban(subject=checked_subject(subject), reason=reason, at=self._clock.now())
        meant = await self._store.transact(lambda db: _banned_by(db, ban))
        ended = [await self._end(registration, State.BANNED, reason) for registration in meant]
        names = tuple(one.id for one in ended if one is not None)
        log.info("%s may not register any more; %d registrations ended", ban.subject, len(names))
        return RegistrationsEnded(ban=_ban_row(ban), ended=names)

    async def unban(self, subject: str) -> RegistrationBanRow:
        """Let somebody register again. Raises NotFound."""
        wanted = checked_subject(subject)

        def work(db: sqlite3.Connection) -> Ban:
            held = next((ban for ban in rows.bans(db) if ban.subject == wanted), None)
            if held is None:
                raise NotFound(f"{wanted} is not banned; `nodegate registrations bans` lists who is")
            rows.lift(db, wanted)
            return held

        return _ban_row(await self._store.transact(work))

    async def _end(self, registration: Registration, state: State, reason: str) -> Registration | None:
        """End it, as it stands in the store now; None when it has ended meanwhile."""
        await self._nodes.remove(registration.node_id)
        now = self._clock.now()

        def work(db: sqlite3.Connection) -> tuple[Registration, Registration | None]:
            current = rows.get(db, registration.id)
            if current.state not in _GOING:
                return current, None
            ended = replace(current, state=state, reason=reason, ended_at=now)
            rows.save(db, ended)
            if current.state is not State.UNCONFIRMED:
                rows.enqueue(db, mail_to(ended, Letter.REJECTED, now, reason))
            return current, ended

        current, ended = await self._store.transact(work)
        if ended is None:
            return None
        if ended.node_id != registration.node_id:  # it joined in the meantime
            await self._nodes.remove(ended.node_id)
        if current.state is not State.UNCONFIRMED:
            self._tell(news.changed(ended, now))
        log.info("registration %s of %s is %s: %s", ended.id, ended.url, state, reason or "no reason given")
        self._post()
        return ended


def checked_subject(text: str) -> str:
    """What can be banned, in the one spelling that counts. Raises BadDocument."""
    typed = text.strip()
    try:
        if typed.startswith("@"):
            return checked_mailbox(f"x{typed}")[1:]
        if "@" in typed:
            return checked_mailbox(typed).lower()
        return str(ip_network(typed, strict=False))
    except ValueError as error:
        message = (
            f"{text!r} is neither an e-mail address, nor @domain, nor an IP address or network ({error})"
        )
        raise BadDocument([Fault(file="request", line=None, key="subject", message=message)]) from error


def _banned_by(db: sqlite3.Connection, ban: Ban) -> tuple[Registration, ...]:
    rows.put_ban(db, ban)
    return tuple(one for one in rows.listed(db, (*OPEN, State.UNCONFIRMED)) if rows.hits(ban, one))


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError as error:
        message = f"{text!r} is no state; there are {', '.join(State)}"
        raise BadDocument([Fault(file="request", line=None, key="state", message=message)]) from error


def _row(registration: Registration) -> RegistrationRow:
    return RegistrationRow(
        id=registration.id,
        state=registration.state.value,
        email=registration.email,
        url=registration.url,
        address=registration.address,
        kind=registration.kind,
        pool=registration.pool,
        node=registration.node_id,
        reason=registration.reason,
        created_at=iso(registration.created_at),
        confirmed_at=iso(registration.confirmed_at),
        ended_at=iso(registration.ended_at),
        proven_seconds=round(registration.proven, 1),
        weight=registration.weight,
        paused=registration.paused,
    )


def _ban_row(ban: Ban) -> RegistrationBanRow:
    return RegistrationBanRow(subject=ban.subject, reason=ban.reason, at=iso(ban.at))


def _mails(outbox: Outbox, now: Instant) -> MailsView:
    return MailsView(
        waiting=outbox.waiting,
        oldest_seconds=None if outbox.oldest is None else round(max(0.0, now - outbox.oldest), 1),
        error=outbox.error,
        given_up=tuple(f"{mail.letter.value} to {mail.recipient}: {mail.error}" for mail in outbox.given_up),
    )
