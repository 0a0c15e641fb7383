"""What is asked of the store, as functions of one connection inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import fields
from ipaddress import ip_address, ip_network

from nodegate.errors import NotFound
from nodegate.model import Instant, Seconds
from nodegate.portal.records import OPEN, Ban, Letter, Mail, Outbox, Registration, State

DB = sqlite3.Connection

_COLUMNS = tuple(field.name for field in fields(Registration))
_MARKS = ", ".join("?" for _ in range(len(_COLUMNS) + 1))
KEPT_ENDED = Seconds(180 * 86_400.0)
"""How long ended registrations are kept, so that an operator can look up what became of one."""


AHEAD = Seconds(60.0)
"""How far a time that was kept may lie ahead: requests at once are kept in any order."""


def save(db: DB, registration: Registration) -> None:
    """Create or replace."""
    values = [getattr(registration, name) for name in _COLUMNS]
    names = ", ".join((*_COLUMNS, "mailbox"))
    db.execute(
        f"INSERT OR REPLACE INTO registrations ({names}) VALUES ({_MARKS})",  # noqa: S608 -- names of our fields
        [*(str(value) if isinstance(value, State) else value for value in values), registration.mailbox],
    )


def get(db: DB, registration_id: str) -> Registration:
    """One registration. Raises NotFound."""
    row = db.execute("SELECT * FROM registrations WHERE id = ?", (registration_id,)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no registration {registration_id!r}; `nodegate registrations list` shows all"
        )
    return _registration(row)


def listed(db: DB, states: Iterable[State] = State) -> tuple[Registration, ...]:
    """All registrations in these states, the oldest first."""
    wanted = [str(state) for state in states]
    marks = ", ".join("?" for _ in wanted)
    rows = db.execute(
        f"SELECT * FROM registrations WHERE state IN ({marks}) ORDER BY created_at, id",  # noqa: S608 -- marks only
        wanted,
    )
    return tuple(_registration(row) for row in rows)


def of_owner(db: DB, mailbox: str) -> tuple[Registration, ...]:
    """All that was registered with one e-mail address, the newest first."""
    rows = db.execute(
        "SELECT * FROM registrations WHERE mailbox = ? ORDER BY created_at DESC, id", (mailbox.lower(),)
    )
    return tuple(_registration(row) for row in rows)


def of_node(db: DB, node_id: str) -> Registration | None:
    """The registration whose node this is."""
    row = db.execute(
        "SELECT * FROM registrations WHERE node_id = ? AND state = ?", (node_id, str(State.ACTIVE))
    ).fetchone()
    return None if row is None else _registration(row)


def taken(db: DB, registration: Registration, *, per_address: int) -> Registration | None:
    """The registration that is in the way: the same URL, or the last one that fits at its address."""
    others = [other for other in listed(db, OPEN) if other.id != registration.id]
    same = next((other for other in others if other.url == registration.url), None)
    near = [other for other in others if other.counted_as == registration.counted_as]
    return same or (near[0] if len(near) >= per_address else None)


def enqueue(db: DB, mail: Mail) -> None:
    """Put a mail into the outbox."""
    db.execute(
        "INSERT INTO mails (letter, recipient, registration, created_at, detail, tries, next_at, error) "
        "VALUES (?, ?, ?, ?, ?, 0, ?, '')",
        (str(mail.letter), mail.recipient, mail.registration, mail.created_at, mail.detail, mail.created_at),
    )


def due(db: DB, now: Instant, *, most: int, longest: Seconds) -> tuple[Mail, ...]:
    """The mails that may be tried now, the oldest first. One that would have to wait for more than `longest` was put
    off by a clock that went wrong, and may be tried too."""
    rows = db.execute(
        "SELECT * FROM mails WHERE given_up = 0 AND (next_at <= ? OR next_at > ?) ORDER BY id LIMIT ?",
        (now, now + longest + AHEAD, most),
    )
    return tuple(_mail(row) for row in rows)


def sent(db: DB, mail_id: int) -> None:
    """The server has it."""
    db.execute("DELETE FROM mails WHERE id = ?", (mail_id,))


def invited(db: DB, registration_id: str, now: Instant) -> None:
    """The mail with the link to confirm went out: from now on the link lives."""
    db.execute(
        "UPDATE registrations SET told_at = ? WHERE id = ? AND state = ?",
        (now, registration_id, str(State.UNCONFIRMED)),
    )


def not_sent(db: DB, mail_id: int, error: str, next_at: Instant | None) -> None:
    """It is tried again at `next_at`; None: never, it is only kept to be seen."""
    db.execute(
        "UPDATE mails SET tries = tries + 1, error = ?, next_at = ?, given_up = ? WHERE id = ?",
        (error, next_at or 0.0, next_at is None, mail_id),
    )


def outbox(db: DB) -> Outbox:
    """What waits, and what was given up."""
    waiting = [_mail(row) for row in db.execute("SELECT * FROM mails WHERE given_up = 0 ORDER BY id")]
    failed = [
        _mail(row) for row in db.execute("SELECT * FROM mails WHERE given_up = 1 ORDER BY id DESC LIMIT 50")
    ]
    return Outbox(
        waiting=len(waiting),
        oldest=waiting[0].created_at if waiting else None,
        error=next((mail.error for mail in waiting if mail.error), ""),
        given_up=tuple(failed),
    )


def put_ban(db: DB, ban: Ban) -> None:
    """Ban, or change the reason."""
    db.execute("INSERT OR REPLACE INTO bans VALUES (?, ?, ?)", (ban.subject, ban.reason, ban.at))


def lift(db: DB, subject: str) -> bool:
    """Unban; False when there was no such ban."""
    return db.execute("DELETE FROM bans WHERE subject = ?", (subject,)).rowcount > 0


def bans(db: DB) -> tuple[Ban, ...]:
    """All bans, the oldest first."""
    rows = db.execute("SELECT * FROM bans ORDER BY at, subject")
    return tuple(Ban(subject=row["subject"], reason=row["reason"], at=Instant(row["at"])) for row in rows)


def hits(ban: Ban, registration: Registration) -> bool:
    """Whether the ban means this registration: its owner, the owner's mail domain, or its address."""
    if "@" in ban.subject:
        return ban.subject in {registration.mailbox, f"@{registration.mail_domain}"}
    network, ip = ip_network(ban.subject), ip_address(registration.address)
    return network.version == ip.version and ip in network


