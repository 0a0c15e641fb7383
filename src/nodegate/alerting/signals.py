"""What rules look at: values of nodes, pools and the gateway at one moment. Pure.

A signal that is not known is absent. Nodes that an operator drains or removes give none: what is out on purpose
wakes nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple

from nodegate.alerting.facts import DAY, Facts, held_back, serving, still_for, witnessed
from nodegate.model import Failure, Instant, Intent, Node, Observation, Snapshot, Status, Verdict
from nodegate.views import span


class Signal(NamedTuple):
    """One value. `name` is a key of `nodegate.settings.alerts.SIGNALS`, or an event's kind; `since` is when
    what it says began, if that is known."""

    name: str
    subject: str
    value: float
    text: str
    pool: str | None = None
    node_kind: str | None = None
    since: Instant | None = None


def signals(snapshot: Snapshot, facts: Facts, now: Instant, wanted: Set[str]) -> Iterator[Signal]:
    """All signals of the `wanted` names that are known now."""
    if any(name.startswith("node-") for name in wanted):
        yield from _nodes(snapshot, now, wanted)
    for find in (_pools, _gateway, _around):
        for signal in find(snapshot, facts, now):
            if signal.name in wanted:
                yield signal


def unknown(snapshot: Snapshot) -> frozenset[str]:
    """Nodes that should serve and of which nothing is known now, as after a restart."""
    verdicts = snapshot.judgement.verdicts
    return frozenset(
        f"node/{node.id}"
        for node in (() if snapshot.inventory is None else snapshot.inventory.nodes)
        if node.intent is Intent.SERVE
        and ((verdict := verdicts.get(node.id)) is None or verdict.status is Status.UNKNOWN)
    )


class _Seen(NamedTuple):
    """One node as it is seen now."""

    node: Node
    verdict: Verdict
    observation: Observation | None
    now: Instant


_STATUSES = {
    "node-down": Status.DOWN,
    "node-degraded": Status.DEGRADED,
    "node-unknown": Status.UNKNOWN,
}


def _nodes(snapshot: Snapshot, now: Instant, wanted: Set[str]) -> Iterator[Signal]:
    verdicts = snapshot.judgement.verdicts
    statuses = [(name, status) for name, status in _STATUSES.items() if name in wanted]
    measures = [measure for name, measure in _MEASURES.items() if name in wanted]
    for node in () if snapshot.inventory is None else snapshot.inventory.nodes:
        verdict = verdicts.get(node.id)
        if verdict is None or node.intent is not Intent.SERVE:
            continue
        for name, status in statuses:
            if verdict.status is status:
                why = "; ".join(verdict.reasons)
                text = f"{node.id} is {status.value}{f': {why}' if why else ''}"
                yield _of(name, node, now - verdict.since, text, verdict.since)
        if verdict.status in {Status.DOWN, Status.UNKNOWN}:
            continue  # it says nothing now, and its last words are old
        seen = _Seen(node, verdict, snapshot.observations.get(node.id), now)
        for measure in measures:
            if (signal := measure(seen)) is not None:
                yield signal


def _of(name: str, node: Node, value: float, text: str, since: Instant | None = None) -> Signal:
    return Signal(name, f"node/{node.id}", value, text, node.pool, node.kind, since)


def _lag(seen: _Seen) -> Signal | None:
    """Latest milestone less latest solid one, as the playbook counts; else behind the pool."""
    outcome = None if seen.observation is None else seen.observation.outcome
    lag = seen.verdict.lag
    told = None if isinstance(outcome, Failure) else outcome
    if told is not None and told.claimed_tip is not None and told.height is not None:
        lag = max(told.claimed_tip - told.height, lag or 0)
    if lag is None:
        return None
    return _of("node-lag", seen.node, lag, f"{seen.node.id} is {lag:,} heights behind")


def _neighbours(seen: _Seen) -> Signal | None:
    peers = seen.verdict.peers
    if peers is None:
        return None
    text = f"{seen.node.id} has {peers:,} neighbour{'' if peers == 1 else 's'}"
    return _of("node-neighbours", seen.node, peers, text)


def _still(seen: _Seen) -> Signal | None:
    at = seen.verdict.height_at
    if at is None or seen.verdict.height is None:
        return None
    still = seen.now - at
    text = f"{seen.node.id} stands at height {seen.verdict.height:,} for {span(still)}"
    return _of("node-still", seen.node, still, text)


def _no_height(seen: _Seen) -> Signal | None:
    outcome = None if seen.observation is None else seen.observation.outcome
    if outcome is None or isinstance(outcome, Failure) or outcome.height is not None:
        return None
    return _of("node-no-height", seen.node, 1.0, f"{seen.node.id} answers without telling its height")


_MEASURES: Mapping[str, Callable[[_Seen], Signal | None]] = {
    "node-lag": _lag,
    "node-neighbours": _neighbours,
    "node-still": _still,
    "node-no-height": _no_height,
}


def _pools(snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[Signal]:
    for pool, count in (serving(snapshot) or {}).items():
        if count == 0:
            yield Signal("pool-empty", f"pool/{pool}", 1.0, f"no node of pool {pool} gets requests", pool)
    alive = witnessed(snapshot)
    for view in snapshot.judgement.pools.values():
        still = still_for(view, now, facts.still_after)
        if still is not None and view.pool in alive:
            text = f"pool {view.pool} stands at height {view.height:,} for {span(still)}"
            yield Signal("pool-still", f"pool/{view.pool}", still, text, view.pool, since=view.height_at)
    yield from _shares(snapshot)
    for subject, reasons in held_back(snapshot).items():
        of_pool = subject.removeprefix("pool/") if subject.startswith("pool/") else None
        yield Signal("withheld", subject, len(reasons), f"{len(reasons)} held back: {reasons[0]}", of_pool)


def _shares(snapshot: Snapshot) -> Iterator[Signal]:
    wanted: Counter[str] = Counter()
    out: Counter[str] = Counter()
    for node in () if snapshot.inventory is None else snapshot.inventory.nodes:
        verdict = snapshot.judgement.verdicts.get(node.id)
        if node.intent is Intent.SERVE and verdict is not None:
            wanted[node.pool] += 1
            out[node.pool] += verdict.status in {Status.DOWN, Status.UNKNOWN}
    for pool, total in wanted.items():
        text = f"{out[pool]} of {total} nodes of pool {pool} are out"
        yield Signal("pool-out", f"pool/{pool}", out[pool] / total, text, pool)


def _gateway(snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[Signal]:
    if snapshot.registry_error is not None:
        since = None if snapshot.inventory is None else snapshot.inventory.read_at
        age = 0.0 if since is None else now - since
        yield Signal("registry-lost", "registry", age, snapshot.registry_error, since=since)
    if snapshot.haproxy_error is not None:
        yield Signal("haproxy-lost", "haproxy", 1.0, snapshot.haproxy_error)


def _around(snapshot: Snapshot, facts: Facts, now: Instant) -> Iterator[Signal]:
    if facts.certificate_ends is not None:
        days = (facts.certificate_ends - now) / DAY
        words = f"ends in {days:.0f} days" if days > 0 else "has ended"
        yield Signal("certificate-days", "gateway", days, f"the listener's certificate {words}")
    if facts.policy_faults:
        text = facts.policy_faults[0]
        yield Signal("policy-faults", "gateway", len(facts.policy_faults), text)
    for peer, there in (facts.peers or {}).items():
        if not there:
            yield Signal("peer-lost", f"peer/{peer}", 1.0, f"gateway {peer} is gone")
    for name, (since, why) in facts.failing.items():
        text = f"channel {name} does not take alerts: {why}"
        yield Signal("channel-failed", f"channel/{name}", now - since, text, since=since)
