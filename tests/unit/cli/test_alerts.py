"""`nodegate alerts` and `nodegate events` as people read them, against a real API, log and rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from daemon_double import T0, Command, DaemonDouble
from nodegate.alerting.channels import channels_of
from nodegate.alerting.rules import Alert
from nodegate.alerting.service import Alerting
from nodegate.alerting.store import EventStore
from nodegate.api.context import ApiContext
from nodegate.model import Seconds
from nodegate.settings import Settings
from nodegate.telemetry.kinds import Kind, Severity, event

SETTINGS = Settings.model_validate(
    {
        "alerts": {
            "default_rules": False,
            "channels": {
                "good": {"kind": "command", "command": ["true"]},
                "bad": {"kind": "command", "command": ["false"]},
            },
            "rules": {
                "half-out": {
                    "on": ["pool-out"],
                    "above": 0.49,
                    "hold": 30,
                    "severity": "critical",
                    "repeat": 600,
                },
                "odd": {
                    "on": ["node-lag"],
                    "above": 1,
                    "below": 9,
                    "node_kinds": ["iri"],
                    "channels": ["good"],
                },
            },
        }
    }
)
EVENTS = (
    event(T0, Kind.NODE_DOWN, "node/eu-1", "eu-1 is down: [bold]no\x1b[2J answer", pool="main"),
    event(T0, Kind.STARTED, "gateway", "nodegate was started"),
    event(T0, Kind.POOL_EMPTY, "pool/main", "no node of pool main gets requests"),
)


@dataclass
class Keeping(DaemonDouble):
    """A daemon with an event log and alerts."""

    alerting: Alerting | None = None

    def context(self) -> ApiContext:
        return replace(super().context(), alerting=self.alerting)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Keeping]:
    """The log has `EVENTS`; one alert fires, one waits for its time. The log's loop runs in a thread of its own."""
    daemon = Keeping()
    store = EventStore(tmp_path / "events.db", keep_events=1000, keep=Seconds(1e9))
    alerting = Alerting(SETTINGS, store, channels_of(SETTINGS), daemon.clock, gateway="gw1")
    firing = Alert(
        rule="half-out", subject="pool/main", severity=Severity.CRITICAL, text="2 of 3 nodes of pool main are out",
        value=0.66, since=T0, seen_at=T0, fired_at=T0,
    )  # fmt: skip
    pending = replace(
        firing, rule="odd", subject="node/eu-1", severity=Severity.WARNING, text="behind", fired_at=None
    )
    alerting._alerts = {one.key: one for one in (firing, pending)}

    async def fill() -> None:
        await store.append(EVENTS)

    asyncio.run(fill())
    daemon.alerting = alerting
    yield daemon
    asyncio.run(store.close())


def words(text: str) -> list[str]:
    """Lines with their blanks folded."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.usefixtures("state")
def test_alerts_silences_and_channels_are_tables(command: Command) -> None:
    assert command("alerts", "silence", "half-*", "--for", "2h", "--reason", "new disk").code == 0
    done = command("alerts", "list")
    lines = words(done.out)
    assert done.code == 0
    assert lines[0] == "SEVERITY STATE RULE SUBJECT SINCE TEXT"
    assert any(line.startswith("critical silenced half-out pool/main") for line in lines)
    assert any(line.startswith("warning pending odd node/eu-1") and line.endswith("behind") for line in lines)
    assert any(line.startswith("1 half-* *") and line.endswith("new disk") for line in lines)
    assert "CHANNEL KIND FROM WAITING SENT DROPPED FAILING FOR ERROR" in lines
    assert any(line.startswith("bad command warning 0 0 0 -") for line in lines)
    assert "RULE SEVERITY ON" not in done.out
    assert done.err == ""


@pytest.mark.usefixtures("state")
def test_the_rules_in_force_are_listed_with_their_conditions(command: Command) -> None:
    lines = words(command("alerts", "list", "--rules").out)
    assert "half-out critical pool-out > 0.49 30 600 - all" in [line.replace(" - ", " - ") for line in lines]
    assert "odd warning node-lag > 1 and < 9 0 3600 iri good" in lines


@pytest.mark.usefixtures("state")
def test_a_silence_is_said_and_ended(command: Command) -> None:
    done = command("alerts", "silence", "half-out", "--node", "eu-1", "--for", "30m")
    assert "silence 1: half-out of node/eu-1 until 2023-11-14T" in done.err
    assert "silence 1 is ended" in command("alerts", "unsilence", "1").err
    gone = command("alerts", "unsilence", "1")
    assert (gone.code, "there is no silence 1" in gone.err) == (6, True)
    assert command("alerts", "silence", "x", "--for", "soon").code == 3


@pytest.mark.usefixtures("state")
def test_a_channel_that_does_not_take_the_test_is_said_and_ends_with_one(command: Command) -> None:
    good = command("alerts", "test", "good")
    assert (good.code, good.err.strip()) == (0, "good: taken")
    both = command("alerts", "test")
    assert both.code == 1
    assert "good: taken" in both.err
    assert "bad: NOT taken: " in both.err
    strange = command("alerts", "test", "pigeon")
    assert (strange.code, "there is no channel 'pigeon'; known: good, bad" in strange.err) == (6, True)


@pytest.mark.usefixtures("state")
def test_without_alerts_and_channels_it_says_so(command: Command, daemon: Keeping) -> None:
    assert daemon.alerting is not None
    daemon.alerting._alerts = {}
    daemon.alerting._channels = {}
    done = command("alerts", "list")
    assert "no alert fires" in done.err
    assert "no channel is set" in done.err
    assert "no channel is set" in command("alerts", "test").err


@pytest.mark.usefixtures("state")
def test_events_are_lines_with_time_severity_and_kind_and_hostile_text_as_it_is(command: Command) -> None:
    done = command("events")
    first, second, third = done.out.splitlines()
    assert " ".join(first.split()).startswith("2023-11-14 22:13:20 warning node-down eu-1 is down: [bold]no")
    assert "\x1b" not in done.out
    assert " ".join(second.split()) == "2023-11-14 22:13:20 info started nodegate was started"
    assert "critical" in third
    assert [line.split()[3] for line in command("events", "-n", "2").out.splitlines()] == [
        "started",
        "pool-empty",
    ]


@pytest.mark.usefixtures("state")
def test_events_are_chosen_by_kind_node_and_time(command: Command) -> None:
    kinds = command("events", "--kind", "started", "--kind", "pool-empty").out.splitlines()
    assert [line.split()[3] for line in kinds] == ["started", "pool-empty"]
    assert "eu-1 is down" in command("events", "--node", "eu-1").out
    none = command("events", "--node", "eu-2")
    assert (none.code, none.out, none.err.strip()) == (0, "", "nothing has happened")
    assert command("events", "--since", "1h").out == ""
    assert len(command("events", "--since", "2023-11-14T00:00:00+00:00").out.splitlines()) == 3
    wrong = command("events", "--kind", "node-dwon")
    assert (wrong.code, "is no kind of event" in wrong.err) == (3, True)
    assert command("events", "--since", "yesterday").code == 3


@pytest.mark.usefixtures("state")
def test_json_is_the_apis_own_document(command: Command) -> None:
    document = json.loads(command("events", "--json").out)
    assert (len(document["events"]), document["last"]) == (3, 3)
    assert document["events"][0]["data"] == {"pool": "main"}
    assert {row["name"] for row in json.loads(command("alerts", "list", "--json").out)["rules"]} == {
        "half-out",
        "odd",
    }
