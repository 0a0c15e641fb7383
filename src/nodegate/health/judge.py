"""judge(): what all observations together say about every node.

Status follows findings with patience, counted in observations (never in passes, which come more often):

| status is        | changes to        | after                                                      |
|------------------|-------------------|------------------------------------------------------------|
| never compared   | what it shows     | one observation                                            |
| up               | down              | `fall` consecutive observations that ask for down          |
| up               | degraded          | `fall` consecutive ones that ask for degraded or worse     |
| degraded         | down              | `fall` consecutive ones that ask for down                  |
| degraded         | up                | `rise` consecutive passes                                  |
| down             | up or degraded    | `rise` consecutive ones that do not ask for down           |
| unknown by age   | up or degraded    | one                                                        |
| unknown by age   | down              | `fall`, counted on from before                             |
| any              | down              | one on the wrong chain                                     |
| any              | unknown           | no observation for `max_age` seconds (down: twice that)    |

A down that rests on one first failure alone has `0 < failures < fall`: it tells routing that a server which
an earlier nodegate left running deserves the patience that its node has not had yet.

A new node's first observation counts at once, and once more when it becomes the first that the pool's
quorum can be compared with, so that a liar that is heard first does not gain from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nodegate.health.pool import Sample, pool_findings
from nodegate.health.quorum import Quorum, quorum_of, stands_since
from nodegate.health.rules import CHAIN, Finding, assess, down, plausible_height
from nodegate.health.words import plain, short
from nodegate.model import (
    Criteria,
    Failure,
    Instant,
    Inventory,
    Judgement,
    Node,
    Observation,
    PoolView,
    Reading,
    Seconds,
    Status,
    Verdict,
)
from nodegate.settings import HealthSettings

LONG_DEAD = 2
"""A down node's observation counts this many times longer: the prober asks the long dead less often, and
being asked less often must not turn what is known to be down into unknown."""

_NO_CRITERIA = Criteria()


def judge(
    inventory: Inventory,
    observations: Mapping[str, Observation],
    before: Judgement,
    now: Instant,
    *,
    criteria: Mapping[str, Criteria],
    settings: HealthSettings,
) -> Judgement:
    """Verdicts on all nodes of `inventory`, and the pools' views.

    `observations` are the latest by node id; an observation of a node whose record has changed since must
    not be among them. `before` is the last judgement (empty after a start), `criteria` are by pool name.
    The same observations judged again change nothing but what grew too old.
    """
    verdicts: dict[str, Verdict] = {}
    views: dict[str, PoolView] = {}
    for pool, nodes in _by_pool(inventory).items():
        rules = criteria.get(pool, _NO_CRITERIA)
        quorum = quorum_of(
            pool, nodes, observations, before, now, criteria=rules, max_age=Seconds(settings.max_age)
        )
        bench = _Bench(quorum, rules, now, settings)
        views[pool] = quorum.view
        for node in nodes:
            verdicts[node.id] = _verdict(
                node.id, observations.get(node.id), before.verdicts.get(node.id), bench
            )
    return Judgement(verdicts=verdicts, pools=views)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all nodes of one pool are judged by."""

    quorum: Quorum
    criteria: Criteria
    now: Instant
    settings: HealthSettings


class _Count(NamedTuple):
    """A status with the counts that the next observation continues."""

    status: Status
    streak: int
    failures: int


def _by_pool(inventory: Inventory) -> dict[str, list[Node]]:
    pools: dict[str, list[Node]] = {}
    for node in inventory.nodes:
        pools.setdefault(node.pool, []).append(node)
    return pools


def _verdict(node_id: str, observation: Observation | None, old: Verdict | None, bench: _Bench) -> Verdict:
    if observation is None:
        if old is not None and old.observed_at is None:
            return old
        return Verdict(
            node_id=node_id, status=Status.UNKNOWN, since=bench.now, reasons=("no probe has ended yet",)
        )
    first = _is_first(old, observation, bench.quorum)
    if old is not None and old.observed_at is not None and observation.at <= old.observed_at and not first:
        return _aged(old, bench)
    outcome = observation.outcome
    if isinstance(outcome, Failure):
        verdict = _failed(old, observation, outcome, bench, first=first)
    else:
        verdict = _read(old, observation, outcome, bench, first=first)
    return _aged(verdict, bench)


def _is_first(old: Verdict | None, observation: Observation, quorum: Quorum) -> bool:
    """Whether this observation counts at once: the very first, or the first that can be compared of a node
    which passed before there was a quorum."""
    if old is None or old.observed_at is None:
        return True
    if old.failures or old.lag is not None or old.height is None or quorum.view.height is None:
        return False
    return old.status in {Status.UP, Status.DEGRADED} and isinstance(observation.outcome, Reading)


def _failed(
    old: Verdict | None, observation: Observation, failure: Failure, bench: _Bench, *, first: bool
) -> Verdict:
    """The verdict after a probe without a reading; what the last reading said is kept."""
    count = _counted(old, Status.DOWN, bench.settings, first=first, immediate=False)
    finding = down(str(failure.kind), plain(failure.text) or str(failure.kind))
    return Verdict(
        node_id=observation.node_id,
        status=count.status,
        since=_since(old, count.status, observation.at),
        reasons=_reasons(count, Status.DOWN, (finding,), bench.settings),
        height=old.height if old else None,
        lag=old.lag if old else None,
        address=old.address if old else None,
        version=old.version if old else None,
        peers=old.peers if old else None,
        observed_at=observation.at,
        streak=count.streak,
        height_at=old.height_at if old else None,
        failures=count.failures,
        rules=(finding.rule,),
    )


