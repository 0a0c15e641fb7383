"""The application under Textual's pilot, against a real admin API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from daemon_double import TOKEN, DaemonDouble, a_server, a_verdict, an_iri, served
from nodegate.cli.client import AdminClient
from nodegate.cli.target import Target
from nodegate.cli.top.app import Top
from nodegate.cli.top.dialogs import Confirm, Help
from nodegate.cli.top.feed import Feed
from nodegate.dataplane.tables import ClientCount, Tables
from nodegate.errors import Unavailable
from nodegate.model import Intent, Status
from support import until


class Flaky(AdminClient):
    """The real client, whose connection a test can cut."""

    cut = False

    def status(self):  # type: ignore[no-untyped-def]
        if self.cut:
            raise Unavailable("no nodegate answers at the test")
        return super().status()


@pytest.fixture
def daemon() -> DaemonDouble:
    daemon = DaemonDouble()
    daemon.add(an_iri("iri-1"), a_verdict("iri-1"), a_server("iri-1"))
    daemon.add(an_iri("iri-2"), a_verdict("iri-2", Status.DOWN, reasons=("refuses",)), a_server("iri-2"))
    daemon.add(an_iri("iri-3"), a_verdict("iri-3"), a_server("iri-3"))
    return daemon


@pytest.fixture
def client(daemon: DaemonDouble) -> Iterator[Flaky]:
    with served(daemon) as url, Flaky(Target(url=url, token=TOKEN)) as admin:
        yield admin


@asynccontextmanager
async def running(
    client: Flaky, *, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    feed = Feed(client, time.monotonic)
    app = Top(client, feed, feed.look(), interval=0.1)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot


def column(app: Top, pane: str, place: int = 0) -> list[str]:
    table = app.query_one(f"#{pane}-table", DataTable)
    return [str(table.get_row_at(row)[place]) for row in range(table.row_count)]


def said(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


async def test_all_nodes_are_shown_sick_ones_first(client: Flaky) -> None:
    async with running(client) as (app, _):
        assert column(app, "nodes") == ["iri-2", "iri-1", "iri-3"]
        assert column(app, "nodes", 1) == ["down", "up", "up"]
        assert "3 nodes: 2 up" in said(app, "head")


async def test_keys_lead_through_all_panes(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        seen = []
        for _ in range(5):
            seen.append(app.query_one("#panes").active)  # type: ignore[attr-defined]
            await pilot.press("tab")
        assert seen == ["nodes", "methods", "clients", "events", "nodes"]
        await pilot.press("4")
        assert app.query_one("#panes").active == "events"  # type: ignore[attr-defined]
        await until(lambda: "keeps no events" in said(app, "note"), what="why there are no events")


async def test_a_filter_hides_rows_until_escape(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("slash", *"REFUS")
        await until(lambda: column(app, "nodes") == ["iri-2"], what="the filter counts")
        await pilot.press("enter")
        assert not app.query_one("#filter", Input).display
        assert "2 hidden" in said(app, "note")
        await pilot.press("escape")
        await until(lambda: len(column(app, "nodes")) == 3, what="all rows are back")


async def test_letters_typed_into_the_filter_are_no_commands(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("slash", *"dsoq", "slash", "2")
        assert app.query_one("#filter", Input).value == "dsoq/2"
        assert not isinstance(app.screen, Confirm)
        assert column(app, "nodes") == []


async def test_the_order_changes_by_key_and_turns(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        table = app.query_one("#nodes-table", DataTable)
        orders = []
        for _ in range(20):
            await pilot.press("o")
            orders.append(said(app, "note"))
            if "by node" in orders[-1]:
                break
        assert column(app, "nodes") == ["iri-1", "iri-2", "iri-3"]
        await pilot.press("O")
        assert column(app, "nodes") == ["iri-3", "iri-2", "iri-1"]
        assert "turned" in said(app, "note")
        assert table.row_count == 3


async def test_a_drain_is_asked_about_and_done(client: Flaky, daemon: DaemonDouble) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("down", "d")
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await until(
            lambda: daemon.registry.nodes["iri-1"].intent is Intent.DRAIN, what="the intent is stored"
        )
        await until(lambda: "up (drain)" in column(app, "nodes", 1), what="the drain is shown")
        row = column(app, "nodes").index("iri-1")
        app.query_one("#nodes-table", DataTable).move_cursor(row=row)
        await pilot.press("s", "y")
        await until(lambda: daemon.registry.nodes["iri-1"].intent is Intent.SERVE, what="it may serve again")


async def test_a_client_is_banned_and_let_in_again_after_a_question(
    client: Flaky, daemon: DaemonDouble
) -> None:
    busy = ClientCount(
        client="192.0.2.9", kind="iri", key=None, requests=9, rate=1, concurrent=0, cost_10s=5, cost_1m=70, refusals_1m=0
    )  # fmt: skip
    daemon.firewall.counts = Tables(clients=(busy,))
    async with running(client) as (app, pilot):
        await pilot.press("3")
        await until(lambda: column(app, "clients") == ["192.0.2.9"], what="the client is shown")
        await pilot.press("b")
        assert isinstance(app.screen, Confirm)
        await pilot.press("n", "b", "y")
        await until(
            lambda: [one.client for one in daemon.firewall.counts.bans] == ["192.0.2.9"], what="it is banned"
        )
        await until(lambda: column(app, "clients", 7) == ["11-14 22:23"], what="the ban is shown")
        daemon.firewall.counts = replace(daemon.firewall.counts, clients=())  # it asks nothing any more
        await until(lambda: column(app, "clients", 2) == ["0"], what="it is shown though it asks nothing")
        await pilot.press("b")
        assert not isinstance(app.screen, Confirm)
        await until(
            lambda: any("is banned already" in one.message for one in app._notifications), what="why not"
        )
        await pilot.press("u", "y")
        await until(lambda: daemon.firewall.counts.bans == (), what="it may come in again")
        await until(lambda: column(app, "clients") == [], what="it is gone from the pane")


@pytest.mark.parametrize(("pane", "key"), [("1", "b"), ("1", "u"), ("2", "d"), ("3", "s"), ("4", "b")])
async def test_nothing_is_asked_where_the_key_means_nothing(client: Flaky, pane: str, key: str) -> None:
    async with running(client) as (app, pilot):
        await pilot.press(pane, key)
        assert not isinstance(app.screen, Confirm)
        await until(lambda: any("choose a" in one.message for one in app._notifications), what="it is said")


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_only_yes_means_yes(client: Flaky, daemon: DaemonDouble, key: str) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("d", key)
        await pilot.pause()
        assert not isinstance(app.screen, Confirm)
    assert {node.intent for node in daemon.registry.nodes.values()} == {Intent.SERVE}


async def test_a_change_that_is_refused_is_said(client: Flaky, daemon: DaemonDouble) -> None:
    async with running(client, size=(120, 40)) as (app, pilot):
        daemon.registry.lost = "the disk is full"
        await pilot.press("d", "y")
        await until(
            lambda: any("the disk is full" in one.message for one in app._notifications),
            what="the refusal is told",
        )


async def test_nothing_can_be_drained_where_no_node_is_chosen(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("tab", "d")
        assert not isinstance(app.screen, Confirm)


async def test_a_lost_connection_is_said_and_comes_back(client: Flaky) -> None:
    async with running(client) as (app, _):
        client.cut = True
        await until(lambda: "connection lost" in said(app, "head"), what="the loss is told")
        assert "no nodegate answers" in said(app, "head")
        assert len(column(app, "nodes")) == 3
        client.cut = False
        await until(lambda: "connection lost" not in said(app, "head"), what="it is back")
        assert "3 nodes" in said(app, "head")


async def test_new_nodes_appear_and_the_cursor_stays_on_its_node(client: Flaky, daemon: DaemonDouble) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("down")
        daemon.add(an_iri("aaa"), a_verdict("aaa", Status.DOWN), a_server("aaa"))
        await until(lambda: "aaa" in column(app, "nodes"), what="the node appears")
        table = app.query_one("#nodes-table", DataTable)
        assert column(app, "nodes")[table.cursor_row] == "iri-1"


async def test_help_opens_and_closes(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        await pilot.press("escape")
        assert not isinstance(app.screen, Help)


async def test_hostile_words_are_shown_as_they_are(client: Flaky, daemon: DaemonDouble) -> None:
    daemon.add(an_iri("x"), a_verdict("x", Status.DOWN, reasons=("[bold]\x1b[2J boo",)), a_server("x"))
    async with running(client, size=(160, 24)) as (app, _):
        reasons = column(app, "nodes", 9)[column(app, "nodes").index("x")]
        assert "[bold]" in reasons
        assert "\x1b" not in reasons


async def test_q_ends_it(client: Flaky) -> None:
    async with running(client) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running or app._exit
