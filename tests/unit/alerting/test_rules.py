from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.alerting.rules import Alert, Key, Notice, Rule, Silence, due, not_ahead, observe, told
from nodegate.alerting.signals import Signal
from nodegate.model import Instant, Seconds
from nodegate.telemetry.kinds import Severity

T0 = 1_700_000_000.0


def rule(**fields: Any) -> Rule:
    given = {"name": "down", "on": ("node-down",), "hold": Seconds(60.0), "clear": Seconds(30.0)}
    return Rule(**given | fields)


def down(node: str = "a", value: float = 1.0, **fields: Any) -> Signal:
    return Signal("node-down", f"node/{node}", value, f"{node} is down", **fields)


class Desk:
    """What the daemon does with the rules, at times that a test says."""

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.alerts: dict[Key, Alert] = {}
        self.silences: tuple[Silence, ...] = ()
        self.said: list[tuple[float, Notice]] = []

    def at(self, seconds: float, *signals: Signal, unknown: Set[str] = frozenset()) -> tuple[Notice, ...]:
        now = Instant(T0 + seconds)
        after = observe(self.rules, self.alerts, signals, now, unknown)
        notices = due(self.rules, after, self.silences, now)
        self.alerts = told(after, notices, now)
        self.said += [(seconds, notice) for notice in notices]
        return notices

    def between(self, first: int, last: int, *signals: Signal) -> list[Notice]:
        return [notice for second in range(first, last) for notice in self.at(second, *signals)]


def subjects(alerts: Iterable[Alert]) -> list[str]:
    return [alert.subject for alert in alerts]


def test_what_does_not_last_for_the_hold_time_is_never_said() -> None:
    desk = Desk(rule())
    assert desk.between(0, 59, down()) + desk.between(59, 300) == []
    assert desk.alerts == {}


def test_what_lasts_is_said_once_and_so_is_its_end() -> None:
    desk = Desk(rule())
    [firing] = desk.between(0, 200, down())
    assert subjects(firing.firing) == ["node/a"]
    [ended] = desk.between(200, 400)
    assert (subjects(ended.firing), subjects(ended.ended)) == ([], ["node/a"])
    assert desk.alerts == {}


def test_the_hold_time_counts_from_the_beginning_that_the_signal_knows() -> None:
    """So a restart of the daemon does not begin it anew."""
    desk = Desk(rule(group=Seconds(0.0)))
    assert desk.at(0, down(since=Instant(T0 - 61)))


def test_a_threshold_has_its_own_beginning() -> None:
    desk = Desk(rule(above=5.0, group=Seconds(0.0)))
    signal = down(value=6.0, since=Instant(T0 - 1000))
    assert desk.at(0, signal) == ()
    assert desk.at(60, signal)


def test_what_flaps_within_the_clear_time_is_said_once() -> None:
    desk = Desk(rule(hold=Seconds(0.0)))
    notices = [n for second in range(300) for n in desk.at(second, *([down()] if second % 20 < 10 else []))]
    assert len(notices) == 1


def test_what_fires_and_ends_within_one_group_window_is_not_said() -> None:
    desk = Desk(rule(hold=Seconds(0.0), clear=Seconds(0.0), group=Seconds(60.0)))
    assert desk.between(0, 20, down()) + desk.between(20, 200) == []


def test_many_of_a_kind_come_in_one_notice() -> None:
    desk = Desk(rule())
    signals = [down(f"n{number}") for number in range(50)]
    [notice] = desk.between(0, 200, *signals)
    assert len(notice.firing) == 50


def test_what_goes_on_is_said_again_after_the_repeat_time() -> None:
    desk = Desk(rule(repeat=Seconds(600.0)))
    desk.between(0, 1400, down())
    assert [round(moment) for moment, _ in desk.said] == [70, 670, 1270]


def test_a_silence_keeps_it_quiet_and_what_still_fires_at_its_end_is_said_then() -> None:
    desk = Desk(rule())
    desk.silences = (Silence(rule="do*", subject="node/*", until=Instant(T0 + 300)),)
    assert desk.between(0, 300, down()) == []
    assert desk.alerts["down", "node/a"].firing
    assert len(desk.between(300, 400, down())) == 1


def test_a_silence_for_another_subject_changes_nothing() -> None:
    desk = Desk(rule())
    desk.silences = (Silence(rule="*", subject="node/b", until=Instant(T0 + 300)),)
    [notice] = desk.between(0, 300, down("a"), down("b"))
    assert subjects(notice.firing) == ["node/a"]


def test_the_end_of_what_was_said_is_said_in_spite_of_a_silence() -> None:
    desk = Desk(rule())
    desk.between(0, 100, down())
    desk.silences = (Silence(rule="*", subject="*", until=Instant(T0 + 10_000)),)
    [notice] = desk.between(100, 300)
    assert notice.ended


def test_the_worse_alert_speaks_for_the_lesser_one_of_the_same_subject() -> None:
    lesser = Rule(name="lag", on=("node-lag",), above=5, hold=Seconds(60.0))
    worse = Rule(
        name="lag-critical",
        on=("node-lag",),
        above=10,
        severity=Severity.CRITICAL,
        mutes=("lag",),
        hold=Seconds(60.0),
    )
    desk = Desk(lesser, worse)
    lags = [Signal("node-lag", "node/a", 12, "12 behind"), Signal("node-lag", "node/b", 7, "7 behind")]
    said = {notice.rule.name: subjects(notice.firing) for notice in desk.between(0, 200, *lags)}
    assert said == {"lag": ["node/b"], "lag-critical": ["node/a"]}


