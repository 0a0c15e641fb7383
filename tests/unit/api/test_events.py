from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from daemon_double import T0, TOKEN, DaemonDouble, a_server, a_verdict, an_iri
from nodegate.alerting.channels import channels_of
from nodegate.alerting.service import Alerting
from nodegate.alerting.store import EventStore
from nodegate.api.app import create_app
from nodegate.model import Instant, Seconds, Status
from nodegate.settings import Settings
from nodegate.telemetry.kinds import Kind, event
from support import until

CHANNELS = {
    "good": {"kind": "command", "command": ["true"]},
    "bad": {"kind": "command", "command": ["false"]},
}


class Desk:
    """A daemon with events and alerts, at a clock that a test sets."""

    def __init__(self, tmp_path: Path, daemon: DaemonDouble) -> None:
        self.daemon = daemon
        self.settings = Settings.model_validate({"alerts": {"channels": CHANNELS, "group": 0}})
        self.store = EventStore(tmp_path / "events.db", keep_events=1000, keep=Seconds(1e9))
        self.alerting = Alerting(
            self.settings, self.store, channels_of(self.settings), daemon.clock, gateway="gw1"
        )

    def look(self, status: Status) -> None:
        self.daemon.verdicts["a"] = a_verdict("a", status, since=self.daemon.clock.now(), observed_at=T0)
        self.daemon.refresh()
        self.alerting.published(self.daemon.snapshot)


@pytest.fixture
async def desk(tmp_path: Path, daemon: DaemonDouble) -> AsyncIterator[Desk]:
    daemon.add(an_iri("a"), a_verdict("a", observed_at=T0), a_server("a"))
    desk = Desk(tmp_path, daemon)
    running = asyncio.create_task(desk.alerting.run())
    yield desk
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await desk.store.close()


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    context = replace(desk.daemon.context(), settings=desk.settings, alerting=desk.alerting)
    transport = httpx.ASGITransport(create_app(context), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:9780", headers=headers
    ) as client:
        yield client


async def kinds(api: httpx.AsyncClient, query: str = "") -> list[str]:
    return [row["kind"] for row in (await api.get(f"/api/v1/events{query}")).json()["events"]]


async def test_what_happened_can_be_asked_for_and_followed(desk: Desk, api: httpx.AsyncClient) -> None:
    desk.alerting.tell(
        event(T0, Kind.STARTED, "gateway", "started"), event(Instant(T0 + 5), Kind.INTENT, "node/a", "drain")
    )

    async def kept() -> bool:
        return len(await kinds(api)) == 2

    await until(kept)
    assert await kinds(api, "?node=a") == ["intent"]
    assert await kinds(api, "?kind=started&kind=stopped") == ["started"]
    assert await kinds(api, f"?since={T0 + 1}") == ["intent"]
    assert await kinds(api, "?after=1") == ["intent"]
    waiting = asyncio.create_task(api.get("/api/v1/events?after=2&wait=30"))
    await asyncio.sleep(0)
    desk.alerting.tell(event(T0, Kind.STOPPED, "gateway", "stopped"))
    document = (await waiting).json()
    assert [row["kind"] for row in document["events"]] == ["stopped"]
    assert document["last"] == 3


@pytest.mark.parametrize("query", ["kind=nonsense", "limit=0", "wait=61", "after=-1", "since=x"])
async def test_a_question_that_makes_no_sense_is_422(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/api/v1/events?{query}")).status_code == 422


async def test_an_alert_is_listed_from_its_beginning_and_a_silence_with_it(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    async def row() -> dict[str, Any]:
        alerts: list[dict[str, Any]] = (await api.get("/api/v1/alerts")).json()["alerts"]
        return next((one for one in alerts if one["rule"] == "node-down"), {})

    async def state(name: str) -> bool:
        desk.alerting.published(desk.daemon.snapshot)
        return (await row()).get("state") == name

    desk.look(Status.DOWN)
    await until(lambda: state("pending"), what="it is pending")
    made = await api.post(
        "/api/v1/alerts/silences", json={"rule": "node-*", "subject": "node/a", "seconds": 3600}
    )
    assert made.status_code == 201
    desk.daemon.clock.forward(61)
    await until(lambda: state("firing"), what="it fires")
    assert (await row())["silenced_until"] == made.json()["until"]
    assert (await row())["told_at"] is None
    assert (await api.delete(f"/api/v1/alerts/silences/{made.json()['id']}")).status_code == 204
    assert (await api.delete("/api/v1/alerts/silences/99")).status_code == 404

    async def told() -> Any:
        return (await row())["told_at"]

    await until(told, what="it is told")
    parcels = [await desk.store.parcels(name) for name in CHANNELS]
    # The pool lost its only node, which is told by a rule of its own.
    assert all(sum('"node-down"' in parcel.payload for parcel in waiting) == 1 for waiting in parcels)


async def test_a_test_alert_says_of_each_channel_what_became_of_it(api: httpx.AsyncClient) -> None:
    results = (await api.post("/api/v1/alerts/test", json={})).json()["results"]
    assert {row["channel"]: row["ok"] for row in results} == {"good": True, "bad": False}
    [only] = (await api.post("/api/v1/alerts/test", json={"channel": "good"})).json()["results"]
    assert only["text"] == "taken"
    assert (await api.post("/api/v1/alerts/test", json={"channel": "x"})).status_code == 404


async def test_without_an_event_log_the_api_says_so(daemon: DaemonDouble) -> None:
    transport = httpx.ASGITransport(create_app(daemon.context()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9780") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert (await client.get("/api/v1/events")).status_code == 503


async def test_a_watch_tells_of_a_nodes_neighbour_and_an_alert_fires(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    report = {"node": "a", "neighbour": "tcp://192.0.2.7:15600", "dead": True, "quiet": 1800}
    assert (await api.post("/api/v1/events/neighbours", json=report)).status_code == 204
    await until(lambda: _has(api, "neighbour-dead"), what="the event")
    (row,) = (await api.get("/api/v1/events?kind=neighbour-dead&node=a")).json()["events"]
    assert row["text"] == "tcp://192.0.2.7:15600, a neighbour of a, is dead: nothing new for 30 min"
    assert row["data"] == {"pool": "main", "neighbour": "tcp://192.0.2.7:15600", "quiet": 1800.0}

    async def fires() -> bool:
        alerts = (await api.get("/api/v1/alerts")).json()["alerts"]
        return any((one["rule"], one["subject"]) == ("neighbour-dead", "node/a") for one in alerts)

    desk.look(Status.UP)
    await until(fires, what="the alert")
    back = {**report, "dead": False}
    assert (await api.post("/api/v1/events/neighbours", json=back)).status_code == 204
    await until(lambda: _has(api, "neighbour-back"), what="the other event")


@pytest.mark.parametrize(
    ("change", "status"),
    [({"node": "gone"}, 404), ({"neighbour": "two words"}, 422), ({"neighbour": "\x1b[2J"}, 422), ({"quiet": -1}, 422), ({"more": 1}, 422)],
)  # fmt: skip
async def test_a_report_that_cannot_be_is_refused(
    api: httpx.AsyncClient, change: dict[str, Any], status: int
) -> None:
    report = {"node": "a", "neighbour": "tcp://192.0.2.7:15600", "dead": True, **change}
    assert (await api.post("/api/v1/events/neighbours", json=report)).status_code == status


async def _has(api: httpx.AsyncClient, kind: str) -> bool:
    return kind in await kinds(api)
