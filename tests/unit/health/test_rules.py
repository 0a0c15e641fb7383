from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.health import assess, criteria_of, parse_version
from nodegate.health.rules import RULES
from nodegate.model import Criteria, Instant, Reading, Seconds, Status
from nodegate.settings import PoolSettings

HEALTHY = Reading(
    height=1204, claimed_tip=1204, syncing=False, peers=5, chain="C", app="IRI", version="1.8.6-RELEASE",
    head_time=Instant(995.0), features=("snapshotPruning", "RemotePOW"),
)  # fmt: skip
STRICT = Criteria(
    max_lag=1, min_peers=2, min_version="1.5.0", app="IRI", chain="C", max_latency=Seconds(1.0),
    max_head_age=Seconds(30.0), require_pow=True,
)  # fmt: skip


def found(
    reading: Reading, criteria: Criteria = STRICT, latency: float | None = 0.1
) -> list[tuple[str, Status, str]]:
    seconds = None if latency is None else Seconds(latency)
    return [
        (finding.rule, finding.severity, finding.text)
        for finding in assess(reading, criteria, now=Instant(1000.0), latency=seconds)
    ]


def changed(**fields: object) -> Reading:
    return replace(HEALTHY, **fields)


def test_a_healthy_reading_has_no_findings() -> None:
    assert found(HEALTHY) == []


def test_without_criteria_an_empty_reading_passes() -> None:
    assert found(Reading(), Criteria()) == []


@pytest.mark.parametrize(
    ("fields", "rule", "severity", "words"),
    [
        ({"expected": False, "note": "status 503"}, "expected", Status.DOWN, "status 503"),
        ({"expected": False}, "expected", Status.DOWN, "not the expected one"),
        ({"syncing": True}, "syncing", Status.DOWN, "still syncing"),
        ({"height": 1197}, "lag", Status.DOWN, "7 heights behind the tip 1,204 that it knows of (at most 1)"),
        ({"peers": 1}, "peers", Status.DOWN, "1 peers (at least 2)"),
        ({"version": "1.4.9"}, "version", Status.DOWN, "'1.4.9' is too old (at least 1.5.0)"),
        ({"version": "unstable"}, "version", Status.DOWN, "cannot be compared"),
        ({"app": "HORNET"}, "app", Status.DOWN, "is 'HORNET', not 'IRI'"),
        ({"chain": "D"}, "chain", Status.DOWN, "on the wrong chain: 'D', not 'C'"),
        ({"head_time": Instant(960.0)}, "head age", Status.DOWN, "40 s old (at most 30 s)"),
        ({"head_time": Instant(math.nan)}, "head age", Status.DOWN, "nan"),
        ({"head_time": Instant(1100.0)}, "head age", Status.DEGRADED, "100 s in the future"),
        ({"features": ()}, "pow", Status.DOWN, "no proof of work"),
        ({"exposed": ("getNeighbors",)}, "exposed", Status.DEGRADED, "getNeighbors"),
        ({"height": -1, "claimed_tip": None}, "height", Status.DOWN, "cannot be true: -1"),
        ({"claimed_tip": 2**64}, "height", Status.DOWN, "its tip cannot be true"),
    ],
)
def test_each_rule_says_what_is_wrong_in_words(
    fields: dict[str, object], rule: str, severity: Status, words: str
) -> None:
    first = found(changed(**fields))[0]
    assert first[:2] == (rule, severity)
    assert words in first[2]


@pytest.mark.parametrize("field", ["height", "peers", "version", "app", "chain", "head_time", "features"])
def test_what_a_rule_needs_and_the_node_does_not_tell_is_a_finding(field: str) -> None:
    findings = found(changed(**{field: None}))
    assert [status for _, status, _ in findings] == [Status.DOWN]
    assert "does not tell" in findings[0][2]


def test_a_tip_that_the_kind_cannot_know_is_left_to_the_pool() -> None:
    assert found(changed(claimed_tip=None, syncing=None)) == []


def test_slow_answers_degrade_and_an_unmeasured_latency_is_no_pass() -> None:
    assert found(HEALTHY, latency=1.5) == [("latency", Status.DEGRADED, "answers in 1.5 s (at most 1 s)")]
    assert [rule for rule, _, _ in found(HEALTHY, latency=None)] == ["latency"]


def test_the_wrong_chain_is_named_before_everything_else() -> None:
    assert [rule for rule, _, _ in found(changed(chain="D", peers=0, syncing=True))] == [
        "chain",
        "syncing",
        "peers",
    ]


def test_a_minimum_that_is_no_version_is_said_and_not_passed() -> None:
    ((rule, status, text),) = found(HEALTHY, Criteria(min_version="newest"))
    assert (rule, status) == ("version", Status.DOWN)
    assert "correct the setting" in text


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9.9", "1.10.0"), ("1.5.6", "1.8.6-RELEASE"), ("1.8.0-beta", "1.8.0"), ("1.8.0-rc1", "1.8.0-RELEASE"),
        ("v1.13.4-stable-3f907d6a", "v1.13.5"), ("1", "1.0.1"), ("1.4.2.1", "1.5"), ("1.7.9", "1.8.0-beta"),
    ],
)  # fmt: skip
def test_versions_are_compared_as_versions(older: str, newer: str) -> None:
    first, second = parse_version(older), parse_version(newer)
    assert first is not None
    assert second is not None
    assert first < second


@pytest.mark.parametrize(("one", "other"), [("1.5", "1.5.0"), ("v1.8.6", "1.8.6-RELEASE"), (" 1.0 ", "1")])
def test_equal_versions_are_equal(one: str, other: str) -> None:
    assert parse_version(one) == parse_version(other) is not None


@pytest.mark.parametrize("text", ["", "latest", "1..2", "1.2.", "x1.2", "1." * 50, "9" * 5000, "²"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_a_pools_settings_override_the_kinds_defaults_field_by_field() -> None:
    merged = criteria_of(STRICT, PoolSettings(max_lag=5, chain="X", min_peers=0))
    assert (merged.max_lag, merged.chain, merged.min_peers) == (5, "X", 0)
    assert (merged.app, merged.max_latency, merged.require_pow) == ("IRI", 1.0, True)
    assert criteria_of(STRICT, PoolSettings()) == STRICT


_SCALARS = st.one_of(st.none(), st.integers(), st.integers(min_value=0, max_value=3000), st.just(16**5000))
_READINGS = st.builds(
    Reading,
    height=_SCALARS, claimed_tip=_SCALARS, syncing=st.sampled_from([None, True, False]), peers=_SCALARS,
    chain=st.none() | st.text(max_size=200), app=st.none() | st.text(max_size=200),
    version=st.none() | st.text(max_size=200), head_time=st.none() | st.floats(),
    exposed=st.lists(st.text(max_size=50), max_size=8).map(tuple),
    features=st.none() | st.lists(st.text(max_size=9), max_size=3).map(tuple),
    expected=st.booleans(), note=st.text(max_size=2000),
)  # fmt: skip


@given(reading=_READINGS, latency=st.none() | st.floats(min_value=0, max_value=1e6))
@settings(deadline=None, max_examples=200)
def test_whatever_a_node_says_the_findings_are_short_printable_and_never_an_exception(
    reading: Reading, latency: float | None
) -> None:
    seconds = None if latency is None else Seconds(latency)
    findings = assess(reading, STRICT, now=Instant(1000.0), latency=seconds)
    assert len(findings) <= len(RULES)
    for finding in findings:
        assert finding.text.isprintable()
        assert 0 < len(finding.text) < 600
        assert finding.severity in {Status.DEGRADED, Status.DOWN}
