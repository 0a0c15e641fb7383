"""The gateways of a cluster as people see them: command line, admin API, status, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon_double import Command, DaemonDouble, Done, served
from nodegate.cli import run
from nodegate.views.cluster import GatewayRow, GatewaysDocument
from nodegate.views.status import cluster_view


@pytest.fixture
def daemon() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
def command(
    daemon: DaemonDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs `nodegate ARGUMENTS…` in this process, against the daemon."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        code = run((*arguments, "--admin", url, "--token", token))
        out, err = capfd.readouterr()
        return Done(code, out, err)

    from daemon_double import TOKEN as token  # noqa: N811 -- an argument here

    with served(daemon) as url:
        yield call


def row(name: str, **changes: Any) -> GatewayRow:
    facts: dict[str, Any] = {
        "name": name, "this": name == "a", "alive": True, "why": "", "since": "2026-01-01T00:00:00Z",
        "address": "192.0.2.1", "port": 14267, "admin": "http://127.0.0.1:1", "peers": None, "version": "1",
        "started_at": None, "policies": {"iri": "0123456789"}, "differs": (), "fault": None,
    }  # fmt: skip
    return GatewayRow(**(facts | changes))


def test_a_gateway_without_a_cluster_says_so_and_is_well(command: Command) -> None:
    done = command("gateways")
    assert done.code == 0
    assert "no part of a cluster" in done.out + done.err
    assert json.loads(command("gateways", "--json").out)["me"] is None


def test_all_gateways_are_shown_with_what_is_in_force_there(daemon: DaemonDouble, command: Command) -> None:
    daemon.gateways = GatewaysDocument(me="a", gateways=(row("a"), row("b", differs=("iri",))))
    done = command("gateways")
    assert done.code == 0
    assert "a *" in done.out
    assert "iri 01234567!" in done.out
    assert "192.0.2.1:14267" in done.out


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (GatewaysDocument(me="a", gateways=(row("a"), row("b", alive=False, why="refused"))), "refused"),
        (GatewaysDocument(me="a", gateways=(row("a"), row("b", fault="cannot"))), "! b: cannot"),
        (GatewaysDocument(me="a", gateways=(row("a"),), faults=("Consul is away",)), "! Consul is away"),
    ],
)
def test_the_exit_code_tells_a_monitoring_system_when_something_is_wrong(
    daemon: DaemonDouble, command: Command, document: GatewaysDocument, words: str
) -> None:
    daemon.gateways = document
    done = command("gateways")
    assert done.code == 2
    assert words in done.out


def test_other_judgements_are_named(daemon: DaemonDouble, command: Command) -> None:
    daemon.gateways = GatewaysDocument(
        me="a", gateways=(row("a"), row("b", disagrees={"n": "up here, down there"}))
    )
    done = command("gateways")
    assert "b disagrees on n: up here, down there" in done.out
    assert done.code == 0


def test_the_status_speaks_of_the_cluster_and_its_faults(daemon: DaemonDouble, command: Command) -> None:
    daemon.gateways = GatewaysDocument(
        me="a", gateways=(row("a"), row("b", alive=False)), faults=("Consul is away",)
    )
    out = command("status").out
    assert "a; 1 of 2 gateways alive, not b" in out
    assert "! cluster: Consul is away" in out
    document = json.loads(command("status", "--json").out)
    assert document["cluster"] == {
        "me": "a",
        "gateways": 2,
        "alive": 1,
        "text": "a; 1 of 2 gateways alive, not b",
    }


def test_without_a_cluster_the_status_has_none() -> None:
    assert cluster_view(None) is None
    assert cluster_view(GatewaysDocument(me=None)) is None
