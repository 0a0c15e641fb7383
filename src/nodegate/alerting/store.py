"""Events, what was said, alerts, silences and the outbox: all that alerting keeps, in one file."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nodegate.alerting.database import EventFile
from nodegate.alerting.news import GONE, News
from nodegate.alerting.records import read_alert, read_event, write_alert
from nodegate.alerting.rules import Alert, Key, Silence
from nodegate.errors import Unavailable
from nodegate.model import Instant, Seconds
from nodegate.telemetry.kinds import Event
from nodegate.views.words import readable

T = TypeVar("T")

TRIM_EVERY = 500
"""Events between two looks for those that are too many or too old."""
EVENT_COLUMNS = "id, at, kind, severity, subject, text, data"
MAX_ROWS = 10_000
"""Events in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which events: ids greater than `after`, at or after `since`, of these kinds, about this subject; the
    newest `limit` of them, or with `first` the oldest."""

    after: int = 0
    since: Instant | None = None
    kinds: tuple[str, ...] = ()
    subject: str | None = None
    limit: int = 100
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An alert's document on its way to a channel. `tries` have failed so far, the last with `error`."""

    id: int
    channel: str
    made_at: Instant
    payload: str
    tries: int
    next_at: Instant
    error: str


class EventStore:
    """The file at `path`. Calls run on one thread of its own, off the event loop; all raise Unavailable."""

    def __init__(self, path: Path, *, keep_events: int, keep: Seconds) -> None:
        self._file = EventFile(path.absolute())
        self._keep_events, self._keep = keep_events, keep
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="events")
        self._appended = asyncio.Event()  # replaced, not cleared, so that every waiter of the old one wakes
        self._since_trim = TRIM_EVERY
        self._closed = False

    @property
    def put_aside(self) -> str | None:
        """What was wrong with a former file, and where it is now."""
        return self._file.put_aside

    async def append(self, events: Iterable[Event], news: Iterable[News] = ()) -> tuple[Event, ...]:
        """Keep events, and the words of `news`, in one step; the events with their ids."""
        given = tuple(events)
        words = tuple(item._replace(subject=readable(item.subject)) for item in news)

        def work(db: sqlite3.Connection) -> tuple[Event, ...]:
            kept = tuple(_insert(db, event) for event in given)
            for item in words:
                if item.word == GONE:
                    db.execute("DELETE FROM said WHERE topic = ? AND subject = ?", (item.topic, item.subject))
                else:
                    db.execute(
                        "INSERT OR REPLACE INTO said VALUES (?, ?, ?)", (item.topic, item.subject, item.word)
                    )
            self._since_trim += len(given)
            if given and self._since_trim >= TRIM_EVERY:
                self._since_trim = 0
                self._trim(db, given[-1].at)
            return kept

        kept = await self._run(work)
        if kept:
            self._appended.set()
            self._appended = asyncio.Event()
        return kept

    async def events(self, query: Query) -> tuple[Event, ...]:
        """The events that the query asks for, oldest first. Whoever is ahead of the log has followed a former one,
        that was damaged and put aside: this one is told from its beginning."""

        def work(db: sqlite3.Connection) -> tuple[Event, ...]:
            newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
            ahead = query.after > (newest[0] if newest else 0)
            text, values = _select(replace(query, after=0) if ahead else query)
            rows = [event for row in db.execute(text, values) if (event := read_event(row)) is not None]
            return tuple(rows if query.first else reversed(rows))

        return await self._run(work)

    async def wait(self, query: Query, within: Seconds) -> tuple[Event, ...]:
        """As `events`, but wait up to `within` seconds for the first one."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            appended = self._appended
            found = await self.events(query)
            if found or within <= 0:
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await appended.wait()
            except TimeoutError:
                return ()

    async def said(self) -> dict[tuple[str, str], str]:
        """What was said last, by topic and subject."""
        return await self._run(
            lambda db: {
                (row[0], row[1]): row[2] for row in db.execute("SELECT topic, subject, word FROM said")
            }
        )

    async def alerts(self) -> dict[Key, Alert]:
        """All alerts as they were last kept."""

        def work(db: sqlite3.Connection) -> dict[Key, Alert]:
            found = [read_alert(row[0]) for row in db.execute("SELECT record FROM alerts")]
            return {alert.key: alert for alert in found if alert is not None}

        return await self._run(work)

    async def keep_alerts(
        self,
        alerts: Mapping[Key, Alert],
        gone: Iterable[Key],
        parcels: Iterable[tuple[str, str]],
        now: Instant,
    ) -> None:
        """Keep changed alerts, forget gone ones, and put (channel, payload) into the outbox: all or nothing,
        so that what was told is always on its way, once."""
        leaving = tuple(parcels)

        def work(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)",
                [(*key, write_alert(alert)) for key, alert in alerts.items()],
            )
            db.executemany("DELETE FROM alerts WHERE rule = ? AND subject = ?", list(gone))
            db.executemany(
                "INSERT INTO outbox (channel, made_at, payload, next_at) VALUES (?, ?, ?, ?)",
                [(channel, now, payload, now) for channel, payload in leaving],
            )

        await self._run(work)

    async def parcels(self, channel: str) -> tuple[Parcel, ...]:
        """What waits for a channel, oldest first."""
        columns = "id, channel, made_at, payload, tries, next_at, error"
        return await self._run(
            lambda db: tuple(
                Parcel(id=row[0], channel=row[1], made_at=Instant(row[2]), payload=row[3], tries=row[4],
                       next_at=Instant(row[5]), error=row[6])
                for row in db.execute(f"SELECT {columns} FROM outbox WHERE channel = ? ORDER BY id", (channel,))  # noqa: S608 -- constants
            )
        )  # fmt: skip

    async def delivered(self, ids: Iterable[int]) -> None:
        """Take parcels out of the outbox: they have arrived, or wait no longer."""
        await self._run(lambda db: db.executemany("DELETE FROM outbox WHERE id = ?", [(one,) for one in ids]))

    async def put_off(self, parcel: int, until: Instant, error: str) -> None:
        """An attempt failed; the next one is due then."""
        await self._run(
            lambda db: db.execute(
                "UPDATE outbox SET tries = tries + 1, next_at = ?, error = ? WHERE id = ?",
                (until, error, parcel),
            )
        )

    async def silences(self, now: Instant) -> tuple[Silence, ...]:
        """Silences that have not ended; those that have are forgotten."""

        def work(db: sqlite3.Connection) -> tuple[Silence, ...]:
            db.execute("DELETE FROM silences WHERE until <= ?", (now,))
            rows = db.execute("SELECT id, rule, subject, until, reason FROM silences ORDER BY id")
            return tuple(
                Silence(id=row[0], rule=row[1], subject=row[2], until=Instant(row[3]), reason=row[4])
                for row in rows
            )

        return await self._run(work)

    async def silence(self, silence: Silence) -> Silence:
        """Keep a new silence; with its id."""

        def work(db: sqlite3.Connection) -> Silence:
            values = (silence.rule, silence.subject, silence.until, silence.reason)
            done = db.execute(
                "INSERT INTO silences (rule, subject, until, reason) VALUES (?, ?, ?, ?)", values
            )
            return replace(silence, id=done.lastrowid or 0)

        return await self._run(work)

    async def unsilence(self, silence_id: int) -> bool:
        """End a silence; False when there is none of that id."""
        return await self._run(
            lambda db: db.execute("DELETE FROM silences WHERE id = ?", (silence_id,)).rowcount > 0
        )

    async def close(self) -> None:
        """Close the file; later calls raise Unavailable."""
        if self._closed:
            return
        closing = self._worker.submit(self._file.close)
        self._closed = True
        self._worker.shutdown(wait=False)
        await asyncio.wrap_future(closing)
        self._appended.set()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Unavailable("the event log is closed: nodegate is stopping")
        return await asyncio.wrap_future(self._worker.submit(lambda: self._file.transact(work)))

    def _trim(self, db: sqlite3.Connection, now: Instant) -> None:
        newest = db.execute("SELECT max(id) FROM events").fetchone()[0] or 0
        db.execute("DELETE FROM events WHERE id <= ?", (newest - self._keep_events,))
        db.execute("DELETE FROM events WHERE at < ?", (now - self._keep,))


def _insert(db: sqlite3.Connection, event: Event) -> Event:
    text, subject = readable(event.text), readable(event.subject)  # a node may send half a surrogate pair
    data = json.dumps(dict(event.data), default=str)
    done = db.execute(
        "INSERT INTO events (at, kind, severity, subject, text, data) VALUES (?, ?, ?, ?, ?, ?)",
        (event.at, event.kind.value, event.severity.value, subject, text, data),
    )
    return replace(event, id=done.lastrowid or 0, text=text, subject=subject)


def _select(query: Query) -> tuple[str, list[object]]:
    conditions, values = ["id > ?"], [query.after]  # type: tuple[list[str], list[object]]
    if query.since is not None:
        conditions.append("at >= ?")
        values.append(query.since)
    if query.subject is not None:
        conditions.append("subject = ?")
        values.append(query.subject)
    if query.kinds:
        conditions.append(f"kind IN ({', '.join('?' * len(query.kinds))})")
        values += query.kinds
    order = "ASC" if query.first else "DESC"
    values.append(min(query.limit, MAX_ROWS))
    where = " AND ".join(conditions)
    text = f"SELECT {EVENT_COLUMNS} FROM events WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 -- constants
    return text, values
