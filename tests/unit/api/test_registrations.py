"""`/api/v1/registrations` and `nodegate registrations`, over the real operator's side of a portal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from daemon_double import T0, TOKEN, DaemonDouble
from nodegate.api.app import create_app
from nodegate.portal.records import Registration, State
from nodegate.portal.rows import save
from nodegate.portal.service import PortalParts, PortalService
from nodegate.protocols import adapters
from nodegate.settings import Settings

WAITING = Registration(
    id="r1", email="O@example.org", url="http://192.0.2.1:14265", address="192.0.2.1", counted_as="192.0.2.1",
    kind="iri", pool="main", state=State.WAITING, created_at=T0, confirmed_at=T0,
)  # fmt: skip


@pytest.fixture
async def service(daemon: DaemonDouble, tmp_path: Path) -> AsyncIterator[PortalService]:
    settings = Settings.model_validate(
        {
            "portal": {"listen": "127.0.0.1:9790", "public_url": "http://p.example"},
            "mail": {"server": "127.0.0.1:25"},
            "pools": {"main": {"kind": "iri"}},
        }
    )
    service = PortalService(
        PortalParts(
            settings=settings, registry=daemon.registry, adapters=adapters(), upstreams={}, clock=daemon.clock,
            snapshot=lambda: daemon.snapshot, wake=daemon.wake, directory=tmp_path,
        )
    )  # fmt: skip
    await service.store.transact(lambda db: save(db, WAITING))
    yield service
    await service.close()


@pytest.fixture
async def portal(daemon: DaemonDouble, service: PortalService) -> AsyncIterator[httpx.AsyncClient]:
    context = replace(daemon.context(), registrations=service.operator)
    transport = httpx.ASGITransport(create_app(context), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:9780/api/v1",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


async def test_without_a_portal_all_say_so(api: httpx.AsyncClient) -> None:
    for answer in (
        await api.get("/api/v1/registrations"),
        await api.post("/api/v1/registrations/r1/approve"),
        await api.get("/api/v1/registrations/bans"),
    ):
        assert answer.status_code == 403
        assert "portal.listen" in answer.json()["error"]["message"]


async def test_a_waiting_node_is_approved_once(portal: httpx.AsyncClient, daemon: DaemonDouble) -> None:
    document = (await portal.get("/registrations")).json()
    assert [row["state"] for row in document["registrations"]] == ["waiting"]
    assert document["mails"] == {"waiting": 0, "oldest_seconds": None, "error": "", "given_up": []}
    row = (await portal.post("/registrations/r1/approve")).json()
    assert (row["state"], row["node"], row["weight"]) == ("active", "192.0.2.1-14265", 10)
    assert daemon.registry.nodes["192.0.2.1-14265"].address == "192.0.2.1"
    assert (await portal.post("/registrations/r1/approve")).status_code == 409
    assert (await portal.post("/registrations/nobody/approve")).status_code == 404
    assert (await portal.get("/registrations?state=waiting")).json()["registrations"] == []
    assert (await portal.get("/registrations?state=odd")).status_code == 422


async def test_a_rejected_node_never_joins_and_its_owner_is_told(
    portal: httpx.AsyncClient, daemon: DaemonDouble
) -> None:
    row = (await portal.post("/registrations/r1/reject", json={"reason": "members only"})).json()
    assert (row["state"], row["reason"]) == ("rejected", "members only")
    assert daemon.registry.nodes == {}
    assert (await portal.get("/registrations")).json()["mails"]["waiting"] == 1
    assert (await portal.post("/registrations/r1/reject", json={})).status_code == 409


@pytest.mark.parametrize("subject", ["o@EXAMPLE.org", "@example.org", "192.0.2.1", "192.0.2.0/24"])
async def test_a_ban_ends_what_it_means_and_can_be_lifted(portal: httpx.AsyncClient, subject: str) -> None:
    made = await portal.post("/registrations/bans", json={"subject": subject, "reason": "noise"})
    assert (made.status_code, made.json()["ended"]) == (201, ["r1"])
    [ban] = (await portal.get("/registrations/bans")).json()["bans"]
    assert ban["reason"] == "noise"
    assert (await portal.delete(f"/registrations/bans/{ban['subject']}")).status_code == 200
    assert (await portal.delete(f"/registrations/bans/{ban['subject']}")).status_code == 404


@pytest.mark.parametrize("subject", ["", "nobody", "@", "a@b@c", "192.0.2.0/99", "@-x"])
async def test_what_nobody_can_be_banned_by_is_refused(portal: httpx.AsyncClient, subject: str) -> None:
    answer = await portal.post("/registrations/bans", json={"subject": subject})
    assert answer.status_code == 422
    assert answer.json()["error"]["faults"][0]["key"] == "subject"
