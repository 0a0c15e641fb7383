"""What owners can do: register, confirm, ask for a link, look after their nodes."""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from nodegate.errors import NodegateError, NotFound, Refused
from nodegate.model import Instant, Seconds
from nodegate.portal import news, rows
from nodegate.portal.answers import Application, AskedTooOften, Limited, LinkOver, Sent, Wrong
from nodegate.portal.check import Examined, Examiner
from nodegate.portal.nodes import Nodes
from nodegate.portal.places import counted_as, url_of
from nodegate.portal.probation import probation_weight
from nodegate.portal.records import OPEN, Letter, Mail, Registration, State
from nodegate.portal.store import Store
from nodegate.portal.tokens import Purpose, Signer, Token
from nodegate.ports import Clock
from nodegate.settings import Settings
from nodegate.settings.mail import checked_mailbox
from nodegate.telemetry.kinds import Event

log = logging.getLogger("nodegate.portal")

HOUR = Seconds(3600.0)
DAY = Seconds(86_400.0)


class Desk:
    """The business of owners. All methods may raise Unavailable (store, registry)."""

    def __init__(
        self, *, settings: Settings, store: Store, nodes: Nodes, signer: Signer, examiner: Examiner,
        kinds: dict[str, str], clock: Clock, post: Callable[[], None], tell: Callable[[Event], None],
    ) -> None:  # fmt: skip
        """`kinds` are the pools that may be joined, by kind; `post` wakes the outbox, `tell` takes events."""
        self._settings = settings.portal
        self._upstream = {pool: settings.pool(pool).upstream_path for pool in kinds.values()}
        self._store = store
        self._nodes = nodes
        self._signer = signer
        self._examiner = examiner
        self.kinds = kinds
        self._clock = clock
        self._post = post
        self._tell = tell

    async def apply(self, form: Application) -> Sent | Wrong | Limited | Examined:
        """Check the form and the node, then write a mail. The answer is the same whether owner and address
        are known, new, or banned: all of that is said by mail only."""
        read = self._read(form)
        if isinstance(read, Wrong):
            return read
        email, url, pool = read
        now = self._clock.now()
        client = f"client {counted_as(form.client)}"
        if (wait := await self._count(client, now, self._settings.client_checks, HOUR)) is not None:
            return Limited(what="You have had many nodes checked", seconds=wait)
        try:
            examined = await self._examiner.examine(url, form.kind, pool, before=self._may_ask)
        except AskedTooOften as error:
            return Limited(what="This node was checked many times", seconds=error.seconds)
        if not examined.good or examined.address is None:
            return examined
        domain = email.lower().rpartition("@")[2]
        limit = self._settings.domain_registrations
        if (wait := await self._count(f"domain {domain}", now, limit, DAY)) is not None:
            return Limited(what="There were many registrations from this mail domain", seconds=wait)
        registration = Registration(
            id=secrets.token_hex(8), email=email, url=url, address=examined.address,
            counted_as=counted_as(examined.address), kind=form.kind, pool=pool,
            state=State.UNCONFIRMED, created_at=now,
        )  # fmt: skip
        stranger = await self._nodes.stranger_at(registration)
        await self._store.transact(lambda db: self._file(db, registration, foreign=stranger is not None))
        self._post()
        return Sent(email=email, examined=examined)

    async def _may_ask(self, addresses: Sequence[str]) -> None:
        """Whatever its names are, a node is its address: names cost nothing. Raises AskedTooOften."""
        now, limit = self._clock.now(), self._settings.client_checks
        for subject in dict.fromkeys(f"node {counted_as(address)}" for address in addresses):
            if (wait := await self._count(subject, now, limit, HOUR)) is not None:
                raise AskedTooOften(wait)

    async def look(self, purpose: Purpose, text: str) -> tuple[Token, Registration]:
        """What a link leads to, without using it. Raises Refused for one that is not ours, LinkOver for one
        that has expired or was used, or whose registration is forgotten."""
        token = self._signer.read(purpose, text)
        used = await self._store.transact(lambda db: rows.is_used(db, token.nonce))
        if used:
            raise LinkOver("This link has been used; each link works once.", token)
        if token.expired(self._clock.now()):
            raise LinkOver("This link has expired.", token)
        try:
            return token, await self._store.transact(lambda db: rows.get(db, token.subject))
        except NotFound as error:
            raise LinkOver("The registration that this link belongs to is no longer kept.", token) from error

    async def confirm(self, text: str) -> Registration:
        """Use a link to confirm. The node joins, or waits for approval; one that its owner has confirmed already,
        by the mail of a form that was sent twice, stays as it is. Raises as `look`, and Refused when somebody else
        took the address in the meantime."""
        token, registration = await self.look(Purpose.CONFIRM, text)
        stranger = await self._nodes.stranger_at(registration)
        now = self._clock.now()

        def work(db: sqlite3.Connection) -> tuple[Registration, bool]:
            if not rows.use(db, token.nonce, token.expires):
                raise LinkOver("This link has been used; each link works once.", token)
            current = rows.get(db, token.subject)
            if current.state is not State.UNCONFIRMED:
                return current, False  # by an earlier mail's link
            other = rows.taken(db, current, per_address=self._settings.nodes_per_address)
            banned = rows.banned(db, current)
            if not banned and other and (other.url, other.mailbox) == (current.url, current.mailbox):
                return other, False
            if banned or stranger or other:
                raise Refused(
                    "This node's address has been registered in the meantime, or is not taken here."
                )
            state = State.WAITING if self._settings.approval else State.APPROVED
            confirmed = replace(current, state=state, confirmed_at=now, told_at=None)
            rows.save(db, confirmed)
            if state is State.WAITING:
                rows.enqueue(db, mail_to(confirmed, Letter.WAITING, now))
            return confirmed, True

        confirmed, fresh = await self._store.transact(work)
        if fresh:
            log.info("registration %s of %s is confirmed: %s", confirmed.id, confirmed.url, confirmed.state)
            self._tell(news.registered(confirmed, now))
            self._post()
        return await self.admit(confirmed)

    async def admit(self, registration: Registration) -> Registration:
        """Write an approved node to the registry; a registry that is away is tried again by the watch."""
        if registration.state is not State.APPROVED:
            return registration
        now = self._clock.now()
        weight = probation_weight(registration.proven, self._settings)
        try:
            node = await self._nodes.join(registration, weight)
        except NodegateError as error:
            log.warning("%s cannot join yet: %s", registration.url, error)
            return registration

        def work(db: sqlite3.Connection) -> tuple[Registration, bool]:
            current = rows.get(db, registration.id)
            if current.state is not State.APPROVED:
                return current, False
            joined = replace(
                current, state=State.ACTIVE, node_id=node.id, weight=node.weight, joined_at=now, out_since=None,
                told_at=None,
            )  # fmt: skip
            rows.save(db, joined)
            rows.enqueue(db, mail_to(joined, Letter.WELCOME, now))
            return joined, True

        joined, fresh = await self._store.transact(work)
        if fresh:
            log.info("%s joins as %s with weight %d", joined.url, node.id, node.weight)
            self._post()
        elif joined.state not in OPEN:  # an operator or its owner has ended it while it joined
            await self._nodes.remove(node.id)
        return joined

    async def send_link(self, email: str, client: str, *, wanted: str = "") -> Sent | Wrong | Limited:
        """Mail a new link to whoever has a registration with this address; nobody can see whether it has. The one
        with the id `wanted` comes first if it is still to be confirmed."""
        try:
            email = checked_mailbox(email.strip())
        except ValueError as error:
            return Wrong(faults={"email": _words(error)})
        now, limit = self._clock.now(), 3 * self._settings.client_checks
        if (wait := await self._count(f"links {counted_as(client)}", now, limit, HOUR)) is not None:
            return Limited(what="You have asked for many links", seconds=wait)

        def work(db: sqlite3.Connection) -> None:
            if not self._may_mail(db, email.lower(), now):
                return
            found = rows.of_owner(db, email)
            usable = [one for one in found if one.id == wanted and one.state is State.UNCONFIRMED]
            usable += [one for one in found if one.state in OPEN]
            usable += [one for one in found if one.state is State.UNCONFIRMED]
            usable += [one for one in found if one.state not in (*OPEN, State.UNCONFIRMED, State.BANNED)]
            if usable and not rows.banned(db, usable[0]):
                letter = Letter.CONFIRM if usable[0].state is State.UNCONFIRMED else Letter.OWNER
                rows.enqueue(db, mail_to(usable[0], letter, now))

        await self._store.transact(work)
        self._post()
        return Sent(email=email)

    async def renew(self, purpose: Purpose, text: str, client: str) -> Sent | Wrong | Limited:
        """Mail a new link in place of one that is over. Raises Refused for one that is not ours."""
        token = self._signer.read(purpose, text)
        try:
            registration = await self._store.transact(lambda db: rows.get(db, token.subject))
        except NotFound:
            return Wrong(faults={"email": "Write your e-mail address to get a new link."})
        return await self.send_link(registration.email, client, wanted=registration.id)

    def _read(self, form: Application) -> Wrong | tuple[str, str, str]:
        """E-mail address, URL and pool, or what is wrong with the form."""
        faults: dict[str, str] = {}
        email = url = ""
        pool = self.kinds.get(form.kind, "")
        if not pool:
            faults["kind"] = "Choose the kind of your node."
        try:
            email = checked_mailbox(form.email.strip())
        except ValueError as error:
            faults["email"] = _words(error)
        try:
            url = url_of(form.place, kind=form.kind, path=self._upstream.get(pool, ""))
        except ValueError as error:
            faults["place"] = _words(error)
        return Wrong(faults=faults) if faults else (email, url, pool)

    def _file(self, db: sqlite3.Connection, registration: Registration, *, foreign: bool) -> None:
        """Store a new registration, or tell its owner by mail why not; a ban says nothing at all."""
        now = registration.created_at
        if not self._may_mail(db, registration.mailbox, now) or rows.banned(db, registration):
            return
        other = rows.taken(db, registration, per_address=self._settings.nodes_per_address)
        mine = [one for one in rows.of_owner(db, registration.mailbox) if one.state in OPEN]
        if other is not None and other.mailbox == registration.mailbox:
            rows.enqueue(db, mail_to(other, Letter.KNOWN, now))
        elif other is not None or foreign:
            why = f"{registration.url}: it is registered already, by somebody else"
            rows.enqueue(db, mail_to(registration, Letter.TAKEN, now, why))
        elif len(mine) >= self._settings.nodes_per_owner:
            why = f"{registration.url}: you have registered {len(mine)} nodes, which is the most"
            rows.enqueue(db, mail_to(registration, Letter.TAKEN, now, why))
        else:
            rows.enqueue(db, mail_to(registration, Letter.CONFIRM, now))
            rows.save(db, registration)

    def _may_mail(self, db: sqlite3.Connection, mailbox: str, now: Instant) -> bool:
        """Whether a stranger may ask for one more mail to somebody. It is counted for whoever gets none as well: a
        transaction that writes nothing would be done sooner, and tell that nobody is registered."""
        limit = self._settings.recipient_mails
        return rows.count(db, f"mail {mailbox}", now, limit=limit, window=HOUR) is None

    async def _count(self, subject: str, now: Instant, limit: int, window: Seconds) -> Seconds | None:
        return await self._store.transact(lambda db: rows.count(db, subject, now, limit=limit, window=window))


def mail_to(registration: Registration, letter: Letter, now: Instant, detail: str = "") -> Mail:
    """A mail to a registration's owner."""
    return Mail(
        letter=letter,
        recipient=registration.email,
        registration=registration.id,
        created_at=now,
        detail=detail,
    )


def _words(error: ValueError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
