"""Sends what waits in the outbox, for as long as it takes: a mail server that is away delays, and loses nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.message import EmailMessage

from nodegate.alerting.smtp import letter as new_letter
from nodegate.errors import NotFound, Refused, Unavailable
from nodegate.model import Instant, Seconds
from nodegate.portal import rows
from nodegate.portal.pages import Pages
from nodegate.portal.records import Letter, Mail, Registration
from nodegate.portal.store import Store
from nodegate.portal.tokens import Purpose, Signer
from nodegate.ports import Clock
from nodegate.settings import Settings

log = logging.getLogger("nodegate.portal")

Send = Callable[[EmailMessage], Awaitable[None]]

LOOK_EVERY = 5.0
BATCH = 20
ENOUGH = 2
"""Failures in a row after which the server is taken for gone, and the rest waits without being tried."""
FIRST_DELAY = Seconds(5.0)
LONGEST_DELAY = Seconds(900.0)
GIVE_UP_AFTER = Seconds(7 * 86_400.0)
"""A mail that a server put off for a week will not be taken any more; servers themselves give up after five days."""

_LINKS = {
    Letter.CONFIRM: Purpose.CONFIRM,
    Letter.KNOWN: Purpose.OWNER,
    Letter.WELCOME: Purpose.OWNER,
    Letter.OWNER: Purpose.OWNER,
    Letter.OUT: Purpose.OWNER,
    Letter.BACK: Purpose.OWNER,
}


class Sender:
    """Writes each mail at the moment it is sent, so that the life of its link begins then."""

    def __init__(
        self, *, settings: Settings, store: Store, signer: Signer, pages: Pages, clock: Clock, send: Send,
        counted: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`send` raises as `alerting.smtp.send`; `counted` is told `sent`, `put off` or `given up` for each try."""
        self._settings = settings
        self._store = store
        self._signer = signer
        self._pages = pages
        self._clock = clock
        self._send = send
        self._counted = counted
        self._wake = asyncio.Event()
        self._complaint = ""
        self._quiet = 0

    def post(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            self._wake.clear()
            reached = await self.send_due()
            self._quiet = 0 if reached else min(self._quiet + 1, 4)
            if self._quiet:
                await asyncio.sleep(LOOK_EVERY * self._quiet)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._wake.wait()

    async def send_due(self) -> bool:
        """Try every mail that is due once; False when the server seems to be gone."""
        failures = 0
        while batch := await self._due():
            for mail in batch:
                failures = 0 if await self._try(mail) else failures + 1
                if failures >= ENOUGH:
                    return False
        return True

    async def _due(self) -> tuple[Mail, ...]:
        now = self._clock.now()
        return await self._store.transact(lambda db: rows.due(db, now, most=BATCH, longest=LONGEST_DELAY))

    async def _try(self, mail: Mail) -> bool:
        """One mail. False when the server did not take it for now."""
        now = self._clock.now()
        try:
            registration = await self._store.transact(lambda db: rows.get(db, mail.registration))
        except NotFound:
            registration = None
        try:
            await self._send(self.written(mail, registration))
        except Refused as error:
            log.warning("a %s mail to %s was not taken: %s", mail.letter, mail.recipient, error)
            await self._put_off(mail, str(error), None)
            return True
        except Unavailable as error:
            await self._later(mail, str(error), now)
            if str(error) != self._complaint:
                log.error("%s; registrations wait, and mails go out later", error)
            self._complaint = str(error)
            return False
        except Exception:  # of one mail: the others must not wait for it
            log.exception("a %s mail failed by a fault of nodegate's own", mail.letter)
            await self._later(mail, "a fault of nodegate's own; the log has the details", now)
            return True
        if self._complaint:
            log.info("mails go out again")
        self._complaint = ""
        self._counted("sent")
        await self._store.transact(lambda db: _done(db, mail, self._clock.now()))
        return True

    async def _later(self, mail: Mail, error: str, now: Instant) -> None:
        late = now - mail.created_at > GIVE_UP_AFTER
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**mail.tries)
        await self._put_off(mail, error, None if late else Instant(now + delay))

    async def _put_off(self, mail: Mail, error: str, until: Instant | None) -> None:
        self._counted("given up" if until is None else "put off")
        await self._store.transact(lambda db: rows.not_sent(db, mail.id, error, until))

    def written(self, mail: Mail, registration: Registration | None) -> EmailMessage:
        """The mail with a new link. Subject is the template's first line."""
        portal = self._settings.portal
        life = Seconds(portal.link_life)
        link = ""
        if (purpose := _LINKS.get(mail.letter)) is not None:
            nonce = secrets.token_urlsafe(12)
            token = self._signer.sign(purpose, mail.registration, nonce, now=self._clock.now(), life=life)
            link = f"{portal.public_url}/{purpose.value}/{token}"
        text = self._pages.mail(mail.letter, registration=registration, link=link, detail=mail.detail)
        subject, _, body = text.partition("\n")
        return new_letter(
            sender=self._settings.mail.sender, to=mail.recipient, subject=subject, text=body.strip() + "\n",
            name=portal.title,
            # So that mail systems do not answer with their own "out of office".
            headers={"Auto-Submitted": "auto-generated"},
        )  # fmt: skip


def _done(db: sqlite3.Connection, mail: Mail, now: Instant) -> None:
    rows.sent(db, mail.id)
    if mail.letter is Letter.CONFIRM:
        rows.invited(db, mail.registration, now)