def test_an_occurrence_fires_at_once_and_nobody_is_told_of_its_end() -> None:
    restarted = Rule(name="restart", on=("haproxy-restarted",), clear=Seconds(60.0))
    desk = Desk(restarted)
    desk.at(0, Signal("haproxy-restarted", "haproxy", 1.0, "HAProxy died"))
    notices = desk.between(1, 300)
    assert [bool(notice.firing) for notice in notices] == [True]
    assert desk.alerts == {}


@pytest.mark.parametrize(
    ("fields", "meets"),
    [
        ({}, True),
        ({"above": 3.0}, False),
        ({"above": 2.9}, True),
        ({"below": 3.0}, False),
        ({"below": 3.1}, True),
        ({"pools": ("main",)}, True),
        ({"pools": ("other",)}, False),
        ({"node_kinds": ("evm",)}, False),
        ({"subjects": ("node/eu-*", "node/a")}, True),
        ({"subjects": ("node/eu-*",)}, False),
        ({"on": ("node-lag",)}, False),
    ],
)
def test_a_rule_meets_what_it_asks_for(fields: dict[str, Any], meets: bool) -> None:
    signal = down(value=3.0, pool="main", node_kind="iri")
    assert rule(**fields).meets(signal) is meets


STEPS = st.lists(st.tuples(st.floats(0.1, 120), st.sets(st.sampled_from("abc"))), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    steps=STEPS,
    hold=st.sampled_from([0.0, 30.0]),
    clear=st.sampled_from([0.0, 30.0]),
    group=st.sampled_from([0.0, 20.0]),
)
def test_whatever_happens_each_firing_is_said_once_a_repeat_and_each_end_once_after_it(
    steps: list[tuple[float, set[str]]], hold: float, clear: float, group: float
) -> None:
    desk = Desk(rule(hold=Seconds(hold), clear=Seconds(clear), group=Seconds(group), repeat=Seconds(600.0)))
    now = 0.0
    for step, sick in steps:
        now += step
        desk.at(now, *(down(name) for name in sick))
    for _ in range(5):  # all is well from here on
        now += 100.0
        desk.at(now)
    assert desk.alerts == {}
    last: dict[str, tuple[str, float]] = {}
    for moment, notice in desk.said:
        for alert in notice.firing:
            word, at = last.get(alert.subject, ("ended", -1e9))
            assert word == "ended" or moment - at >= 600
            last[alert.subject] = ("firing", moment)
        for alert in notice.ended:
            assert last[alert.subject][0] == "firing"
            last[alert.subject] = ("ended", moment)
    assert all(word == "ended" for word, _ in last.values())


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, cut=st.integers(0, 60))
def test_a_restart_at_any_moment_changes_nothing_that_is_said(
    steps: list[tuple[float, set[str]]], cut: int
) -> None:
    """The alerts are all the memory there is: written down and read again they go on as before."""
    from nodegate.alerting.records import read_alert, write_alert

    def run(restart: bool) -> list[tuple[float, list[str], list[str]]]:
        desk, now = Desk(rule(hold=Seconds(10.0))), 0.0
        for number, (step, sick) in enumerate(steps):
            if restart and number == cut:
                read = [read_alert(write_alert(alert)) for alert in desk.alerts.values()]
                desk.alerts = {alert.key: alert for alert in read if alert is not None}
            now += step
            desk.at(now, *(down(name) for name in sick))
        return [(moment, subjects(n.firing), subjects(n.ended)) for moment, n in desk.said]

    assert run(restart=True) == run(restart=False)


def test_an_alert_whose_rule_is_gone_is_dropped() -> None:
    desk = Desk(rule())
    desk.between(0, 100, down())
    desk.rules = (replace(rule(), name="other"),)
    desk.at(101, down())
    assert [key[0] for key in desk.alerts] == ["other"]


UNKNOWN = frozenset({"node/a"})


def test_a_restart_in_the_middle_of_a_hold_does_not_begin_it_anew() -> None:
    desk = Desk(rule(group=Seconds(0.0)))
    desk.between(0, 40, down())
    for second in range(40, 50):  # a fresh daemon has not judged the node yet
        assert desk.at(second, unknown=UNKNOWN) == ()
    assert desk.between(50, 60, down()) == []
    [notice] = desk.at(60, down())
    assert [alert.since for alert in notice.firing] == [T0]


def test_ignorance_is_no_good_news() -> None:
    desk = Desk(rule(hold=Seconds(0.0), group=Seconds(0.0)))
    desk.at(0, down())
    for second in range(1, 100):
        assert desk.at(second, unknown=UNKNOWN) == ()
    assert desk.between(100, 129) == []  # well, but not for long enough yet
    [notice] = desk.at(129)
    assert subjects(notice.ended) == ["node/a"]


def test_ignorance_does_not_keep_what_only_happened() -> None:
    desk = Desk(rule(name="told", on=("neighbour-dead",), hold=Seconds(0.0), group=Seconds(0.0)))
    desk.at(0, Signal("neighbour-dead", "node/a", 1.0, "dead"))
    desk.at(31, unknown=UNKNOWN)
    assert desk.alerts == {}


def test_a_clock_that_was_ahead_before_a_restart_silences_no_alert() -> None:
    desk = Desk(rule(hold=Seconds(0.0), group=Seconds(0.0)))
    desk.at(1e9, down())
    now = Instant(T0)
    desk.alerts = {key: not_ahead(alert, now) for key, alert in desk.alerts.items()}
    assert desk.at(3599, down()) == ()
    [again] = desk.at(3600, down())
    assert subjects(again.firing) == ["node/a"]
    assert desk.between(3601, 3629) == []
    [over] = desk.between(3629, 3640)
    assert subjects(over.ended) == ["node/a"]
