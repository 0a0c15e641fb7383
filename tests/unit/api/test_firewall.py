"""The routes of policies, clients, bans and requests."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from access_lines import raw, refused
from daemon_double import T0, DaemonDouble
from nodegate.api.app import create_app
from nodegate.dataplane.tables import Ban, ClientCount, MethodCount, RuleCount, Tables
from nodegate.model import Instant
from nodegate.policy.values import Policy

TIPS_CLOSED = 'kind = "iri"\n[methods.getTips]\ndeny = true\n'


def a_client(client: str, **fields: object) -> ClientCount:
    numbers = {
        "requests": 10, "rate": 1, "concurrent": 0, "cost_10s": 5, "cost_1m": 20, "refusals_1m": 0,
    }  # fmt: skip
    return ClientCount(**{"kind": "iri", "client": client, "key": None} | numbers | fields)  # type: ignore[arg-type]


async def test_the_policies_in_force_are_listed_and_shown_whole(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.policies.faults = ("policies/evm.toml:3: budget: unknown key",)
    listed = (await api.get("/api/v1/policies")).json()
    assert listed["faults"] == ["policies/evm.toml:3: budget: unknown key"]
    assert [(row["kind"], row["source"], row["default"]) for row in listed["policies"]] == [
        ("iri", "shipped", "deny")
    ]
    detail = (await api.get("/api/v1/policies/iri")).json()
    assert detail["version"] == daemon.policies.version("iri")
    assert detail["document"] is None
    assert Policy.model_validate(detail["effective"]) == daemon.policies.loaded("iri").policy
    assert (await api.get("/api/v1/policies/evm")).status_code == 404


async def test_an_apply_says_what_changes_and_can_be_taken_back(daemon: DaemonDouble, api: httpx.AsyncClient):
    before = daemon.policies.version("iri")
    answer = (await api.put("/api/v1/policies/iri", json={"toml": TIPS_CLOSED, "file": "mine.toml"})).json()
    assert (answer["before"], answer["version"]) == (before, daemon.policies.version("iri"))
    assert answer["differences"] == [
        {"place": "methods.getTips", "effect": "closes", "text": "closed, was open"}
    ]
    assert daemon.woken == 1
    row = (await api.get("/api/v1/policies")).json()["policies"][0]
    assert row["source"] == "mine.toml"
    assert (await api.get("/api/v1/policies/iri")).json()["document"]["methods"] == {
        "getTips": {"deny": True}
    }
    back = (await api.delete("/api/v1/policies/iri")).json()
    assert back["version"] == before
    assert back["differences"][0]["effect"] == "opens"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("kind = 'iri'\n[budgget]\nper_10s = 1", "line 2: unknown key"),
        ("kind = 'iri'\n[methods.getTips]\ndeny = false\n[methods.getTips.args.x]\nmin = 3\nmax = 1\ntype = 'integer'", "line 5: min 3 is over max 1"),
        ("kind = 'evm'\n", "not for 'iri'"),
        ("[budget]\n", "which nodes"),
        ("kind = ", "line 1: not valid TOML"),
    ],
)  # fmt: skip
async def test_a_document_with_errors_changes_nothing_and_every_line_is_named(
    daemon: DaemonDouble, api: httpx.AsyncClient, toml: str, words: str
):
    before = daemon.policies.version("iri")
    response = await api.put("/api/v1/policies/iri", json={"toml": toml})
    assert response.status_code == 422
    assert words in response.json()["error"]["message"]
    assert daemon.policies.version("iri") == before


async def test_what_haproxy_refuses_is_refused(daemon: DaemonDouble, api: httpx.AsyncClient):
    daemon.policies.refusal = "HAProxy did not take the map"
    response = await api.put("/api/v1/policies/iri", json={"toml": TIPS_CLOSED})
    assert response.status_code == 403
    assert "did not take" in response.json()["error"]["message"]


async def test_clients_are_ranked_and_cut_and_bans_stand_beside_them(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.firewall.counts = Tables(
        clients=(
            a_client("192.0.2.1", cost_1m=10, rate=90),
            a_client("192.0.2.2", cost_1m=500),
            a_client("192.0.2.3", cost_1m=1, refusals_1m=7),
        ),
        bans=(Ban(client="192.0.2.3", until=Instant(T0 + 60), automatic=True),),
    )
    document = (await api.get("/api/v1/clients?top=2")).json()
    assert document["seen"] == 3
    assert [row["client"] for row in document["clients"]] == ["192.0.2.2", "192.0.2.1"]
    assert document["bans"] == [
        {"client": "192.0.2.3", "until": "2023-11-14T22:14:20.000Z", "automatic": True}
    ]
    by_requests = (await api.get("/api/v1/clients?by=requests&top=1")).json()["clients"]
    assert by_requests[0]["client"] == "192.0.2.1"
    by_refusals = (await api.get("/api/v1/clients?by=refusals&top=1")).json()["clients"]
    assert by_refusals[0]["banned_until"] == "2023-11-14T22:14:20.000Z"
    assert (await api.get("/api/v1/clients?by=luck")).status_code == 422


async def test_a_ban_is_made_listed_and_lifted(daemon: DaemonDouble, api: httpx.AsyncClient):
    made = await api.post("/api/v1/bans", json={"client": "192.0.2.9", "seconds": 90, "reason": "noise"})
    assert (made.status_code, made.json()["until"]) == (201, "2023-11-14T22:14:50.000Z")
    await api.post("/api/v1/bans", json={"client": "2001:db8:1:2:3::4"})
    bans = (await api.get("/api/v1/bans")).json()["bans"]
    assert [ban["client"] for ban in bans] == ["192.0.2.9", "2001:db8:1:2::"]
    lifted = await api.delete("/api/v1/bans/2001:db8:1:2::/64")
    assert lifted.json() == {"lifted": ["2001:db8:1:2::"]}
    assert (await api.delete("/api/v1/bans/192.0.2.77")).status_code == 404
    assert (await api.delete("/api/v1/bans")).json() == {"lifted": ["192.0.2.9"]}
    assert (await api.get("/api/v1/bans")).json()["bans"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"client": "everybody"}, 422),
        ({"client": "192.0.2.0/24"}, 422),
        ({"client": "192.0.2.9", "seconds": 0}, 422),
        ({"client": "192.0.2.9", "seconds": 1e12}, 422),
        ({"client": "192.0.2.9", "forever": True}, 422),
    ],
)
async def test_impossible_bans_are_refused(
    daemon: DaemonDouble, api: httpx.AsyncClient, body: dict[str, object], status: int
):
    assert (await api.post("/api/v1/bans", json=body)).status_code == status
    assert daemon.firewall.counts.bans == ()


async def test_without_haproxy_there_are_no_clients_rather_than_none(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    daemon.firewall.lost = "HAProxy does not answer"
    for path in ("/api/v1/clients", "/api/v1/bans"):
        assert (await api.get(path)).status_code == 503
    text = (await api.get("/metrics")).text
    assert "nodegate_clients" not in text
    assert "nodegate_policy_info" in text


async def test_a_scrape_reads_the_counters_and_nobody_can_make_up_labels(
    daemon: DaemonDouble, api: httpx.AsyncClient
):
    count = {"kind": "iri", "rate": 0, "errors": 2, "failures": 1, "bytes_out": 100}
    daemon.firewall.counts = Tables(
        methods=(
            MethodCount(method="getNodeInfo", requests=7, **count),  # type: ignore[arg-type]
            MethodCount(method="made up", requests=3, **count),  # type: ignore[arg-type]
            MethodCount(method="made up too", requests=4, **count),  # type: ignore[arg-type]
        ),
        rules=(
            RuleCount(kind="iri", rule="budget-10s", refused=5, rate=0),
            RuleCount(kind="gone", rule="budget-10s", refused=5, rate=0),
        ),
    )
    text = (await api.get("/metrics")).text
    assert 'nodegate_method_requests_total{kind="iri",method="getNodeInfo"} 7.0' in text
    assert 'nodegate_method_requests_total{kind="iri",method="other"} 7.0' in text
    assert 'nodegate_refused_total{kind="iri",rule="budget-10s"} 5.0' in text
    assert "made up" not in text
    assert "gone" not in text


async def test_a_request_is_explained_with_the_number_of_its_limit(
    daemon: DaemonDouble, api: httpx.AsyncClient, tmp_path: Path
):
    daemon.directory = tmp_path
    lines = (
        raw(id="fine"),
        refused(id="often", rule="rate", method="getTransactionsToApprove", status=429),
        refused(id="odd", rule="no such rule", kind="-"),
    )
    (tmp_path / "access.log").write_bytes(b"\n".join(lines) + b"\n")
    transport = httpx.ASGITransport(create_app(daemon.context()))
    async with httpx.AsyncClient(transport=transport, base_url=api.base_url, headers=api.headers) as one:
        why = (await one.get("/api/v1/requests/often")).json()
        assert why["limit"] == (
            "one client may call getTransactionsToApprove so often: 10 in 10 s, 30 in 1 min"
        )
        assert "methods.getTransactionsToApprove.rate" in why["advice"][0]
        assert (await one.get("/api/v1/requests/fine")).json()["node"] == "n1"
        assert (await one.get("/api/v1/requests/odd")).json()["limit"] is None
        missing = await one.get("/api/v1/requests/nope")
    assert missing.status_code == 404
    assert "goes back to" in json.loads(missing.text)["error"]["message"]
