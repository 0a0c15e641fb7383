from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from daemon_double import TOKEN, DaemonDouble
from nodegate.api.app import create_app
from nodegate.daemon.history import History
from nodegate.dashboard import door
from nodegate.dashboard.door import Dashboard
from nodegate.dashboard.passwords import Passwords
from nodegate.dashboard.roles import Role
from nodegate.settings import GatewaySettings, Settings


def browser(daemon: DaemonDouble) -> httpx.AsyncClient:
    context = daemon.context()
    app = create_app(context, doors=Dashboard(context, History()).doors)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9780")


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonDouble:
    return DaemonDouble(directory=tmp_path)


async def test_the_root_leads_to_the_dashboard_and_that_to_the_login(daemon: DaemonDouble) -> None:
    async with browser(daemon) as client:
        assert (await client.get("/")).headers["location"] == "/ui/"
        assert (await client.get("/ui/")).headers["location"].startswith("/ui/login")


async def test_a_session_is_no_key_to_the_api(daemon: DaemonDouble) -> None:
    async with browser(daemon) as client:
        headers = {"Origin": "http://127.0.0.1:9780"}
        assert (await client.post("/ui/login", data={"password": TOKEN}, headers=headers)).status_code == 303
        assert (await client.get("/api/v1/nodes")).status_code == 401
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/uix/")).status_code == 401


async def test_a_foreign_host_name_is_refused_here_too(daemon: DaemonDouble) -> None:
    async with browser(daemon) as client:
        for path in ("/", "/ui/", "/ui/login"):
            assert (await client.get(path, headers={"Host": "evil.example"})).status_code == 421


async def test_a_named_host_is_taken_where_the_listener_is_open_to_others(tmp_path: Path) -> None:
    settings = Settings(gateway=GatewaySettings(admin="0.0.0.0:9780"))
    async with browser(DaemonDouble(settings=settings, directory=tmp_path)) as client:
        assert (await client.get("/ui/login", headers={"Host": "gateway.example"})).status_code == 200


async def test_without_nicegui_the_page_says_how_to_get_it(
    daemon: DaemonDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "installed", lambda: False)
    async with browser(daemon) as client:
        answer = await client.get("/ui/")
        assert answer.status_code == 501
        assert "nodegate[dashboard]" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_login_says_how_to_set_a_password_until_one_is(daemon: DaemonDouble) -> None:
    async with browser(daemon) as client:
        before = (await client.get("/ui/login", headers={"Accept": "text/html"})).text
        Passwords(daemon.directory).put(Role.OPERATOR, "correct horse battery")
        after = (await client.get("/ui/login")).text
    assert "nodegate password set" in before
    assert "nodegate password set" not in after
