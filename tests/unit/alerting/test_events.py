from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daemon_double import T0, a_server, a_verdict, an_iri, running
from nodegate.alerting.events import events_between
from nodegate.alerting.facts import DAY, Facts
from nodegate.alerting.news import remember
from nodegate.model import (
    Change,
    ChangeKind,
    Instant,
    Intent,
    Inventory,
    Judgement,
    Node,
    Plan,
    PoolView,
    Seconds,
    ServerState,
    Snapshot,
    Status,
    Verdict,
    Withheld,
)
from nodegate.settings.alerts import OCCURRENCES, SIGNALS
from nodegate.telemetry.kinds import KINDS, Event, Kind


def snapshot(*nodes: Node, verdicts: tuple[Verdict, ...] = (), **fields: Any) -> Snapshot:
    given: dict[str, Any] = {
        "at": T0, "started_at": T0, "ready": True,
        "inventory": Inventory(nodes=nodes, index=1, read_at=T0),
        "judgement": Judgement(verdicts={one.node_id: one for one in verdicts}),
        "running": running(*(a_server(node.id) for node in nodes)),
    }  # fmt: skip
    return Snapshot(**given | fields)


class Log:
    """What would be kept, one snapshot after the other."""

    def __init__(self) -> None:
        self.said: dict[tuple[str, str], str] = {}

    def see(self, shown: Snapshot, facts: Facts | None = None, at: float = 0.0) -> list[Event]:
        news = events_between(self.said, shown, facts or Facts(), Instant(T0 + at))
        self.said = remember(self.said, news)
        return [item.event for item in news if item.event is not None]

    def kinds(self, shown: Snapshot, facts: Facts | None = None, at: float = 0.0) -> list[str]:
        return [event.kind.value for event in self.see(shown, facts, at)]


def probed(node_id: str, status: Status = Status.UP, **fields: Any) -> Verdict:
    return a_verdict(node_id, status, observed_at=T0, **fields)


UP = snapshot(an_iri("a"), verdicts=(probed("a"),))
DOWN = snapshot(an_iri("a"), verdicts=(probed("a", Status.DOWN, reasons=("connection refused",)),))


def test_a_first_look_at_a_healthy_fleet_is_no_news() -> None:
    assert Log().kinds(UP) == []


def test_a_change_of_status_is_told_once_with_its_reasons() -> None:
    log = Log()
    log.see(UP)
    [event] = log.see(DOWN)
    assert (event.kind, event.subject) == (Kind.NODE_DOWN, "node/a")
    assert event.text == "a is down: connection refused"
    assert event.data["was"] == "up"
    assert log.kinds(DOWN) == []
    assert log.kinds(UP) == ["node-up"]


def test_nothing_is_told_before_the_gateway_is_ready_and_ignorance_after_a_restart_is_no_news() -> None:
    log = Log()
    log.see(DOWN)
    unasked = a_verdict("a", Status.UNKNOWN)
    assert log.kinds(snapshot(an_iri("a"), verdicts=(unasked,), ready=False)) == []
    assert log.kinds(snapshot(an_iri("a"), verdicts=(unasked,))) == []
    assert log.kinds(DOWN) == []
    assert log.kinds(UP) == ["node-up"]


def test_a_node_whose_observations_have_grown_old_is_told_as_unknown() -> None:
    log = Log()
    log.see(UP)
    assert log.kinds(snapshot(an_iri("a"), verdicts=(probed("a", Status.UNKNOWN),))) == ["node-unknown"]


def test_nodes_that_come_and_go_are_told_but_not_the_first_inventory() -> None:
    log = Log()
    log.see(UP)
    both = snapshot(an_iri("a"), an_iri("b"), verdicts=(probed("a"), probed("b")))
    assert log.kinds(both) == ["node-added"]
    assert log.kinds(UP) == ["node-removed"]
    assert ("status", "node/b") not in log.said
    assert log.kinds(UP) == []


@pytest.mark.parametrize("fields", [{"faults": ("record b cannot be read",)}, {}])
def test_an_inventory_that_may_lack_nodes_removes_none(fields: dict[str, Any]) -> None:
    log = Log()
    log.see(snapshot(an_iri("a"), an_iri("b")))
    inventory = Inventory(nodes=(an_iri("a"),), index=2, read_at=T0, **fields)
    lost = {} if fields else {"registry_error": "the disk is gone"}
    assert "node-removed" not in log.kinds(replace(UP, inventory=inventory, **lost))


def test_what_operators_want_is_told() -> None:
    log = Log()
    log.see(UP)
    [event] = log.see(
        replace(UP, inventory=Inventory(nodes=(an_iri("a", intent=Intent.DRAIN),), index=2, read_at=T0))
    )
    assert (event.kind, event.data["intent"]) == (Kind.INTENT, "drain")
    assert log.kinds(UP) == ["intent"]


@pytest.mark.parametrize(
    ("field", "lost", "back"),
    [("registry_error", "registry-lost", "registry-back"), ("haproxy_error", "haproxy-lost", "haproxy-back")],
)
def test_links_are_told_when_lost_and_when_back(field: str, lost: str, back: str) -> None:
    log = Log()
    log.see(UP)
    bad = replace(UP, **{field: "no answer"})
    assert [log.kinds(bad), log.kinds(bad), log.kinds(UP), log.kinds(UP)] == [[lost], [], [back], []]