def _read(
    old: Verdict | None, observation: Observation, reading: Reading, bench: _Bench, *, first: bool
) -> Verdict:
    """The verdict after a reading."""
    at, reached = observation.at, bench.quorum.view.height
    height = plausible_height(reading.height)
    stands = at if height is None else stands_since(old, height, at)
    findings: Sequence[Finding] = assess(reading, bench.criteria, now=at, latency=observation.latency)
    sample = Sample(observation.node_id, reading, height, at, stands)
    if of_pool := pool_findings(sample, bench.quorum, bench.criteria):
        findings = sorted((*of_pool, *findings), key=_gravity)
    target = _target(findings)
    immediate = target is Status.DOWN and any(finding.rule == CHAIN for finding in findings)
    count = _counted(old, target, bench.settings, first=first, immediate=immediate)
    return Verdict(
        node_id=observation.node_id,
        status=count.status,
        since=_since(old, count.status, at),
        reasons=_reasons(count, target, findings, bench.settings),
        height=height,
        lag=None if height is None or reached is None else max(0, reached - height),
        latency=observation.latency,
        address=_proven_address(old, observation, target),
        version=None if reading.version is None else short(reading.version),
        peers=reading.peers,
        observed_at=at,
        streak=count.streak,
        height_at=None if height is None else stands,
        failures=count.failures,
        rules=tuple(dict.fromkeys(finding.rule for finding in findings)) if findings else (),
    )


def _since(old: Verdict | None, status: Status, at: Instant) -> Instant:
    return old.since if old is not None and old.status is status else at


def _gravity(finding: Finding) -> bool:
    return finding.severity is not Status.DOWN


def _target(findings: Sequence[Finding]) -> Status:
    """The status that findings ask for."""
    if not findings:
        return Status.UP
    return Status.DOWN if any(finding.severity is Status.DOWN for finding in findings) else Status.DEGRADED


def _proven_address(old: Verdict | None, observation: Observation, target: Status) -> str | None:
    """The address that was asked when the node last was fit to serve."""
    if target is not Status.DOWN and observation.address is not None:
        return observation.address
    return old.address if old else None


def _counted(
    old: Verdict | None, target: Status, settings: HealthSettings, *, first: bool, immediate: bool
) -> _Count:
    """Status, streak and failures after one more observation that asks for `target` (see the table above)."""
    failures = (old.failures if old else 0) + 1 if target is Status.DOWN else 0
    if failures and (immediate or (old is not None and _proves_down(old, first=first))):
        return _Count(Status.DOWN, 0, max(failures, settings.fall))
    if old is None or first:
        return _Count(target, 0, failures)
    if failures >= settings.fall:
        return _Count(Status.DOWN, 0, failures)
    if old.status is Status.UNKNOWN:
        return _Count(Status.UNKNOWN if failures else target, failures, failures)
    if target is old.status:
        return _Count(target, 0, failures)
    return _contradicted(old, target, failures, settings)


def _proves_down(old: Verdict, *, first: bool) -> bool:
    """Whether one failure says as much as `fall`: of a node that is down and relapses on its way back, and of
    one that is compared with the quorum for the first time."""
    relapse = old.status is Status.DOWN and old.failures == 0
    return relapse or (first and old.observed_at is not None)


def _contradicted(old: Verdict, target: Status, failures: int, settings: HealthSettings) -> _Count:
    """After an observation that speaks against the status, while too few failed in a row for down."""
    if old.status is Status.UP:
        streak = old.streak + 1
        if streak >= settings.fall:
            return _Count(Status.DEGRADED, 0, failures)
        return _Count(Status.UP, streak, failures)
    if target is Status.DOWN:
        return _Count(old.status, failures, failures)
    streak = 1 if old.failures else old.streak + 1
    return _Count(target, 0, 0) if streak >= settings.rise else _Count(old.status, streak, 0)


def _reasons(
    count: _Count, target: Status, findings: Sequence[Finding], settings: HealthSettings
) -> tuple[str, ...]:
    """The findings in words; what has not changed the status yet says how far it is from doing so."""
    if target is count.status is Status.UP:
        return ()
    texts = tuple(finding.text for finding in findings)
    if target is count.status:
        return texts
    if target is Status.DOWN:
        return (f"{count.failures} of {settings.fall} failures: {texts[0]}", *texts[1:])
    if count.status is Status.UP:
        return (f"{count.streak} of {settings.fall} times: {texts[0]}", *texts[1:])
    return (f"answers better: {count.streak} of {settings.rise} good answers in a row", *texts)


def _aged(verdict: Verdict, bench: _Bench) -> Verdict:
    """`verdict`, or unknown when its observation is too old. What it knew is kept."""
    if verdict.status is Status.UNKNOWN or verdict.observed_at is None:
        return verdict
    limit = bench.settings.max_age * (LONG_DEAD if verdict.status is Status.DOWN else 1)
    if bench.now - verdict.observed_at <= limit:
        return verdict
    return Verdict(
        node_id=verdict.node_id,
        status=Status.UNKNOWN,
        since=Instant(verdict.observed_at + limit),
        reasons=(f"the last probe ended more than {limit:g} s ago",),
        height=verdict.height,
        lag=verdict.lag,
        address=verdict.address,
        version=verdict.version,
        peers=verdict.peers,
        observed_at=verdict.observed_at,
        height_at=verdict.height_at,
        failures=verdict.failures,
    )
