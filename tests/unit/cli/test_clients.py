"""`nodegate clients` and `nodegate why`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from access_lines import raw, refused
from daemon_double import T0, Command, DaemonDouble
from nodegate.cli.clients import parse_span
from nodegate.dataplane.tables import Ban, ClientCount, Tables
from nodegate.errors import BadDocument
from nodegate.model import Instant


def counted(client: str, cost: int) -> ClientCount:
    return ClientCount(
        kind="iri", client=client, key=None, requests=10, rate=3, concurrent=2, cost_10s=1, cost_1m=cost,
        refusals_1m=4,
    )  # fmt: skip


def test_top_talkers_stand_above_the_bans(command: Command, daemon: DaemonDouble, state: Path):
    assert "no client" in command("clients").err
    daemon.firewall.counts = Tables(
        clients=(counted("192.0.2.1", 5), counted("192.0.2.2", 5000)),
        bans=(Ban(client="192.0.2.2", until=Instant(T0 + 60), automatic=True),),
    )
    lines = command("clients").out.splitlines()
    assert " ".join(lines[1].split()) == "192.0.2.2 iri 5,000 1 10 3 2 4 2023-11-14T22:14:20.000Z"
    assert lines[2].split()[0] == "192.0.2.1"
    assert " ".join(lines[-1].split()) == "192.0.2.2 2023-11-14T22:14:20.000Z the policy"
    cut = command("clients", "--top", "1")
    assert ("192.0.2.1" in cut.out, "and 1 more" in cut.err) == (False, True)
    assert json.loads(command("clients", "--json").out)["seen"] == 2


def test_ban_and_unban(command: Command, daemon: DaemonDouble, state: Path):
    done = command("clients", "ban", "192.0.2.3", "--for", "2h", "--reason", "noise")
    assert (done.code, done.err) == (0, "192.0.2.3 is banned until 2023-11-15T00:13:20.000Z\n")
    assert [ban.client for ban in daemon.firewall.counts.bans] == ["192.0.2.3"]
    assert command("clients", "unban", "192.0.2.4").code == 6
    assert "may ask again: 192.0.2.3" in command("clients", "unban", "192.0.2.3").err
    command("clients", "ban", "192.0.2.3")
    assert json.loads(command("clients", "unban", "--all", "--json").out) == {"lifted": ["192.0.2.3"]}
    assert "nobody was banned" in command("clients", "unban", "--all").err
    assert command("clients", "unban").code == 3
    assert command("clients", "ban", "nobody").code == 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86_400.0)]
)
def test_spans_are_read(text: str, seconds: float):
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "-1s", "1.5h", "1w", "9999999d"])
def test_what_is_no_span_is_refused(text: str):
    with pytest.raises(BadDocument, match="span"):
        parse_span(text)


def test_why_explains_a_refused_and_a_served_request(command: Command, daemon: DaemonDouble, state: Path):
    daemon.directory.joinpath("access.log").write_bytes(
        raw(id="fine") + b"\n" + refused(id="no", rule="budget-10s", status=429) + b"\n"
    )
    fine = command("why", "fine")
    assert (fine.code, "served by n1 with status 200" in fine.out) == (0, True)
    assert "9 ms: queue 0 ms, connect 1 ms, node 7 ms, rest 1 ms" in fine.out
    refusal = json.loads(command("why", "no", "--json").out)
    assert (refusal["rule"], refusal["limit"]) == ("budget-10s", "one client may spend 6000 units in 10 s")
    missing = command("why", "nope")
    assert (missing.code, "goes back to 2026-01-02T03:03:04.000Z" in missing.err) == (6, True)


def test_why_reads_the_log_of_a_gateway_that_is_down(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "access.log.1").write_bytes(raw(id="old") + b"\n")
    monkeypatch.setenv("NODEGATE_STATE", str(tmp_path))
    assert "served by n1" in command("why", "old").out
    assert "served by n1" in command("why", "old", "--log", str(tmp_path)).out
    assert command("why", "old", "--log", str(tmp_path / "none")).code == 4


def test_a_log_line_cannot_move_the_cursor(command: Command, tmp_path: Path):
    (tmp_path / "access.log").write_bytes(raw(id="x", method="\x1b[2Jgone\r") + b"\n")
    out = command("why", "x", "--log", str(tmp_path)).out
    assert "\x1b" not in out
    assert "\r" not in out
