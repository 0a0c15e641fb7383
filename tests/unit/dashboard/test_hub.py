from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from daemon_double import DaemonDouble, a_verdict, an_iri
from nodegate.daemon.history import History
from nodegate.dashboard import hub as hubs
from nodegate.dashboard.hub import Hub, Look
from nodegate.dashboard.sessions import Sessions
from nodegate.dashboard.source import Source
from nodegate.errors import Unavailable
from support import until


@pytest.fixture
def daemon() -> DaemonDouble:
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    return daemon


@pytest.fixture
def hub(daemon: DaemonDouble) -> Hub:
    sessions = Sessions(idle=60, longest=600, still_true=lambda role, proof: True)
    return Hub(Source(context=daemon.context(), history=History(), sessions=sessions, now=lambda: 0.0))


async def test_a_look_shows_what_the_daemon_knows(hub: Hub, daemon: DaemonDouble) -> None:
    look = await hub.now()
    assert list(look.rows) == ["a"]
    assert look.status.state == "ok"
    assert look.tables is not None
    daemon.add(an_iri("b"))
    assert list((await hub.now()).rows) == ["a"]  # fresh enough
    daemon.clock.forward(hubs.EVERY)
    assert list((await hub.now()).rows) == ["a", "b"]


async def test_rows_are_made_once_for_one_snapshot(hub: Hub) -> None:
    assert (await hub.refresh()).rows is (await hub.refresh()).rows


async def test_a_haproxy_that_is_away_is_said_and_hides_no_nodes(hub: Hub, daemon: DaemonDouble) -> None:
    daemon.firewall.lost = "HAProxy does not answer"
    look = await hub.refresh()
    assert look.tables is None
    assert look.tables_error == "HAProxy does not answer"
    assert list(look.rows) == ["a"]
    daemon.firewall.lost = None
    await hub.read_tables()
    assert (await hub.now()).tables is not None


async def test_pages_that_lost_their_connection_are_left_alone_until_they_are_back(hub: Hub) -> None:
    seen: list[Look] = []
    there = [False]
    hub.watch("page", seen.append, lambda: there[0])
    await hub.show_all()
    assert seen == []
    there[0] = True
    await hub.show_all()
    assert len(seen) == 1
    hub.leave("page")
    await hub.show_all()
    assert len(seen) == 1


async def test_a_page_that_fails_does_not_take_others_with_it(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Look] = []

    def broken(look: Look) -> None:
        raise KeyError("x")

    hub.watch("broken", broken, lambda: True)
    hub.watch("good", seen.append, lambda: True)
    await hub.show_all()
    await hub.show_all()
    assert len(seen) == 2
    assert caplog.text.count("a page of the dashboard failed") == 1


async def test_while_nobody_looks_nothing_is_read(
    hub: Hub, daemon: DaemonDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "EVERY", 0.01)
    seen: list[Look] = []
    task = asyncio.create_task(hub.run())
    try:
        await asyncio.sleep(0)
        assert hub._look is None
        hub.watch("page", seen.append, lambda: True)
        await until(lambda: len(seen) > 2, what="the page is shown what happens")
        hub.leave("page")
        assert not hub._somebody.is_set()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_look_that_fails_is_said_and_the_next_one_is_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hubs, "EVERY", 0.01)
    seen: list[Look] = []
    real, faults = hub.refresh, [KeyError("x"), Unavailable("away")]

    async def refresh() -> Look:
        if faults:
            raise faults.pop(0)
        return await real()

    monkeypatch.setattr(hub, "refresh", refresh)
    hub.watch("page", seen.append, lambda: True)
    task = asyncio.create_task(hub.run())
    try:
        await until(lambda: seen, what="the page is shown what happens")
    finally:
        task.cancel()
    assert "by a fault of nodegate's own" in caplog.text
    assert "the dashboard cannot look: away" in caplog.text
