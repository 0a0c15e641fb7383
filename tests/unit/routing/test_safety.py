from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Change, FailureKind, Instant, Intent, Plan, Server, ServerState, Status
from nodegate.routing.diff import applied, diff

Build = Callable[..., Any]


def lagging(gate: Any, name: str, lag: int) -> None:
    gate.judged(name, Status.DOWN, f"{lag} behind", lag=lag, rules=("lag",))


def test_a_minority_that_is_down_goes_and_the_why_says_the_cause(gateway: Build, words: Build) -> None:
    gate = gateway(5)
    gate.judged("n2", Status.DOWN)
    plan = gate.step()
    assert words(plan) == ["set state n2 maint"]
    assert plan.changes[0].why == "down: connection refused (ready → maint)"
    assert plan.withheld == ()


def test_beyond_the_threshold_the_least_bad_keep_serving_and_the_numbers_are_said(gateway: Build) -> None:
    gate = gateway(5)
    gate.judged("n1", Status.DOWN)
    lagging(gate, "n2", 3)
    gate.judged("n3", Status.DOWN)
    plan = gate.step()
    assert gate.states() == {"n1": "maint", "n2": "ready", "n3": "maint", "n4": "ready", "n5": "ready"}
    (held,) = plan.withheld
    assert held.rule == "panic threshold"
    assert held.why == "3 of 5 nodes (60%) would be out, the limit is 50%: the least bad keep serving"
    assert held.change.why == "down: 3 behind (ready → maint)"


def test_the_choice_is_stable_from_pass_to_pass(gateway: Build) -> None:
    gate = gateway(6)
    for name in gate.nodes:
        lagging(gate, name, 5)
    gate.settle()
    chosen = gate.ready
    assert len(chosen) == 3
    for lag in (6, 4, 9, 12, 3, 30, 20):
        for number, name in enumerate(gate.nodes):
            lagging(gate, name, lag + number % 3)
        assert gate.step().changes == ()
        assert gate.ready == chosen


def test_the_withheld_come_back_every_pass_and_nothing_else_does(gateway: Build) -> None:
    gate = gateway(4)
    for name in gate.nodes:
        gate.judged(name, Status.DOWN)
    gate.settle()
    plan = gate.plan()
    assert plan.changes == ()
    assert {held.change.server.name for held in plan.withheld} == gate.ready
    assert len(gate.ready) == 2


def test_the_last_ready_server_stays_when_the_threshold_would_let_it_go(gateway: Build) -> None:
    gate = gateway(2, safety={"panic_threshold": 1.0})
    gate.judged("n1", Status.DOWN)
    gate.settle()
    gate.judged("n2", Status.DOWN)
    plan = gate.step()
    assert gate.states() == {"n1": "maint", "n2": "ready"}
    assert [(held.rule, held.why) for held in plan.withheld] == [
        ("last ready server", "no other server of pool main is ready")
    ]


def test_a_server_that_haproxy_took_out_is_no_reason_to_let_the_last_one_go(gateway: Build) -> None:
    gate = gateway(2, safety={"panic_threshold": 1.0})
    gate.set_running("n1", marked_down=True)
    lagging(gate, "n2", 4)
    gate.step()
    assert gate.state("n2") == "ready"


def test_even_a_last_server_that_refuses_stays_so_that_haproxy_can_bring_it_back(gateway: Build) -> None:
    gate = gateway(2, safety={"panic_threshold": 1.0})
    for name in gate.nodes:
        gate.set_running(name, marked_down=True)
        gate.judged(name, Status.DOWN)
    gate.settle()
    assert len(gate.ready) == 1


def test_the_last_one_waits_until_its_replacement_has_really_joined(gateway: Build, words: Build) -> None:
    gate = gateway(1)
    gate.node("n2")
    gate.judged("n1", Status.DOWN)
    plan = gate.plan()
    assert words(plan) == ["add n2"]
    gate.step()
    assert words(gate.plan()) == ["set state n1 maint"]


def test_in_panic_a_clearly_better_node_is_brought_back_and_only_then_the_worse_one_goes(
    gateway: Build, words: Build
) -> None:
    gate = gateway(4)
    lagging(gate, "n1", 2)
    lagging(gate, "n2", 2)
    gate.settle()
    assert gate.ready == {"n3", "n4"}
    gate.judged("n3", Status.DOWN)
    gate.judged("n4", Status.DOWN)
    plan = gate.step()
    assert words(plan) == ["set state n1 ready", "set state n2 ready"]
    assert "4 of 4 nodes (100%) would be out" in plan.changes[0].why
    assert len(plan.withheld) == 4 - 2, "those that are silent wait one pass"
    gate.settle()
    assert gate.ready == {"n1", "n2"}


