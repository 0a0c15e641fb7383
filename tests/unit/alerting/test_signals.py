from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daemon_double import T0, a_server, a_verdict, an_iri, running
from nodegate.alerting.defaults import DEFAULT_RULES, rules_of
from nodegate.alerting.facts import DAY, Facts
from nodegate.alerting.signals import signals, unknown
from nodegate.errors import BadDocument
from nodegate.model import (
    Instant,
    Intent,
    Inventory,
    Judgement,
    Observation,
    Reading,
    Seconds,
    Snapshot,
    Status,
    Verdict,
)
from nodegate.settings import AlertsSettings
from nodegate.settings.alerts import SIGNALS
from nodegate.telemetry.kinds import Severity

NOW = Instant(T0 + 100)
ALL = frozenset(SIGNALS)


def snapshot(verdict: Verdict, intent: Intent = Intent.SERVE, **fields: Any) -> Snapshot:
    given: dict[str, Any] = {
        "at": T0, "started_at": T0, "ready": True, "judgement": Judgement(verdicts={"a": verdict}),
        "inventory": Inventory(nodes=(an_iri("a", intent=intent),), index=1, read_at=T0),
        "running": running(a_server("a")),
    }  # fmt: skip
    return Snapshot(**given | fields)


def values(shown: Snapshot, facts: Facts | None = None) -> dict[str, float]:
    return {one.name: one.value for one in signals(shown, facts or Facts(), NOW, ALL)}


def reading(**fields: Any) -> dict[str, Observation]:
    return {"a": Observation(node_id="a", at=T0, duration=Seconds(0.1), outcome=Reading(**fields))}


def test_a_healthy_node_tells_its_numbers() -> None:
    verdict = a_verdict("a", height=10, height_at=T0, peers=3, lag=0)
    shown = snapshot(verdict, observations=reading(height=10, claimed_tip=17))
    assert values(shown) == {"node-lag": 7, "node-neighbours": 3, "node-still": 100, "pool-out": 0}


def test_only_a_node_that_should_serve_and_is_not_judged_is_unknown() -> None:
    assert unknown(snapshot(a_verdict("a", Status.UNKNOWN))) == {"node/a"}
    assert unknown(snapshot(a_verdict("a"), judgement=Judgement())) == {"node/a"}
    assert unknown(snapshot(a_verdict("a", Status.DOWN))) == frozenset()
    assert unknown(snapshot(a_verdict("a", Status.UNKNOWN), Intent.DRAIN)) == frozenset()


def test_a_node_that_is_down_tells_only_that() -> None:
    verdict = a_verdict("a", Status.DOWN, height=10, height_at=T0, peers=1)
    assert values(snapshot(verdict)) == {"node-down": 700, "pool-out": 1}


@pytest.mark.parametrize("intent", [Intent.DRAIN, Intent.REMOVE])
def test_what_is_out_on_purpose_tells_nothing(intent: Intent) -> None:
    assert values(snapshot(a_verdict("a", Status.DOWN), intent)) == {}


def test_a_node_without_a_height_is_told() -> None:
    assert values(snapshot(a_verdict("a"), observations=reading()))["node-no-height"] == 1


def test_the_gateways_own_troubles_are_told() -> None:
    lost = snapshot(a_verdict("a"), registry_error="gone", haproxy_error="away")
    facts = Facts(
        certificate_ends=Instant(NOW + 2 * DAY), policy_faults=("x",), peers={"b": False, "c": True},
        failing={"ops": (T0, "away")},
    )  # fmt: skip
    found = values(lost, facts)
    assert (found["registry-lost"], found["haproxy-lost"], found["certificate-days"]) == (100, 1, 2)
    assert (found["policy-faults"], found["peer-lost"], found["channel-failed"]) == (1, 1, 100)
    assert "pool-empty" not in found


def test_only_wanted_signals_are_made() -> None:
    assert [
        one.name for one in signals(snapshot(a_verdict("a", Status.DOWN)), Facts(), NOW, {"node-down"})
    ] == ["node-down"]


def test_the_shipped_rules_have_the_playbooks_thresholds() -> None:
    rules = {rule.name: rule for rule in DEFAULT_RULES}
    facts = {name: (rule.above, rule.below, rule.hold, rule.severity.value) for name, rule in rules.items()}
    assert facts["node-down"] == (None, None, 60, "critical")
    assert (facts["node-lag"], facts["node-lag-critical"]) == (
        (5, None, 3600, "warning"),
        (10, None, 3600, "critical"),
    )
    assert facts["few-neighbours"] == (None, 2, 60, "warning")
    assert facts["many-neighbours-critical"] == (15, None, 3600, "critical")
    assert facts["node-still"] == (1800, None, 60, "critical")
    assert all(rule.repeat == 3600 for name, rule in rules.items() if not name.startswith("certificate"))
    assert len(rules) == len(DEFAULT_RULES)
    assert all(set(rule.mutes) <= set(rules) for rule in DEFAULT_RULES)


def test_an_operators_table_changes_only_what_it_says() -> None:
    own = {
        "node-down": {"hold": 300, "severity": "warning"},
        "ban": {"enabled": False},
        "mine": {"on": ["pool-out"], "above": 0.4},
    }
    settings = AlertsSettings.model_validate({"rules": own, "group": 5, "repeat": 900})
    rules = {rule.name: rule for rule in rules_of(settings)}
    [shipped] = [rule for rule in DEFAULT_RULES if rule.name == "node-down"]
    wanted = replace(
        shipped, hold=300.0, severity=Severity.WARNING, group=Seconds(5.0), repeat=Seconds(900.0)
    )
    assert rules["node-down"] == wanted
    assert "ban" not in rules
    assert (rules["mine"].above, rules["mine"].repeat) == (0.4, 900)
    assert rules["certificate"].repeat == DAY


@pytest.mark.parametrize(
    "own", [{"mine": {"above": 1}}, {"mine": {"on": ["pool-out"], "mutes": ["nothing"]}}]
)
def test_a_rule_that_contradicts_itself_is_a_fault(own: dict[str, Any]) -> None:
    with pytest.raises(BadDocument, match=r"alerts\.rules\.mine"):
        rules_of(AlertsSettings.model_validate({"rules": own}))


def test_without_the_shipped_rules_only_the_operators_are_left() -> None:
    settings = AlertsSettings.model_validate(
        {"default_rules": False, "rules": {"mine": {"on": ["pool-out"]}}}
    )
    assert [rule.name for rule in rules_of(settings)] == ["mine"]
