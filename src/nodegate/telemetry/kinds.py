"""Everything that can happen, in one table: events as operators read them, and what supersedes what.

`Event` here is one thing that happened, kept in the event log; `nodegate.telemetry.Event` names log lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from nodegate.model import Instant


class Severity(StrEnum):
    """How bad it is, from harmless to worst."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 to 2, to compare by."""
        return _RANKS[self]


_RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class Kind(StrEnum):
    """What happened."""

    NODE_UP = "node-up"
    NODE_DEGRADED = "node-degraded"
    NODE_DOWN = "node-down"
    NODE_UNKNOWN = "node-unknown"
    NODE_ADDED = "node-added"
    NODE_REMOVED = "node-removed"
    INTENT = "intent"
    NEIGHBOURS_LOST = "neighbours-lost"
    NEIGHBOURS_BACK = "neighbours-back"
    NEIGHBOUR_DEAD = "neighbour-dead"
    NEIGHBOUR_BACK = "neighbour-back"
    POOL_EMPTY = "pool-empty"
    POOL_SERVING = "pool-serving"
    POOL_STILL = "pool-still"
    POOL_MOVING = "pool-moving"
    WITHHELD = "withheld"
    RELEASED = "released"
    REFUSED = "refused"
    REGISTRY_LOST = "registry-lost"
    REGISTRY_BACK = "registry-back"
    REGISTRY_FAULT = "registry-fault"
    HAPROXY_LOST = "haproxy-lost"
    HAPROXY_BACK = "haproxy-back"
    HAPROXY_RESTARTED = "haproxy-restarted"
    BANNED = "banned"
    UNBANNED = "unbanned"
    POLICY_APPLIED = "policy-applied"
    POLICY_FAULT = "policy-fault"
    CERTIFICATE_ENDING = "certificate-ending"
    CERTIFICATE_GOOD = "certificate-good"
    CERTIFICATE_REFUSED = "certificate-refused"
    TASK_RESTARTED = "task-restarted"
    STARTED = "started"
    STOPPED = "stopped"
    PEER_LOST = "peer-lost"
    PEER_BACK = "peer-back"
    SCALED = "scaled"
    SCALING_FAILED = "scaling-failed"
    REGISTERED = "registered"
    REGISTRATION = "registration"
    ALERT_FIRING = "alert-firing"
    ALERT_RESOLVED = "alert-resolved"
    CHANNEL_FAILED = "channel-failed"
    CHANNEL_BACK = "channel-back"


class About(NamedTuple):
    """A kind's severity, the topic within which kinds supersede each other ("" for what has no state: it just
    happens), and what it means."""

    severity: Severity
    topic: str
    meaning: str


_I, _W, _C = Severity.INFO, Severity.WARNING, Severity.CRITICAL