def test_a_liar_is_kept_rather_than_a_silent_node_but_a_laggard_rather_than_a_liar(gateway: Build) -> None:
    gate = gateway(3, safety={"panic_threshold": 0.67})
    gate.judged("n1", Status.DOWN)
    gate.judged("n2", Status.DOWN, "ahead", lag=0, rules=("ahead",))
    gate.judged("n3", Status.DOWN, "lag", lag=40, rules=("lag",))
    gate.settle()
    assert gate.ready == {"n3"}
    gate.judged("n3", Status.DOWN, "timeout", rules=(str(FailureKind.TIMEOUT),))
    gate.settle()
    assert gate.ready == {"n2"}


def test_a_wrong_chain_is_never_kept_not_even_as_the_last(gateway: Build) -> None:
    gate = gateway(2)
    for name in gate.nodes:
        gate.judged(name, Status.DOWN, "on the wrong chain", rules=("chain", "lag"))
    plan = gate.step()
    assert gate.ready == set()
    assert plan.withheld == ()


def test_nodes_that_never_joined_do_not_count(gateway: Build) -> None:
    gate = gateway(4)
    for name in ("m1", "m2", "m3", "m4", "m5", "m6"):
        gate.node(name, Status.DOWN)
    gate.judged("n1", Status.DOWN)
    gate.settle()
    assert gate.state("n1") == "maint"


def test_pools_are_counted_apart(gateway: Build) -> None:
    gate = gateway(4)
    for name in ("e1", "e2"):
        gate.node(name, pool="evm")
    gate.settle()
    gate.judged("e1", Status.DOWN)
    gate.judged("e2", Status.DOWN)
    gate.judged("n1", Status.DOWN)
    gate.settle()
    assert gate.state("n1") == "maint"
    assert sorted([gate.state("e1", "evm"), gate.state("e2", "evm")]) == ["maint", "ready"]


def test_an_operator_is_obeyed_and_told_what_is_left(gateway: Build, words: Build) -> None:
    gate = gateway(2)
    for name in gate.nodes:
        gate.intend(name, Intent.DRAIN)
    plan = gate.step()
    assert words(plan) == ["set state n1 drain", "set state n2 drain"]
    assert (
        plan.changes[0].why
        == "the operator drains it (ready → drain); pool main is left without a ready server"
    )


def test_an_operator_who_drains_all_but_one_makes_that_one_the_last(gateway: Build) -> None:
    gate = gateway(3, safety={"panic_threshold": 1.0})
    gate.intend("n1", Intent.DRAIN)
    gate.intend("n2", Intent.REMOVE)
    gate.judged("n3", Status.DOWN)
    gate.settle()
    assert gate.ready == {"n3"}


def test_a_weight_of_zero_does_not_count_as_serving(gateway: Build) -> None:
    gate = gateway(0, safety={"panic_threshold": 1.0})
    gate.node("n1")
    gate.node("n2", weight=0)
    gate.settle()
    gate.judged("n1", Status.DOWN)
    gate.settle()
    assert gate.state("n1") == "ready"


def test_a_node_that_loses_its_weight_in_the_same_pass_is_no_replacement(gateway: Build) -> None:
    gate = gateway(2, safety={"panic_threshold": 1.0})
    gate.nodes["n2"] = replace(gate.nodes["n2"], weight=0)
    gate.judged("n1", Status.DOWN)
    gate.step()
    assert gate.state("n1") == "ready"


@pytest.mark.parametrize(("threshold", "out"), [(0.0, 0), (0.2, 1), (0.39, 1), (0.4, 2), (0.6, 3), (1.0, 4)])
def test_the_threshold_is_a_share_of_what_has_joined(gateway: Build, threshold: float, out: int) -> None:
    gate = gateway(5, safety={"panic_threshold": threshold})
    for name in gate.nodes:
        gate.judged(name, Status.DOWN)
    gate.settle()
    assert len(gate.ready) == 5 - out


