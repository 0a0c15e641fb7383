"""What events and alerts are made from beside the Snapshot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodegate.model import Instant, PoolView, ServerState, Snapshot, Status
from nodegate.routing.diff import applied

STILL_STEPS = 20
"""A pool stands still after this many of its usual steps: nodes are judged earlier (health/quorum.py), a whole
network that hesitates is no reason to wake somebody at once."""
STILL_SHORTEST = 60.0
STILL_LONGEST = 1800.0
"""Seconds: the playbook calls a node stuck whose milestone did not rise for 30 minutes. Also the limit while a
pool's step is not known."""
CERTIFICATE_DAYS = 14.0
"""Days before a certificate's end that are told: ACME clients renew 30 days before it, so something is wrong."""
FEW_NEIGHBOURS = 2
"""Fewer are told: the playbook's threshold."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known beside the snapshot; None: it is not known now, which is no news.

    `bans` are banned clients with the end of the ban, `automatic` those that a policy banned. `policies` are
    versions in force by kind. `peers` says of each other gateway whether it is there. `failing` are channels
    that do not take alerts: since when, and why in words. `still_after` is the operator's limit in seconds.
    """

    bans: Mapping[str, Instant] | None = None
    automatic: frozenset[str] = frozenset()
    certificate_ends: Instant | None = None
    policies: Mapping[str, str] | None = None
    policy_faults: tuple[str, ...] = ()
    peers: Mapping[str, bool] | None = None
    failing: Mapping[str, tuple[Instant, str]] = field(default_factory=dict)
    still_after: float | None = None


def still_for(view: PoolView, now: Instant, still_after: float | None) -> float | None:
    """Seconds since the pool's height rose, None while that is not unusually long."""
    if view.height is None or view.height_at is None:
        return None
    limit = STILL_LONGEST
    if still_after is not None:
        limit = still_after
    elif view.step is not None:
        limit = min(STILL_LONGEST, max(STILL_SHORTEST, STILL_STEPS * view.step))
    still = now - view.height_at
    return still if still > limit else None


def witnessed(snapshot: Snapshot) -> frozenset[str]:
    """Pools of which somebody is up or degraded: only there a standing height is the network's own doing."""
    if snapshot.inventory is None:
        return frozenset()
    verdicts = snapshot.judgement.verdicts
    return frozenset(
        node.pool
        for node in snapshot.inventory.nodes
        if (verdict := verdicts.get(node.id)) and verdict.status in {Status.UP, Status.DEGRADED}
    )


def serving(snapshot: Snapshot) -> dict[str, int] | None:
    """How many nodes of each pool get requests, once the latest plan is obeyed; None while HAProxy cannot be
    asked."""
    if snapshot.inventory is None or snapshot.running is None or snapshot.haproxy_error is not None:
        return None
    counts = dict.fromkeys((node.pool for node in snapshot.inventory.nodes), 0)
    pools = {node.id: node.pool for node in snapshot.inventory.nodes}
    ready: set[str] = set()
    routing = snapshot.running.routing
    if snapshot.plan.changes:
        routing = applied(routing, snapshot.plan.changes)
    for (_, name), server in routing.servers.items():
        if server.state is ServerState.READY and server.weight > 0 and not server.marked_down:
            ready.add(name)
    for name in ready & pools.keys():
        counts[pools[name]] += 1
    return counts


def held_back(snapshot: Snapshot) -> dict[str, list[str]]:
    """By pool (`gateway` for what has none): why safety holds changes back, one sentence for each change."""
    pools = {} if snapshot.inventory is None else {node.id: node.pool for node in snapshot.inventory.nodes}
    found: dict[str, list[str]] = {}
    for item in snapshot.plan.withheld:
        server = item.change.server
        pool = pools.get(server.name) if server is not None else None
        subject = f"pool/{pool}" if pool is not None else "gateway"
        name = server.name if server is not None else item.change.kind.value
        found.setdefault(subject, []).append(f"{name}: {item.rule}: {item.why}")
    return found