def test_a_pool_without_a_serving_node_is_told_unless_haproxy_cannot_be_asked() -> None:
    log = Log()
    log.see(UP)
    empty = replace(UP, running=running(a_server("a", state=ServerState.MAINT)))
    assert log.kinds(replace(empty, haproxy_error="away")) == ["haproxy-lost"]
    assert log.kinds(empty) == ["haproxy-back", "pool-empty"]
    assert log.kinds(UP) == ["pool-serving"]


def test_a_plan_that_brings_the_node_in_just_now_leaves_no_pool_empty() -> None:
    adding = Plan(changes=(Change(kind=ChangeKind.ADD, why="up", server=a_server("a")),))
    assert Log().kinds(replace(UP, running=running(), plan=adding)) == []


def test_a_pool_whose_height_stands_still_is_told_and_when_it_moves_again() -> None:
    view = PoolView(pool="main", height=10, height_at=T0, step=Seconds(10.0))
    still = replace(UP, judgement=replace(UP.judgement, pools={"main": view}))
    log = Log()
    assert [log.kinds(still, at=at) for at in (0, 199, 201, 300)] == [[], [], ["pool-still"], []]
    moved = replace(view, height=11, height_at=Instant(T0 + 300))
    assert log.kinds(replace(still, judgement=replace(UP.judgement, pools={"main": moved})), at=301) == [
        "pool-moving"
    ]


def test_a_pool_that_nobody_witnesses_does_not_stand_still() -> None:
    view = PoolView(pool="main", height=10, height_at=T0, step=Seconds(1.0))
    dead = replace(DOWN, judgement=replace(DOWN.judgement, pools={"main": view}))
    assert "pool-still" not in Log().kinds(dead, at=5000)


def test_neighbours_are_told_below_two() -> None:
    log = Log()
    shown = [snapshot(an_iri("a"), verdicts=(probed("a", peers=peers),)) for peers in (3, 1, 0, 2)]
    assert [log.kinds(one) for one in shown] == [[], ["neighbours-lost"], [], ["neighbours-back"]]


def test_what_safety_holds_back_is_told_once_for_a_pool() -> None:
    change = Change(kind=ChangeKind.SET_STATE, why="down", server=a_server("a"))
    held = replace(UP, plan=Plan(withheld=(Withheld(change=change, rule="last server", why="1 of 1"),)))
    log = Log()
    [event] = log.see(held)
    assert (event.subject, event.text) == ("pool/main", "1 change held back: a: last server: 1 of 1")
    assert [log.kinds(held), log.kinds(UP), log.kinds(UP)] == [[], ["released"], []]


def test_bans_are_told_when_made_and_when_over_but_not_while_nobody_can_know() -> None:
    banned = Facts(bans={"192.0.2.1": Instant(T0 + 600)}, automatic=frozenset({"192.0.2.1"}))
    log = Log()
    [event] = log.see(UP, banned)
    assert (event.subject, event.data["by"]) == ("client/192.0.2.1", "policy")
    assert log.kinds(UP, Facts(bans=None)) == []
    assert log.kinds(UP, Facts(bans={})) == ["unbanned"]


def test_a_certificate_is_told_two_weeks_before_its_end() -> None:
    log = Log()
    ends = [Facts(certificate_ends=Instant(T0 + days * DAY)) for days in (20, 13, 2, 90)]
    assert [log.kinds(UP, one) for one in ends] == [[], ["certificate-ending"], [], ["certificate-good"]]


def test_policies_peers_channels_and_faults_are_told() -> None:
    log = Log()
    log.see(UP, Facts(policies={"iri": "1"}, peers={"gw2": True}))
    bad = Facts(
        policies={"iri": "2"},
        policy_faults=("iri.toml: no",),
        peers={"gw2": False},
        failing={"ops": (T0, "away")},
    )
    expected = ["policy-applied", "policy-fault", "peer-lost", "channel-failed"]
    assert log.kinds(UP, bad) == expected
    assert log.kinds(UP, bad) == []
    assert log.kinds(UP, Facts(policies={"iri": "2"}, peers={"gw2": True})) == ["peer-back", "channel-back"]
    assert log.kinds(UP, replace(bad, peers=None)) == ["policy-fault", "channel-failed"]


def test_what_haproxy_refuses_is_told_once_until_it_is_gone() -> None:
    refused = replace(UP, refused=("add a: no",))
    log = Log()
    assert [log.kinds(refused), log.kinds(refused), log.kinds(UP), log.kinds(refused)] == [
        ["refused"],
        [],
        [],
        ["refused"],
    ]


def test_every_kind_has_its_row_and_rules_can_name_every_one_that_just_happens() -> None:
    assert set(KINDS) == set(Kind)
    momentary = {kind.value for kind, about in KINDS.items() if not about.topic}
    assert momentary - {"alert-firing", "alert-resolved"} <= set(OCCURRENCES)
    assert set(OCCURRENCES) <= {kind.value for kind in KINDS}
    assert not set(OCCURRENCES) & set(SIGNALS)
