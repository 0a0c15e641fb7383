from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from daemon_double import TOKEN, DaemonDouble, an_iri
from nodegate.api.app import create_app
from nodegate.api.guard import MAX_BODY, OPEN, Guard
from nodegate.settings import GatewaySettings, Settings

GUARDED = [
    ("GET", "/api/v1/nodes"),
    ("POST", "/api/v1/nodes"),
    ("GET", "/api/v1/nodes/a"),
    ("PATCH", "/api/v1/nodes/a"),
    ("DELETE", "/api/v1/nodes/a"),
    ("GET", "/api/v1/plan"),
    ("GET", "/api/v1/status"),
    ("GET", "/metrics"),
    ("GET", "/metrics/haproxy"),
    ("GET", "/nothing/here"),
    ("OPTIONS", "/api/v1/nodes"),
]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \u00fcmlaut",
    ],
)
async def test_without_the_token_nothing_is_told_and_nothing_is_done(
    daemon: DaemonDouble, anyone: httpx.AsyncClient, authorization: str | None
):
    stored = daemon.add(an_iri("a"))
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    for method, path in GUARDED:
        response = await anyone.request(method, path, headers=headers)
        assert response.status_code == 401, (method, path)
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["error"]["code"] == "unauthorized"
        assert TOKEN not in response.text
    assert daemon.registry.nodes == {"a": stored}


async def test_every_route_is_guarded_unless_it_is_named_open(
    daemon: DaemonDouble, anyone: httpx.AsyncClient
):
    app = create_app(daemon.context())
    paths = set(app.openapi()["paths"])
    assert OPEN - paths == {"/api/docs", "/api/openapi.json"}
    for path in paths:
        answer = await anyone.get(path.replace("{id}", "a"))
        assert (answer.status_code == 401) == (path not in OPEN), path


async def test_the_scheme_is_read_in_any_case(anyone: httpx.AsyncClient):
    response = await anyone.get("/api/v1/status", headers={"Authorization": f"bEaReR  {TOKEN}"})
    assert response.status_code == 200


def test_an_api_without_a_token_cannot_be_made(daemon: DaemonDouble):
    with pytest.raises(ValueError, match="token"):
        Guard(create_app(daemon.context()), token="", admin="127.0.0.1:9780")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9780", 200),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:9780", 200),
        ("192.0.2.1", 200),
        ("rebound.example:9780", 421),
        ("127.0.0.1.rebound.example", 421),
        ("localhost.rebound.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
async def test_a_name_that_is_not_ours_is_refused_on_the_loopback(
    api: httpx.AsyncClient, host: str, status: int
):
    assert (await api.get("/api/v1/status", headers={"Host": host})).status_code == status
    assert (await api.get("/healthz", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("admin", "host", "status"),
    [
        ("gate.example:9780", "gate.example:9780", 200),
        ("0.0.0.0:9780", "gate.example", 200),
        ("*:9780", "gate.example", 200),
        ("[::]:9780", "gate.example", 200),
        ("localhost:9780", "gate.example", 421),
        ("[::1]:9780", "gate.example", 421),
    ],
)
async def test_a_listener_for_other_machines_may_be_called_by_any_name(admin: str, host: str, status: int):
    daemon = DaemonDouble(settings=Settings(gateway=GatewaySettings(admin=admin)))
    transport = httpx.ASGITransport(create_app(daemon.context()))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as anyone:
        assert (await anyone.get("/healthz")).status_code == status


async def test_a_body_over_the_bound_is_refused_declared_or_not(daemon: DaemonDouble, api: httpx.AsyncClient):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            nonlocal taken
            taken += 1
            yield b" " * 1024

    taken = 0
    json_type = {"Content-Type": "application/json"}
    for content in (b" " * (MAX_BODY + 1), endless()):
        response = await api.post("/api/v1/nodes", content=content, headers=json_type)
        assert response.status_code == 413
        assert str(MAX_BODY) in response.json()["error"]["message"]
    assert taken <= MAX_BODY // 1024 + 2
    assert daemon.registry.nodes == {}


async def test_a_chunked_body_within_the_bound_is_read_whole(daemon: DaemonDouble, api: httpx.AsyncClient):
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"url":"http://192.0.2', b'.7:14265","kind"', b':"iri"}'):
            yield piece

    response = await api.post("/api/v1/nodes", content=pieces(), headers={"Content-Type": "application/json"})
    assert response.status_code == 201
    assert list(daemon.registry.nodes) == ["192.0.2.7-14265"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
async def test_a_body_that_a_web_form_could_send_is_refused(api: httpx.AsyncClient, kind: str):
    response = await api.post(
        "/api/v1/nodes", content=b'{"url":"http://192.0.2.1","kind":"iri"}', headers={"Content-Type": kind}
    )
    assert response.status_code == 415


@pytest.mark.parametrize(
    "path", ["/healthz", "/api/v1/nodes", "/api/v1/nodes/nope", "/api/docs", "/metrics", "/x"]
)
async def test_every_answer_forbids_framing_sniffing_and_storing_and_allows_no_other_origin(
    anyone: httpx.AsyncClient, path: str
):
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        response = await anyone.get(path, headers={"Origin": "http://evil.example", **headers})
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_fault_of_our_own_is_said_without_its_details(daemon: DaemonDouble, api: httpx.AsyncClient):
    async def broken() -> object:
        raise RuntimeError("secret detail")

    daemon.registry.read = broken  # type: ignore[method-assign,assignment]
    response = await api.post("/api/v1/nodes", json={"url": "http://192.0.2.1", "kind": "iri"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_wrong_paths_and_methods_answer_in_the_same_form(api: httpx.AsyncClient):
    missing = await api.get("/api/v2/nodes")
    assert missing.status_code == 404
    assert "/api/v2/nodes" in missing.json()["error"]["message"]
    wrong = await api.put("/api/v1/nodes/a", json={})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]
