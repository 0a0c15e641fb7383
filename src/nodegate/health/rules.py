"""The rules that need no other node: one table, each row a question to a reading.

A rule is on when its criterion is set. A reading that lacks what a switched-on rule needs is a finding,
never a pass: None means that this node does not tell, and what is not told cannot serve as proof. Three
fields are excused because whole kinds cannot know them: `claimed_tip` (most EVM nodes name a tip only
while they sync; the pool's quorum judges them), `syncing` (no criterion asks for it), and `height` for
`max_stall` (kinds without heights cannot stand still).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from nodegate.health.words import listed, number, plain, quoted, seconds
from nodegate.model import Criteria, Instant, Reading, Seconds, Status
from nodegate.settings import PoolSettings

CHAIN = "chain"
"""The rule whose breach takes a node out at once: wrong data is worse than one answer less."""

LARGEST_HEIGHT = 2**63 - 1
"""Heights are 64-bit (or smaller) in every chain known to us; more is a broken or a hostile answer."""

FUTURE_SLACK = Seconds(60.0)
"""How far a head's time stamp may be ahead of this machine's clock before one of the two must be wrong."""

POW_FEATURE = "RemotePOW"
"""How IRI names proof of work for others in `features` (API.java of IRI ≥ 1.5.6)."""

Version = tuple[tuple[int, ...], int]
_VERSION = re.compile(r"[vV]?([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})(?![0-9.])(.{0,100})", re.DOTALL)
_BEFORE_RELEASE = re.compile(r"alpha|beta|rc|dev|pre|snapshot|nightly|unstable", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that speaks against a node: how much (DEGRADED or DOWN), in words, by which rule."""

    severity: Status
    text: str
    rule: str


def down(rule: str, text: str) -> Finding:
    """A finding that takes a node out."""
    return Finding(severity=Status.DOWN, text=text, rule=rule)


def degraded(rule: str, text: str) -> Finding:
    """A finding that leaves a node a small share of the traffic."""
    return Finding(severity=Status.DEGRADED, text=text, rule=rule)


def assess(
    reading: Reading, criteria: Criteria, *, now: Instant, latency: Seconds | None
) -> tuple[Finding, ...]:
    """What a reading alone says against its node, in the order of the table; empty when all is well.

    `now` is the time of the reading, `latency` the first answer's round trip in seconds.
    """
    facts = Facts(reading, criteria, now, latency)
    findings = []
    for rule in RULES:
        finding = rule(facts)
        if finding is not None:
            findings.append(finding)
    return tuple(findings)


def criteria_of(defaults: Criteria, pool: PoolSettings) -> Criteria:
    """The kind's defaults with the pool's own settings over them, field by field."""
    chosen = {name: value for name in _SETTABLE if (value := getattr(pool, name)) is not None}
    return replace(defaults, **chosen) if chosen else defaults


_SETTABLE = (
    "max_lag", "min_peers", "min_version", "app", "chain", "max_latency", "max_head_age", "max_stall",
)  # fmt: skip


@lru_cache(maxsize=1024)
def parse_version(text: str) -> Version | None:
    """A version as something that can be compared, None when `text` is none.

    The numeric parts count as numbers (1.10 > 1.9), trailing zeros do not (1.5 = 1.5.0), a leading `v` is
    skipped. A suffix such as `-beta`, `-rc1` or `-SNAPSHOT` comes before the release of the same number;
    any other (`-RELEASE`, `-stable`, `+commit`) means the release itself.
    """
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    numbers = [int(part) for part in match.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), -1 if _BEFORE_RELEASE.search(match.group(2)) else 0


def plausible_height(height: int | None) -> int | None:
    """`height` if it can be one, else None."""
    return height if height is not None and 0 <= height <= LARGEST_HEIGHT else None


class Facts(NamedTuple):
    """What a rule looks at."""

    reading: Reading
    criteria: Criteria
    now: Instant
    latency: Seconds | None


def _expected(facts: Facts) -> Finding | None:
    if facts.reading.expected:
        return None
    return down("expected", plain(facts.reading.note) or "the answer is not the expected one")


def _plausible(facts: Facts) -> Finding | None:
    for name, value in (("height", facts.reading.height), ("tip", facts.reading.claimed_tip)):
        if value is not None and not 0 <= value <= LARGEST_HEIGHT:
            return down("height", f"its {name} cannot be true: {number(value)}")
    return None