def test_a_stale_inventory_removes_nothing(gateway: Build, words: Build) -> None:
    gate = gateway(3, safety={"max_inventory_age": 300})
    del gate.nodes["n3"]
    gate.read_at = Instant(600.0)
    plan = gate.step()
    assert plan.changes == ()
    assert [(held.rule, held.change.server.name) for held in plan.withheld] == [("stale inventory", "n3")]
    assert "last read 400 s ago (at most 300 s)" in plan.withheld[0].why
    gate.set_running("n3", state=ServerState.DRAIN)
    assert [str(held.change.kind) for held in gate.plan().withheld] == ["delete"]
    gate.read_at = Instant(999.0)
    assert words(gate.plan()) == ["delete n3"]


def test_an_explicit_removal_is_obeyed_though_the_inventory_is_stale(gateway: Build) -> None:
    gate = gateway(3)
    gate.intend("n3", Intent.REMOVE)
    gate.read_at = Instant(0.0)
    gate.settle()
    assert gate.state("n3") is None


def test_a_record_that_cannot_be_read_does_not_cost_its_node(gateway: Build) -> None:
    gate = gateway(3)
    del gate.nodes["n2"], gate.nodes["n3"]
    gate.faults = ("record n2: weight must be a number",)
    plan = gate.step()
    assert gate.states() == {"n1": "ready", "n2": "ready", "n3": "drain"}
    assert [(held.rule, held.change.server.name) for held in plan.withheld] == [("unreadable record", "n2")]


