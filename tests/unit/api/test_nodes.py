from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon_double import T0, TOKEN, DaemonDouble, a_server, a_verdict, an_iri
from nodegate.api.app import create_app
from nodegate.model import Instant, Intent, Observation, Reading, Seconds, ServerTraffic, Source, Status

ROW = {
    "id",
    "url",
    "kind",
    "pool",
    "intent",
    "status",
    "reasons",
    "height",
    "lag",
    "latency_ms",
    "since",
    "source",
}
NEW = {"url": "http://192.0.2.7:14265", "kind": "iri"}


def faults_of(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {fault["key"]: fault["message"] for fault in response.json()["error"]["faults"]}


async def test_a_node_row_says_what_was_declared_and_how_the_node_is(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.traffic["a"] = ServerTraffic(requests=12, errors=1, sessions=2)
    verdict = a_verdict(
        "a", Status.DEGRADED, reasons=("2 behind",), height=98, lag=2, latency=Seconds(0.0123)
    )
    daemon.add(an_iri("a", weight=50), verdict, a_server("a", sessions=2))

    document = (await api.get("/api/v1/nodes")).json()

    assert list(document) == ["nodes"]
    [row] = document["nodes"]
    assert set(row) >= ROW
    assert {key: row[key] for key in sorted(ROW)} == {
        "height": 98,
        "id": "a",
        "intent": "serve",
        "kind": "iri",
        "lag": 2,
        "latency_ms": 12.3,
        "pool": "main",
        "reasons": ["2 behind"],
        "since": "2023-11-14T22:03:20.000Z",
        "source": "registry",
        "status": "degraded",
        "url": "http://192.0.2.1:14265",
    }
    assert (row["weight"], row["serving"], row["sessions"], row["requests"], row["errors"]) == (
        50,
        True,
        2,
        12,
        1,
    )


async def test_the_list_can_be_narrowed_by_pool_kind_and_status(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.add(an_iri("b", pool="old"), a_verdict("b", Status.DOWN, reasons=("gone",)))
    daemon.add(an_iri("c", pool="eth", kind="evm"), a_verdict("c"))

    async def ids(**query: str) -> list[str]:
        return [row["id"] for row in (await api.get("/api/v1/nodes", params=query)).json()["nodes"]]

    assert await ids() == ["a", "b", "c"]
    assert await ids(pool="old") == ["b"]
    assert await ids(kind="evm") == ["c"]
    assert await ids(status="up") == ["a", "c"]
    assert await ids(status="up", kind="iri") == ["a"]
    assert await ids(pool="none") == []


async def test_a_status_that_does_not_exist_is_a_fault_of_the_query(api: httpx.AsyncClient):
    response = await api.get("/api/v1/nodes", params={"status": "fine"})
    assert list(faults_of(response)) == ["query status"]


async def test_one_node_comes_with_its_probe_its_servers_and_its_version(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    stored = daemon.add(an_iri("a"), a_verdict("a"), a_server("a"))
    seen = Observation(
        node_id="a", at=T0, duration=Seconds(0.5), outcome=Reading(height=9, claimed_tip=10, app="IRI")
    )
    daemon.snapshot = replace(daemon.snapshot, observations={"a": seen})

    response = await api.get("/api/v1/nodes/a")

    assert response.headers["etag"] == f'"{stored.version}"'
    detail = response.json()
    assert detail["observed"]["claimed_tip"] == 10
    assert detail["observed"]["failure"] is None
    assert detail["observed"]["duration_ms"] == 500
    assert detail["servers"] == [
        {
            "backend": "pool_main",
            "address": "192.0.2.1",
            "port": 14265,
            "weight": 100,
            "state": "ready",
            "marked_down": False,
            "sessions": 0,
        }
    ]


async def test_a_node_that_does_not_exist_is_not_found(api: httpx.AsyncClient):
    for answer in (
        await api.get("/api/v1/nodes/nope"),
        await api.patch("/api/v1/nodes/nope", json={"weight": 1}),
        await api.delete("/api/v1/nodes/nope"),
        await api.delete("/api/v1/nodes/nope", params={"now": "true"}),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert "nope" in answer.json()["error"]["message"]


async def test_an_added_node_is_stored_named_and_at_once_listed(daemon: DaemonDouble, api: httpx.AsyncClient):
    response = await api.post("/api/v1/nodes", json=NEW | {"weight": 7, "maxconn": 3, "tls_verify": False})

    assert response.status_code == 201
    assert response.headers["location"] == "/api/v1/nodes/192.0.2.7-14265"
    assert response.headers["etag"] == '"1"'
    assert response.json()["status"] == "unknown"
    held = daemon.registry.nodes["192.0.2.7-14265"]
    assert (held.weight, held.maxconn, held.tls_verify, held.pool, held.intent) == (
        7,
        3,
        False,
        "main",
        Intent.SERVE,
    )
    assert daemon.woken == 1
    listed = (await api.get(response.headers["location"])).json()
    assert listed["id"] == "192.0.2.7-14265"
    assert listed["reasons"] == ["not probed yet"]
    assert listed["since"] is None


async def test_an_id_that_is_taken_is_a_conflict_and_changes_nothing(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    before = daemon.add(an_iri("a"))
    response = await api.post("/api/v1/nodes", json=NEW | {"id": "a"})
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "conflict"
    assert "'a'" in response.json()["error"]["message"]
    assert daemon.registry.nodes["a"] == before


async def test_an_id_that_somebody_takes_in_the_same_moment_is_a_conflict(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.registry.rivals = [lambda: daemon.registry.store(an_iri("a", weight=1))]
    response = await api.post("/api/v1/nodes", json=NEW | {"id": "a"})
    assert response.status_code == 409
    assert daemon.registry.nodes["a"].weight == 1


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"kind": "iri"}, "url"),
        ({"url": "http://192.0.2.1"}, "kind"),
        (NEW | {"url": "ftp://192.0.2.1"}, "url"),
        (NEW | {"url": "http://user:secret@192.0.2.1"}, "url"),
        (NEW | {"kind": "irc"}, "kind"),
        (NEW | {"id": "a b"}, "id"),
        (NEW | {"pool": "../x"}, "pool"),
        (NEW | {"weight": 257}, "weight"),
        (NEW | {"weight": "100"}, "weight"),
        (NEW | {"weight": True}, "weight"),
        (NEW | {"maxconn": 0}, "maxconn"),
        (NEW | {"tls_verify": "no"}, "tls_verify"),
        (NEW | {"intent": "dance"}, "intent"),
        (NEW | {"options": {"nonsense": 1}}, "options.nonsense"),
        (NEW | {"options": {"check_exposed": [1]}}, "options.check_exposed"),
        (NEW | {"wieght": 1}, "wieght"),
        (NEW | {"source": "file"}, "source"),
        (NEW | {"url": "http://192.0.2.1/api"}, "url"),
    ],
)
async def test_a_bad_document_is_refused_with_the_path_of_the_field(
    daemon: DaemonDouble, api: httpx.AsyncClient, document: dict[str, object], key: str
):
    assert key in faults_of(await api.post("/api/v1/nodes", json=document))
    assert daemon.registry.nodes == {}
    assert daemon.woken == 0


async def test_every_fault_of_a_document_is_named_not_only_the_first(api: httpx.AsyncClient):
    found = faults_of(
        await api.post("/api/v1/nodes", json={"url": "x", "kind": "iri", "weight": -1, "colour": 1})
    )
    assert set(found) == {"url", "weight", "colour"}
    assert found["colour"] == "unknown field"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"url":"http://192.0.2.1","kind":"iri","weight":NaN}',
        b'{"url":"http://192.0.2.1","kind":"iri","kind":"evm"}',
        b'{"url":"http://192.0.2.1","kind":"iri","weight":' + b"9" * 5000 + b"}",
        b'{"url":"http://192.0.2.1\\ud800","kind":"iri"}',
        b'{"url":"http://192.0.2.1","kind":"iri","options":{"x":"\\ud800"}}',
        b'{"url":' * 5000,
        b"[" * 60_000,
        b"\xff\xfe{}",
        b"\x00",
    ],
)
async def test_a_body_that_is_no_json_document_is_refused(
    daemon: DaemonDouble, api: httpx.AsyncClient, body: bytes
):
    response = await api.post("/api/v1/nodes", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert response.json()["error"]["message"]
    assert daemon.registry.nodes == {}


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.dictionaries(
            st.sampled_from(["url", "kind", "id", "options", "weight", "intent", "x"]) | st.text(max_size=3),
            inner,
        )
        | st.lists(inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def shared() -> tuple[DaemonDouble, FastAPI]:
    daemon = DaemonDouble()
    return daemon, create_app(daemon.context())


@given(body=st.binary(max_size=200) | JSON_LIKE.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=150, deadline=None)
async def test_no_bytes_make_a_request_fail_by_our_own_fault(
    shared: tuple[DaemonDouble, FastAPI], body: bytes
):
    daemon, app = shared
    daemon.registry.nodes = {"a": an_iri("a", version=1)}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers
    ) as api:
        for response in (
            await api.post("/api/v1/nodes", content=body, params={"wait": 0}),
            await api.patch("/api/v1/nodes/a", content=body, params={"wait": 0}),
        ):
            assert response.status_code in {200, 201, 409, 422}
            assert response.status_code < 300 or response.json()["error"]["message"]


async def test_a_pool_holds_one_kind(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.add(an_iri("a"))
    assert "kind" in faults_of(await api.post("/api/v1/nodes", json=NEW | {"kind": "evm"}))
    assert (await api.post("/api/v1/nodes", json=NEW | {"kind": "evm", "pool": "eth"})).status_code == 201
    assert "pool" in str(faults_of(await api.patch("/api/v1/nodes/a", json={"pool": "eth"})))


async def test_a_patch_changes_only_what_it_names(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.add(an_iri("a", weight=50, maxconn=9, options={"check_exposed": True}))
    response = await api.patch("/api/v1/nodes/a", json={"intent": "drain"})
    assert response.status_code == 200
    assert response.json()["intent"] == "drain"
    assert daemon.registry.nodes["a"] == an_iri(
        "a", weight=50, maxconn=9, options={"check_exposed": True}, intent=Intent.DRAIN, version=2
    )
    await api.patch("/api/v1/nodes/a", json={"maxconn": None, "weight": 0})
    assert (daemon.registry.nodes["a"].maxconn, daemon.registry.nodes["a"].weight) == (None, 0)


async def test_a_patch_that_changes_nothing_writes_nothing(daemon: DaemonDouble, api: httpx.AsyncClient):
    stored = daemon.add(an_iri("a"))
    assert (await api.patch("/api/v1/nodes/a", json={"intent": "serve"})).status_code == 200
    assert (await api.patch("/api/v1/nodes/a", json={})).status_code == 200
    assert daemon.registry.nodes["a"].version == stored.version


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"id": "b"}, "id"),
        ({"version": 3}, "version"),
        ({"source": "file"}, "source"),
        ({"intent": None}, "intent"),
        ({"weight": None}, "weight"),
        ({"url": "http://192.0.2.1:0"}, "url"),
        ({"kind": "irc"}, "kind"),
    ],
)
async def test_a_bad_change_is_refused_with_the_path_of_the_field(
    daemon: DaemonDouble, api: httpx.AsyncClient, changes: dict[str, object], key: str
):
    stored = daemon.add(an_iri("a"))
    assert key in faults_of(await api.patch("/api/v1/nodes/a", json=changes))
    assert daemon.registry.nodes["a"] == stored