KINDS: Mapping[Kind, About] = {
    Kind.NODE_UP: About(_I, "status", "a node is up"),
    Kind.NODE_DEGRADED: About(_W, "status", "a node is degraded and keeps a small share of the traffic"),
    Kind.NODE_DOWN: About(_W, "status", "a node is down"),
    Kind.NODE_UNKNOWN: About(_W, "status", "nothing recent is known of a node"),
    Kind.NODE_ADDED: About(_I, "", "a node was declared"),
    Kind.NODE_REMOVED: About(_I, "", "a node's record is gone"),
    Kind.INTENT: About(_I, "intent", "an operator wants a node to serve, drain or go"),
    Kind.NEIGHBOURS_LOST: About(_W, "neighbours", "a node has fewer than two neighbours"),
    Kind.NEIGHBOURS_BACK: About(_I, "neighbours", "it has two or more again"),
    Kind.NEIGHBOUR_DEAD: About(_W, "", "a watch at a node saw a neighbour die"),
    Kind.NEIGHBOUR_BACK: About(_I, "", "that neighbour brings something again"),
    Kind.POOL_EMPTY: About(_C, "service", "no node of a pool gets requests"),
    Kind.POOL_SERVING: About(_I, "service", "a pool has a node for requests again"),
    Kind.POOL_STILL: About(_C, "motion", "a pool's height stands still: milestones or blocks have stopped"),
    Kind.POOL_MOVING: About(_I, "motion", "a pool's height rises again"),
    Kind.WITHHELD: About(_W, "safety", "safety holds changes of a pool back"),
    Kind.RELEASED: About(_I, "safety", "safety holds nothing of it back any more"),
    Kind.REFUSED: About(_W, "", "HAProxy did not take a change"),
    Kind.REGISTRY_LOST: About(_W, "link", "the registry cannot be read"),
    Kind.REGISTRY_BACK: About(_I, "link", "the registry can be read again"),
    Kind.REGISTRY_FAULT: About(_W, "", "a record of the registry cannot be understood"),
    Kind.HAPROXY_LOST: About(_C, "link", "HAProxy does not answer"),
    Kind.HAPROXY_BACK: About(_I, "link", "HAProxy answers again"),
    Kind.HAPROXY_RESTARTED: About(_W, "", "HAProxy was started anew: its counters begin at zero"),
    Kind.BANNED: About(_I, "ban", "a client is banned"),
    Kind.UNBANNED: About(_I, "ban", "a client's ban is over or was lifted"),
    Kind.POLICY_APPLIED: About(_I, "policy", "another version of a policy is in force"),
    Kind.POLICY_FAULT: About(_W, "", "a policy document could not be taken"),
    Kind.CERTIFICATE_ENDING: About(_W, "certificate", "the listener's certificate ends soon"),
    Kind.CERTIFICATE_GOOD: About(_I, "certificate", "the listener's certificate lasts long enough again"),
    Kind.CERTIFICATE_REFUSED: About(_W, "", "a changed certificate file cannot be used"),
    Kind.TASK_RESTARTED: About(_W, "", "a task of the daemon failed and was started again"),
    Kind.STARTED: About(_I, "", "nodegate was started"),
    Kind.STOPPED: About(_I, "", "nodegate was stopped in order"),
    Kind.PEER_LOST: About(_W, "peer", "another gateway of the cluster is gone"),
    Kind.PEER_BACK: About(_I, "peer", "another gateway of the cluster is there"),
    Kind.SCALED: About(_I, "", "a pool was made larger or smaller"),
    Kind.SCALING_FAILED: About(_W, "", "the provider could not start or stop a node"),
    Kind.REGISTERED: About(_I, "", "an owner registered a node and confirmed it"),
    Kind.REGISTRATION: About(
        _I, "", "a registration was approved by an operator, or ended: rejected, banned, left, removed"
    ),
    Kind.ALERT_FIRING: About(_W, "", "an alert fires"),
    Kind.ALERT_RESOLVED: About(_I, "", "an alert is over"),
    Kind.CHANNEL_FAILED: About(_W, "channel", "a channel does not take alerts; they wait"),
    Kind.CHANNEL_BACK: About(_I, "channel", "a channel takes alerts again"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    `subject` is whom it is about: `node/ID`, `pool/NAME`, `client/ADDRESS`, `peer/ID`, `policy/KIND`,
    `channel/NAME`, `registration/ID`, `gateway`, `registry` or `haproxy`. `text` is one sentence. `data` holds JSON-able values.
    `id` counts up in the log, 0 before it is kept there.
    """

    at: Instant
    kind: Kind
    subject: str
    text: str
    severity: Severity
    data: Mapping[str, object] = field(default_factory=dict)
    id: int = 0


def event(
    at: Instant, kind: Kind, subject: str, text: str, /, *, severity: Severity | None = None, **data: object
) -> Event:
    """An event, with the kind's own severity unless another is given; data of None is left out."""
    known = {key: value for key, value in data.items() if value is not None}
    return Event(
        at=at, kind=kind, subject=subject, text=text, severity=severity or KINDS[kind].severity, data=known
    )
