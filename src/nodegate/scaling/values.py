"""The values of scaling: what is seen, what is remembered, what is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nodegate.model import Instant, Intent, Status
from nodegate.settings import ScalingSettings


class Action(StrEnum):
    """What a decision asks for."""

    START = "start"  # call the start command
    DRAIN = "drain"  # give the record the intent remove; the stop command comes when the record is gone
    STOP = "stop"  # call the stop command
    NOTHING = "nothing"


class Phase(StrEnum):
    """How far a node of nodegate's own is."""

    STARTING = "starting"  # the start command is to be called, or has not answered yet
    RUNNING = "running"  # it has a record, or will have one of its own making
    DRAINING = "draining"  # its record is asked to go
    GONE = "gone"  # it has no record any more; the stop command is still owed


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node of the pool as the registry and the latest judgement have it. `since` is when it took on its
    status, `sessions` how many requests it carries now, `routed` whether HAProxy has it at all."""

    id: str
    url: str
    kind: str
    status: Status
    since: Instant
    intent: Intent = Intent.SERVE
    sessions: int = 0
    routed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A pool as the latest pass saw it.

    `rate` is in requests a second, None while it is not known. `blind` says in words why nothing can be
    decided now, empty when all is known; `in_charge` names the gateway that decides for this pool if it is
    another one, else it is empty.
    """

    pool: str
    members: tuple[Member, ...] = ()
    rate: float | None = None
    blind: str = ""
    in_charge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A node that nodegate started. `at` is when it took on its phase, `started_at` when it was first asked
    for. `joined` turns true when it is healthy for the first time. `missing_since` is when its record was
    first seen to be missing without having been asked to go."""

    id: str
    kind: str
    started_at: Instant
    at: Instant
    phase: Phase = Phase.STARTING
    url: str = ""
    joined: bool = False
    missing_since: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What scaling remembers of one pool. `own` is by node id; `failures` counts consecutive failed actions,
    `failure` is the latest one's reason. `surplus_since` is when the pool first had a node too many."""

    own: Mapping[str, Own] = field(default_factory=dict)
    acted_at: Instant | None = None
    acted: str = ""
    failures: int = 0
    failure: str = ""
    surplus_since: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, and why. `node` is empty for a start of a new node (it has no id yet) and for nothing.

    `healthy`, `starting` and `broken` are counts of nodes, `wanted` how many should be healthy.
    """

    action: Action
    why: str
    node: str = ""
    wanted: int = 0
    healthy: int = 0
    starting: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolScaling:
    """What is known of one pool's scaling now. `rate` is in requests a second. `next_request` is the command that
    would be called if nothing had to be waited for (None: nothing is to be done), `busy` what is being done now."""

    pool: str
    rules: ScalingSettings
    rate: float | None
    ledger: Ledger
    decision: Decision
    next_request: Mapping[str, Any] | None
    busy: str