def banned(db: DB, registration: Registration) -> Ban | None:
    """The ban that means this registration."""
    return next((ban for ban in bans(db) if hits(ban, registration)), None)


def use(db: DB, nonce: str, expires: Instant) -> bool:
    """Note that a link was used; False when it had been used before."""
    return db.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (nonce, expires)).rowcount > 0


def is_used(db: DB, nonce: str) -> bool:
    """Whether a link was used."""
    return db.execute("SELECT 1 FROM used WHERE nonce = ?", (nonce,)).fetchone() is not None


def count(db: DB, subject: str, now: Instant, *, limit: int, window: Seconds) -> Seconds | None:
    """Count one more of `subject`; None if it is within `limit` per `window`, else the seconds until one more
    is (and it is not counted). What a clock that went wrong has left in the future does not count."""
    db.execute(
        "DELETE FROM hits WHERE subject = ? AND (at <= ? OR at > ?)", (subject, now - window, now + AHEAD)
    )
    times = [row["at"] for row in db.execute("SELECT at FROM hits WHERE subject = ? ORDER BY at", (subject,))]
    if len(times) >= limit:
        return Seconds(max(1.0, times[-limit] + window - now))
    db.execute("INSERT INTO hits VALUES (?, ?)", (subject, now))
    return None


def prune(db: DB, now: Instant, *, link_life: Seconds) -> None:
    """Forget what nobody needs any more."""
    db.execute("DELETE FROM used WHERE expires <= ?", (now,))
    db.execute("DELETE FROM hits WHERE at <= ?", (now - 86_400.0,))
    # An unconfirmed registration outlives its mail's link by as much again, for whoever asks for a new one.
    db.execute(
        "DELETE FROM registrations WHERE state = ? AND COALESCE(told_at, created_at) <= ? "
        "AND id NOT IN (SELECT registration FROM mails WHERE given_up = 0)",
        (str(State.UNCONFIRMED), now - 2 * link_life),
    )
    db.execute("DELETE FROM registrations WHERE ended_at IS NOT NULL AND ended_at <= ?", (now - KEPT_ENDED,))
    db.execute("DELETE FROM mails WHERE given_up = 1 AND created_at <= ?", (now - KEPT_ENDED,))


def _registration(row: sqlite3.Row) -> Registration:
    values = {name: row[name] for name in _COLUMNS}
    return Registration(**{**values, "state": State(values["state"]), "paused": bool(row["paused"])})


def _mail(row: sqlite3.Row) -> Mail:
    return Mail(
        id=row["id"],
        letter=Letter(row["letter"]),
        recipient=row["recipient"],
        registration=row["registration"],
        created_at=Instant(row["created_at"]),
        detail=row["detail"],
        tries=row["tries"],
        next_at=Instant(row["next_at"]),
        error=row["error"],
    )
