from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from daemon_double import T0, DaemonDouble, a_server, a_verdict, an_iri
from nodegate import __version__
from nodegate.api.app import create_app
from nodegate.model import Change, ChangeKind, Instant, Plan, Snapshot, Status, Withheld

DOCS = Path(__file__).parents[3] / "docs" / "admin-api.md"


async def test_the_plan_names_each_change_its_reason_and_what_is_withheld(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    change = Change(
        kind=ChangeKind.SET_WEIGHT, why="a is degraded: 2 behind", server=a_server("a", weight=10)
    )
    held = Withheld(
        change=Change(kind=ChangeKind.SET_STATE, why="b is down", server=a_server("b")),
        rule="panic threshold",
        why="3 of 5 nodes (60 %) would be out, the limit is 50 %",
    )
    daemon.plan = Plan(changes=(change,), withheld=(held,))
    daemon.facts = {"refused": ("add pool_main/c: no such backend",)}
    daemon.refresh()

    document = (await api.get("/api/v1/plan")).json()

    assert document["changes"] == [
        {
            "kind": "set weight",
            "what": "set weight pool_main/a to 10",
            "why": "a is degraded: 2 behind",
            "node": "a",
            "backend": "pool_main",
        }
    ]
    assert document["withheld"][0]["rule"] == "panic threshold"
    assert document["withheld"][0]["change"]["node"] == "b"
    assert "60 %" in document["withheld"][0]["why"]
    assert document["refused"] == ["add pool_main/c: no such backend"]


async def test_the_status_shows_ages_that_grow_while_no_pass_is_made(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a"))
    daemon.add(an_iri("b"), a_verdict("b", Status.DOWN, reasons=("gone",)))
    first = (await api.get("/api/v1/status")).json()
    daemon.clock.forward(40)
    later = (await api.get("/api/v1/status")).json()

    assert (first["state"], first["version"], first["uptime_seconds"]) == ("ok", __version__, 3600)
    assert (later["pass_age_seconds"], later["registry"]["age_seconds"]) == (40, 40)
    [pool] = first["pools"]
    assert (pool["name"], pool["nodes"], pool["up"], pool["down"], pool["serving"]) == ("main", 2, 1, 1, 1)
    assert first["haproxy"]["pid"] == 4711


async def test_the_status_says_what_is_wrong_in_words(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.facts = {"registry_error": "registry.db is locked", "haproxy_error": "no answer on haproxy.sock"}
    daemon.refresh()
    document = (await api.get("/api/v1/status")).json()
    assert document["state"] == "impaired"
    assert document["registry"]["ok"] is False
    assert document["registry"]["text"].startswith("registry.db is locked; the inventory of 0.0 s ago stays")
    assert document["haproxy"]["text"] == "no answer on haproxy.sock"
    assert document["faults"] == ["registry: registry.db is locked", "HAProxy: no answer on haproxy.sock"]


async def test_before_the_first_pass_all_answers_and_nothing_is_ready(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.snapshot = Snapshot(at=T0, started_at=T0)
    status = (await api.get("/api/v1/status")).json()
    assert status["state"] == "starting"
    assert status["registry"]["nodes"] is None
    assert status["pools"] == []
    assert (await api.get("/api/v1/nodes")).json() == {"nodes": []}
    assert (await api.get("/api/v1/plan")).json()["changes"] == []
    assert (await api.get("/readyz")).status_code == 503
    assert (await api.get("/healthz")).status_code == 200


async def test_readiness_and_health_need_no_token(daemon: DaemonDouble, anyone: httpx.AsyncClient):
    for path in ("/healthz", "/readyz"):
        assert (await anyone.get(path)).json()["ok"] is True
        head = await anyone.head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert "nodes" not in (await anyone.get("/healthz")).text


async def test_a_daemon_that_makes_no_pass_for_a_minute_is_not_healthy(
    daemon: DaemonDouble, anyone: httpx.AsyncClient
):
    daemon.clock.forward(60)
    assert (await anyone.get("/healthz")).status_code == 200
    daemon.clock.forward(1)
    response = await anyone.get("/healthz")
    assert response.status_code == 503
    assert response.json() == {"ok": False, "text": "no pass for 61 s"}


async def test_metrics_come_in_the_format_that_the_scraper_asks_for(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.add(an_iri("a"), a_verdict("a"))
    text = await api.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    assert 'nodegate_nodes{kind="iri",pool="main",status="up"} 1.0' in text.text
    modern = await api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


async def test_haproxys_own_metrics_pass_through_or_are_said_to_be_unavailable(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    assert (await api.get("/metrics/haproxy")).text == "# HELP haproxy_up\nhaproxy_up 1\n"
    daemon.haproxy_text = None
    response = await api.get("/metrics/haproxy")
    assert response.status_code == 503
    assert "exporter" in response.json()["error"]["message"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in {"href", "src"}:
                self.links.add(value or "")


async def test_the_documentation_page_works_without_a_network_and_names_every_request(
    daemon: DaemonDouble, anyone: httpx.AsyncClient
):
    response = await anyone.get("/api/docs")
    assert response.headers["content-type"].startswith("text/html")
    page = _Page()
    page.feed(response.text)
    assert "script" not in page.tags
    assert {link for link in page.links if not link.startswith("#")} == {"openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    schema = (await anyone.get("/api/openapi.json")).json()
    for path, operations in schema["paths"].items():
        for method in operations:
            assert f'<span class="method">{method}</span> <code>{path}</code>' in response.text


async def test_the_schema_says_which_requests_need_the_token(anyone: httpx.AsyncClient):
    schema = (await anyone.get("/api/openapi.json")).json()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == (path not in {"/healthz", "/readyz"}), path


def test_docs_admin_api_describes_every_request_and_no_other(daemon: DaemonDouble):
    schema = create_app(daemon.context()).openapi()
    served = {
        f"{method.upper()} {path}" for path, operations in schema["paths"].items() for method in operations
    }
    headings = re.findall(r"^### `([A-Z]+ /\S*)`$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted({*served, "GET /api/docs", "GET /api/openapi.json"})


@pytest.mark.parametrize(
    "name",
    [
        "NodeRow",
        "StatusDocument",
        "PlanDocument",
        "NodeDocument",
        "NodeChanges",
        "PolicyRow",
        "PolicyDetail",
        "PolicyApplied",
        "ClientRow",
        "BanRow",
        "Explanation",
    ],
)
def test_docs_admin_api_names_every_field_of_the_main_documents(daemon: DaemonDouble, name: str):
    fields = create_app(daemon.context()).openapi()["components"]["schemas"]
    schema = fields.get(name) or fields["NodeDetail"]
    text = DOCS.read_text(encoding="utf-8")
    assert [field for field in schema["properties"] if f"`{field}`" not in text] == []


async def test_ten_thousand_nodes_are_listed_whole(daemon: DaemonDouble, api: httpx.AsyncClient):
    nodes = tuple(an_iri(f"n{number:05}", version=1) for number in range(10_000))
    inventory = replace(daemon.registry.inventory(), nodes=nodes)
    daemon.snapshot = replace(daemon.snapshot, inventory=inventory, at=Instant(T0))
    rows = (await api.get("/api/v1/nodes")).json()["nodes"]
    assert [row["id"] for row in rows] == [node.id for node in nodes]