def test_joining_and_healing_say_the_verdict(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1")
    assert gate.step().changes[0].why == "up (not there yet)"
    gate.judged("n1", Status.DEGRADED, "answers in 2 s (at most 1 s)")
    assert gate.step().changes[0].why == "degraded: answers in 2 s (at most 1 s) (weight 100 → 10)"


def test_a_reload_is_planned_together_with_what_safety_leaves(gateway: Build, words: Build) -> None:
    gate = gateway(1)
    gate.skeleton = "s2"
    gate.judged("n1", Status.DOWN)
    gate.node("e1", pool="evm")
    plan = gate.step()
    assert words(plan) == ["reload", "add e1"]
    assert gate.running.skeleton == "s2"
    assert gate.ready == {"n1", "e1"}
    assert gate.plan().changes == ()


# --- properties ---

STATUSES = st.sampled_from(list(Status))
RULES = st.sampled_from([("refused",), ("lag",), ("ahead",), ("chain",), ("timeout",)])


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    """Nodes as they run, as they are judged and as they are meant, in one or two pools."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 8)))]
    return {
        "threshold": draw(st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0])),
        "stale": draw(st.booleans()),
        "nodes": {
            name: {
                "runs": draw(st.sampled_from([None, *ServerState])),
                "sessions": draw(st.sampled_from([0, 0, 3])),
                "marked_down": draw(st.sampled_from([False, False, True])),
                "declared": draw(st.sampled_from([True, True, True, False])),
                "intent": draw(
                    st.sampled_from([Intent.SERVE, Intent.SERVE, Intent.SERVE, Intent.DRAIN, Intent.REMOVE])
                ),
                "status": draw(STATUSES),
                "rules": draw(RULES),
                "lag": draw(st.one_of(st.none(), st.integers(0, 5000))),
                "weight": draw(st.sampled_from([0, 1, 100, 100])),
                "pool": draw(st.sampled_from(["main", "main", "evm"])),
            }
            for name in names
        },
    }


def built(gateway: Build, server: Build, situation: dict[str, Any]) -> Any:
    gate = gateway(0, safety={"panic_threshold": situation["threshold"]})
    servers: dict[tuple[str, str], Server] = {}
    for name, facts in situation["nodes"].items():
        gate.node(name, None, intent=facts["intent"], pool=facts["pool"], weight=facts["weight"])
        down = {"rules": facts["rules"], "lag": facts["lag"]} if facts["status"] is Status.DOWN else {}
        gate.judged(name, facts["status"], **down)
        if facts["runs"] is not None:
            servers[f"pool_{facts['pool']}", name] = server(
                name, backend=f"pool_{facts['pool']}", state=facts["runs"], sessions=facts["sessions"],
                marked_down=facts["marked_down"], weight=facts["weight"],
                address=gate.nodes[name].url[7:].partition(":")[0],
            )  # fmt: skip
        if not facts["declared"]:
            del gate.nodes[name]
    gate.running = type(gate.running)(skeleton="s1", servers=servers)
    gate.read_at = Instant(0.0 if situation["stale"] else 999.0)
    return gate


def trusted_ready(gate: Any, running: Any, pool: str) -> set[str]:
    """Ready servers of nodes that should serve and that safety may keep."""
    chains = {name for name, v in gate.verdicts.items() if v.status is Status.DOWN and "chain" in v.rules}
    serving = {n.id for n in gate.nodes.values() if n.intent is Intent.SERVE} - chains
    return {
        name
        for (backend, name), server in running.servers.items()
        if backend == f"pool_{pool}"
        and name in serving
        and server.state is ServerState.READY
        and server.weight
    }


def answering(gate: Any, running: Any, pool: str) -> set[str]:
    return {
        name
        for name in trusted_ready(gate, running, pool)
        if not running.servers[f"pool_{pool}", name].marked_down
    }


@given(situation=situations())
@settings(deadline=None, max_examples=200)
def test_at_every_prefix_of_the_plan_service_is_at_least_what_safety_promises(
    gateway: Build, server: Build, situation: dict[str, Any]
) -> None:
    gate = built(gateway, server, situation)
    plan: Plan = gate.plan()
    for pool in ("main", "evm"):
        joined = [
            key for key, runs in gate.running.servers.items()
            if key[0] == f"pool_{pool}" and key[1] in gate.nodes and runs.weight
            and gate.nodes[key[1]].intent is Intent.SERVE
        ]  # fmt: skip
        may_go = int(situation["threshold"] * len(joined) + 1e-9)
        floor = min(len(trusted_ready(gate, gate.running, pool)), len(joined) - may_go)
        had_answers = bool(answering(gate, gate.running, pool))
        for length in range(len(plan.changes) + 1):
            after = applied(gate.running, plan.changes[:length])
            assert len(trusted_ready(gate, after, pool)) >= floor
            assert answering(gate, after, pool) or not had_answers


@given(situation=situations())
@settings(deadline=None, max_examples=200)
def test_changes_and_withheld_together_are_the_wanted_routing(
    gateway: Build, server: Build, situation: dict[str, Any]
) -> None:
    gate = built(gateway, server, situation)
    wanted = gate.wanted()
    raw = diff(gate.running, wanted)
    assert diff(applied(gate.running, raw), wanted) == ()
    plan = gate.plan()
    back = {
        c.server.name for c in plan.changes if held_state(c) is ServerState.READY and c not in same(plan, raw)
    }
    left = diff(applied(gate.running, plan.changes), wanted)
    assert {named(change) for change in left} == {named(held.change) for held in plan.withheld} | {
        f"set state {name} maint" for name in back
    }


def held_state(change: Change) -> ServerState | None:
    return change.server.state if change.kind == "set state" and change.server is not None else None


def same(plan: Plan, raw: tuple[Change, ...]) -> list[Change]:
    names = {named(change) for change in raw}
    return [change for change in plan.changes if named(change) in names]


def named(change: Change) -> str:
    state = held_state(change)
    return f"{change.kind} {change.server.name if change.server else ''}" + (f" {state}" if state else "")


@given(situation=situations())
@settings(deadline=None, max_examples=100)
def test_every_interrupted_prefix_leads_to_a_state_that_rests(
    gateway: Build, server: Build, situation: dict[str, Any]
) -> None:
    gate = built(gateway, server, situation)
    start, plan = gate.running, gate.plan()
    for length in range(len(plan.changes) + 1):
        gate.running = applied(start, plan.changes[:length])
        gate.settle()
        assert {held.change.server.state for held in gate.plan().withheld} <= {
            ServerState.MAINT,
            ServerState.DRAIN,
        }
        for pool in ("main", "evm"):
            healthy = {
                n.id for n in gate.nodes.values()
                if n.intent is Intent.SERVE and n.pool == pool
                and gate.verdicts[n.id].status in {Status.UP, Status.DEGRADED}
            }  # fmt: skip
            assert healthy <= {
                name for (b, name), s in gate.running.servers.items() if s.state is ServerState.READY
            }


@given(situation=situations(), order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_plan_does_not_depend_on_the_order_of_what_runs(
    gateway: Build, server: Build, situation: dict[str, Any], order: Any
) -> None:
    gate = built(gateway, server, situation)
    first = gate.plan()
    items = list(gate.running.servers.items())
    order.shuffle(items)
    gate.running = type(gate.running)(skeleton="s1", servers=dict(items))
    second = gate.plan()
    assert second.changes == first.changes
    assert {held.change.server.name for held in second.withheld} == {
        held.change.server.name for held in first.withheld
    }