async def test_if_match_writes_only_to_the_version_that_the_caller_saw(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    stored = daemon.add(an_iri("a"))
    stale = await api.patch(
        "/api/v1/nodes/a", json={"weight": 1}, headers={"If-Match": f'"{stored.version + 1}"'}
    )
    assert stale.status_code == 409
    assert daemon.registry.nodes["a"].weight == 100
    fresh = await api.patch(
        "/api/v1/nodes/a", json={"weight": 1}, headers={"If-Match": f'"{stored.version}"'}
    )
    assert fresh.status_code == 200
    assert fresh.headers["etag"] == f'"{daemon.registry.nodes["a"].version}"'
    assert (await api.delete("/api/v1/nodes/a", headers={"If-Match": "1"})).status_code == 409
    assert "If-Match" in faults_of(await api.delete("/api/v1/nodes/a", headers={"If-Match": "W/x"}))
    assert (
        await api.patch("/api/v1/nodes/a", json={"weight": 2}, headers={"If-Match": "*"})
    ).status_code == 200


async def test_a_lost_race_is_run_again_on_what_the_winner_wrote(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a"))
    daemon.registry.rivals = [lambda: daemon.registry.store(replace(daemon.registry.nodes["a"], weight=3))]
    assert (await api.patch("/api/v1/nodes/a", json={"intent": "drain"})).status_code == 200
    assert (daemon.registry.nodes["a"].weight, daemon.registry.nodes["a"].intent) == (3, Intent.DRAIN)


async def test_a_race_lost_with_if_match_is_the_callers_to_run_again(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    stored = daemon.add(an_iri("a"))
    daemon.registry.rivals = [lambda: daemon.registry.store(replace(daemon.registry.nodes["a"], weight=3))]
    response = await api.patch(
        "/api/v1/nodes/a", json={"intent": "drain"}, headers={"If-Match": str(stored.version)}
    )
    assert response.status_code == 409
    assert daemon.registry.nodes["a"].intent is Intent.SERVE


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_storm_of_writers_ends_in_a_conflict_not_in_a_loop(
    daemon: DaemonDouble, api: httpx.AsyncClient, method: str
):
    daemon.add(an_iri("a"))

    def rival() -> None:
        daemon.registry.store(replace(daemon.registry.nodes["a"], weight=(daemon.registry.index % 200)))

    daemon.registry.rivals = [rival] * 50
    body = {"json": {"intent": "drain"}} if method == "PATCH" else {"params": {"now": "true"}}
    response = await api.request(method, "/api/v1/nodes/a", **body)  # type: ignore[arg-type]
    assert response.status_code == 409
    assert "same time" in response.json()["error"]["message"]
    assert len(daemon.registry.rivals) > 30


async def test_delete_drains_first_and_forgets_later(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.add(an_iri("a"))
    response = await api.delete("/api/v1/nodes/a")
    assert response.status_code == 202
    assert response.json()["intent"] == "remove"
    assert daemon.registry.nodes["a"].intent is Intent.REMOVE
    again = await api.post("/api/v1/nodes", json=NEW | {"id": "a"})
    assert again.status_code == 409
    assert "being removed" in again.json()["error"]["message"]


async def test_delete_now_forgets_at_once(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.add(an_iri("a"))
    response = await api.delete("/api/v1/nodes/a", params={"now": "true"})
    assert (response.status_code, response.content) == (204, b"")
    assert daemon.registry.nodes == {}
    assert (await api.get("/api/v1/nodes/a")).status_code == 404


async def test_a_declared_node_can_be_drained_and_not_removed_or_changed(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a", source=Source.FILE))
    for refused in (
        await api.delete("/api/v1/nodes/a"),
        await api.delete("/api/v1/nodes/a", params={"now": "true"}),
        await api.patch("/api/v1/nodes/a", json={"intent": "remove"}),
        await api.patch("/api/v1/nodes/a", json={"weight": 5}),
    ):
        assert refused.status_code == 403
        assert "nodegate.toml" in refused.json()["error"]["message"]
    assert (await api.patch("/api/v1/nodes/a", json={"intent": "drain"})).status_code == 200
    assert daemon.registry.nodes["a"].intent is Intent.DRAIN


async def test_a_lost_registry_is_unavailable_for_writers_and_hides_nothing_from_readers(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.registry.lost = "registry.db is locked by another process"
    for refused in (
        await api.post("/api/v1/nodes", json=NEW),
        await api.patch("/api/v1/nodes/a", json={"weight": 1}),
        await api.delete("/api/v1/nodes/a"),
    ):
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert "locked" in refused.json()["error"]["message"]
    assert [row["id"] for row in (await api.get("/api/v1/nodes")).json()["nodes"]] == ["a"]


async def test_a_write_answers_in_time_although_no_pass_sees_it(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.asleep = True
    response = await api.post("/api/v1/nodes", json=NEW, params={"wait": 0.05})
    assert response.status_code == 201
    assert response.json()["id"] == "192.0.2.7-14265"
    assert "query wait" in faults_of(await api.post("/api/v1/nodes", json=NEW, params={"wait": 1e9}))


async def test_times_and_heights_that_no_calendar_has_do_not_break_a_view(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a"), a_verdict("a", since=Instant(1e30)))
    seen = Observation(
        node_id="a", at=T0, duration=Seconds(0), outcome=Reading(head_time=Instant(float("nan")))
    )
    daemon.snapshot = replace(daemon.snapshot, observations={"a": seen})
    detail = (await api.get("/api/v1/nodes/a")).json()
    assert detail["since"] is None
    assert detail["observed"]["head_time"] is None
