from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from daemon_double import T0, TOKEN, DaemonDouble, a_verdict, an_iri
from nodegate.api.app import create_app
from nodegate.daemon.history import LATENCY, REQUESTS, History
from nodegate.model import Instant
from nodegate.views import iso

P99 = f"{LATENCY}/p99"


@pytest.fixture
def past(daemon: DaemonDouble) -> History:
    """Ten minutes of a latency that rises by one each second."""
    daemon.add(an_iri("a"), a_verdict("a", height=7, latency=0.25))
    history = History()
    for second in range(600):
        daemon.clock.forward(1)
        daemon.refresh()
        history.take(daemon.snapshot, daemon.clock.now())
        history.put(P99, second, daemon.clock.now())
    history.refused({"too-big": 1, "banned": 2}, T0)
    history.refused({"too-big": 1, "banned": 2}, daemon.clock.now())
    return history


@pytest.fixture
async def api(daemon: DaemonDouble, past: History) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(replace(daemon.context(), history=past)))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:9780", headers=headers
    ) as api:
        yield api


async def test_without_a_series_only_their_names_are_told(api: httpx.AsyncClient, past: History) -> None:
    document = (await api.get("/api/v1/history")).json()
    assert document["names"] == list(past.names())
    assert {REQUESTS, "nodes/up", "refusals/too-big"} <= set(document["names"])
    assert document["series"] == []


async def test_series_are_what_the_history_has_since_an_hour_in_so_many_points(
    api: httpx.AsyncClient, past: History, daemon: DaemonDouble
) -> None:
    [row] = (await api.get("/api/v1/history", params={"series": P99, "points": 10})).json()["series"]
    since = Instant(daemon.clock.now() - 3600)
    expected = past.series(P99, since=since, points=10)
    assert len(expected) == 10
    assert row["points"] == [{"at": iso(point.at), "value": point.value} for point in expected]
    assert (row["name"], row["node"]) == (P99, None)
    recent = {"series": P99, "points": 3600, "since": str(daemon.clock.now() - 9)}
    document = (await api.get("/api/v1/history", params=recent)).json()
    assert document["since"] == iso(Instant(daemon.clock.now() - 9))
    assert [point["value"] for point in document["series"][0]["points"]] == [
        float(n) for n in range(590, 600)
    ]


async def test_patterns_choose_several_and_what_there_is_not_is_left_out(api: httpx.AsyncClient) -> None:
    query = [("series", "refusals/*"), ("series", "nodes/up"), ("series", "nothing")]
    document = (await api.get("/api/v1/history", params=query)).json()
    assert [row["name"] for row in document["series"]] == ["nodes/up", "refusals/banned", "refusals/too-big"]


async def test_a_nodes_height_and_latency_are_told_and_a_stranger_is_not_found(
    api: httpx.AsyncClient,
) -> None:
    document = (await api.get("/api/v1/history?node=a")).json()
    found = {row["name"]: {point["value"] for point in row["points"]} for row in document["series"]}
    assert found == {"height": {7.0}, "latency": {0.25}}
    assert {row["node"] for row in document["series"]} == {"a"}
    missing = await api.get("/api/v1/history?node=b")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "there is no node 'b'")


@pytest.mark.parametrize("query", ["points=0", "points=3601", "since=-1", "points=many"])
async def test_what_makes_no_sense_is_refused(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/api/v1/history?{query}")).status_code == 422


async def test_a_daemon_without_history_says_so(anyone: httpx.AsyncClient) -> None:
    anyone.headers["Authorization"] = f"Bearer {TOKEN}"
    answer = await anyone.get("/api/v1/history")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