def _syncing(facts: Facts) -> Finding | None:
    return down("syncing", "says itself that it is still syncing") if facts.reading.syncing else None


def _own_lag(facts: Facts) -> Finding | None:
    limit, height, tip = facts.criteria.max_lag, facts.reading.height, facts.reading.claimed_tip
    if limit is None:
        return None
    if height is None:
        return _untold("lag", "its height", "max_lag")
    if tip is None or tip - height <= limit:
        return None
    return down(
        "lag",
        f"{number(tip - height)} heights behind the tip {number(tip)} that it knows of (at most {limit})",
    )


def _peers(facts: Facts) -> Finding | None:
    least, peers = facts.criteria.min_peers, facts.reading.peers
    if least is None:
        return None
    if peers is None:
        return _untold("peers", "how many peers it has", "min_peers")
    return None if peers >= least else down("peers", f"{number(peers)} peers (at least {number(least)})")


def _version(facts: Facts) -> Finding | None:
    wanted, version = facts.criteria.min_version, facts.reading.version
    if wanted is None:
        return None
    if version is None:
        return _untold("version", "its version", "min_version")
    least, mine = parse_version(wanted), parse_version(version)
    if least is None:
        return down(
            "version", f"min_version {quoted(wanted)} is not a version such as 1.8.6: correct the setting"
        )
    if mine is None:
        return down("version", f"its version {quoted(version)} cannot be compared (at least {wanted})")
    return (
        None
        if mine >= least
        else down("version", f"version {quoted(version)} is too old (at least {wanted})")
    )


def _app(facts: Facts) -> Finding | None:
    wanted, app = facts.criteria.app, facts.reading.app
    if wanted is None:
        return None
    if app is None:
        return _untold("app", "what software it is", "app")
    return (
        None
        if app.casefold() == wanted.casefold()
        else down("app", f"is {quoted(app)}, not {quoted(wanted)}")
    )


def _chain(facts: Facts) -> Finding | None:
    wanted, chain = facts.criteria.chain, facts.reading.chain
    if wanted is None or chain == wanted:
        return None
    if chain is None:
        return _untold(CHAIN, "which chain it is on", "chain")
    return down(CHAIN, f"on the wrong chain: {quoted(chain)}, not {quoted(wanted)}")


def _head_age(facts: Facts) -> Finding | None:
    limit, head = facts.criteria.max_head_age, facts.reading.head_time
    if limit is None:
        return None
    if head is None:
        return _untold("head age", "how old its newest block is", "max_head_age")
    age = facts.now - head
    if not age <= limit:  # written so that NaN does not pass
        return down("head age", f"its newest block is {seconds(age)} old (at most {seconds(limit)})")
    if age < -FUTURE_SLACK:
        return degraded(
            "head age", f"its newest block is {seconds(-age)} in the future: one of the two clocks is wrong"
        )
    return None


def _pow(facts: Facts) -> Finding | None:
    if not facts.criteria.require_pow:
        return None
    if facts.reading.features is None:
        return _untold("pow", "whether it does proof of work", "require_pow")
    return None if POW_FEATURE in facts.reading.features else down("pow", "does no proof of work for others")


def _latency(facts: Facts) -> Finding | None:
    limit, latency = facts.criteria.max_latency, facts.latency
    if limit is None:
        return None
    if latency is None:
        return degraded("latency", "its latency was not measured, which max_latency asks for")
    if latency <= limit:
        return None
    return degraded("latency", f"answers in {seconds(latency)} (at most {seconds(limit)})")


def _exposed(facts: Facts) -> Finding | None:
    """DEGRADED only: nodegate's own clients cannot reach what its firewall closes, but who finds the node's
    address can stall or steer it, so others are the better choice."""
    if not facts.reading.exposed:
        return None
    return degraded(
        "exposed", f"answers commands that should be closed to the public: {listed(facts.reading.exposed)}"
    )


def _untold(rule: str, what: str, criterion: str) -> Finding:
    return down(rule, f"does not tell {what}, which {criterion} asks for")


RULES: tuple[Callable[[Facts], Finding | None], ...] = (
    _chain,
    _expected,
    _plausible,
    _syncing,
    _own_lag,
    _head_age,
    _peers,
    _version,
    _app,
    _pow,
    _latency,
    _exposed,
)
"""All rules, the gravest first: the first finding is the one that is shown when there is room for one."""
