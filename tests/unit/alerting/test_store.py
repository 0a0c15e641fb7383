from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon_double import T0
from nodegate.alerting.news import GONE, News
from nodegate.alerting.rules import Alert, Silence
from nodegate.alerting.store import EventStore, Query
from nodegate.errors import Unavailable
from nodegate.model import Instant, Seconds
from nodegate.telemetry.kinds import Event, Kind, Severity, event


def happened(
    text: str = "a is down", *, at: float = 0.0, node: str = "a", kind: Kind = Kind.NODE_DOWN
) -> Event:
    return event(Instant(T0 + at), kind, f"node/{node}", text, pool="main")


def an_alert(**fields: Any) -> Alert:
    given = {"rule": "r", "subject": "node/a", "severity": Severity.CRITICAL, "text": "t", "value": 1.0,
             "since": T0, "seen_at": T0}  # fmt: skip
    return Alert(**given | fields)


def open_store(path: Path, **fields: Any) -> EventStore:
    return EventStore(path, **{"keep_events": 1000, "keep": Seconds(86_400.0)} | fields)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EventStore]:
    store = open_store(tmp_path / "events.db")
    yield store
    await store.close()


async def texts(store: EventStore, **fields: Any) -> list[str]:
    return [one.text for one in await store.events(Query(**fields))]


async def test_events_and_what_was_said_survive_a_restart(tmp_path: Path) -> None:
    first = open_store(tmp_path / "events.db")
    [kept] = await first.append([happened()], [News("status", "node/a", "node-down", None)])
    await first.close()
    second = open_store(tmp_path / "events.db")
    assert await second.events(Query()) == (kept,)
    assert kept.id == 1
    assert kept.data == {"pool": "main"}
    assert await second.said() == {("status", "node/a"): "node-down"}
    await second.append([], [News("status", "node/a", GONE, None)])
    assert await second.said() == {}
    await second.close()
    assert (tmp_path / "events.db").stat().st_mode & 0o777 == 0o600


async def test_questions_are_answered_oldest_first(store: EventStore) -> None:
    await store.append([happened(str(number), at=number, node="ab"[number % 2]) for number in range(10)])
    await store.append([happened("up", at=20, kind=Kind.NODE_UP)])
    assert await texts(store, limit=3) == ["8", "9", "up"]
    assert await texts(store, after=4, limit=2, first=True) == ["4", "5"]
    assert await texts(store, since=Instant(T0 + 9)) == ["9", "up"]
    assert await texts(store, subject="node/b", limit=2) == ["7", "9"]
    assert await texts(store, kinds=("node-up",)) == ["up"]


async def test_waiting_ends_with_the_next_event_and_a_wait_in_vain_with_nothing(store: EventStore) -> None:
    waiting = asyncio.create_task(store.wait(Query(first=True), Seconds(30.0)))
    await asyncio.sleep(0)
    await store.append([happened("now")])
    assert [one.text for one in await waiting] == ["now"]
    assert await store.wait(Query(after=1, first=True), Seconds(0.05)) == ()


async def test_the_log_keeps_so_many_and_so_long(tmp_path: Path) -> None:
    store = open_store(tmp_path / "events.db", keep_events=700)
    await store.append([happened(str(number)) for number in range(2000)])
    assert len(await texts(store, limit=10_000)) == 700
    await store.append([happened("late", at=200_000) for _ in range(500)])
    assert set(await texts(store, limit=10_000)) == {"late"}
    await store.close()


async def test_half_a_surrogate_pair_from_a_node_is_kept_as_something_readable(store: EventStore) -> None:
    await store.append([happened("a says \ud800")], [News("refused", "no \ud800", "said", None)])
    [text] = await texts(store)
    assert text.startswith("a says ")
    text.encode()


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\0" * 5000])
async def test_a_damaged_file_is_put_aside_and_a_new_one_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(content)
    store = open_store(path)
    await store.append([happened()])
    assert await texts(store) == ["a is down"]
    assert store.put_aside is not None
    assert (tmp_path / "events.db.damaged-1").read_bytes() == content
    await store.close()


async def test_the_database_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    store = open_store(path)
    await store.append([happened()])
    await store.close()
    kept = sqlite3.connect(tmp_path / "events.db.damaged-1")
    assert kept.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    kept.close()


async def test_a_file_that_cannot_be_made_is_unavailable_with_its_name(tmp_path: Path) -> None:
    store = open_store(tmp_path / "nowhere" / "events.db")
    with pytest.raises(Unavailable, match="nowhere"):
        await store.append([happened()])
    await store.close()


async def test_alerts_and_their_parcels_are_kept_together(store: EventStore) -> None:
    alert = an_alert(fired_at=T0, told_at=T0)
    await store.keep_alerts({alert.key: alert}, [], [("ops", "{}"), ("hook", "{}")], T0)
    assert await store.alerts() == {alert.key: alert}
    [parcel] = await store.parcels("ops")
    assert (parcel.tries, parcel.next_at) == (0, T0)
    await store.put_off(parcel.id, Instant(T0 + 5), "away")
    [parcel] = await store.parcels("ops")
    assert (parcel.tries, parcel.next_at, parcel.error) == (1, T0 + 5, "away")
    await store.delivered([parcel.id])
    assert await store.parcels("ops") == ()
    assert len(await store.parcels("hook")) == 1
    await store.keep_alerts({}, [alert.key], [], T0)
    assert await store.alerts() == {}


async def test_silences_end_by_themselves_or_by_command(store: EventStore) -> None:
    kept = await store.silence(Silence(rule="*", subject="*", until=Instant(T0 + 10), reason="quiet"))
    other = await store.silence(Silence(rule="a", subject="*", until=Instant(T0 + 99)))
    assert await store.silences(T0) == (kept, other)
    assert await store.silences(Instant(T0 + 10)) == (other,)
    assert await store.unsilence(other.id)
    assert not await store.unsilence(other.id)


async def test_after_closing_everything_is_unavailable(store: EventStore) -> None:
    await store.close()
    with pytest.raises(Unavailable, match="stopping"):
        await store.said()


async def test_whoever_follows_a_log_that_was_damaged_is_told_the_new_one_from_its_beginning(
    tmp_path: Path,
) -> None:
    first = open_store(tmp_path / "events.db")
    last = (await first.append([happened(str(number)) for number in range(9)]))[-1].id
    await first.close()
    (tmp_path / "events.db").write_bytes(b"not a database" * 100)
    second = open_store(tmp_path / "events.db")
    assert await texts(second, after=last, first=True) == []
    [new] = await second.append([happened("new")])
    assert await texts(second, after=last, first=True) == ["new"]
    assert await texts(second, after=new.id, first=True) == []
    await second.close()
