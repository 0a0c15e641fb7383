"""The values that flow through nodegate. All frozen; what is known is in them, and nothing else is.

Times: an `Instant` is seconds since the Unix epoch on the daemon's own steady clock (set once at start,
never stepped afterwards), `Seconds` is a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from nodegate.routes import Route

Seconds = NewType("Seconds", float)
Instant = NewType("Instant", float)

Scalar = str | int | float | bool


class Intent(StrEnum):
    """What the operator wants of a node, whatever its health."""

    SERVE = "serve"
    DRAIN = "drain"  # no new requests, those under way finish
    REMOVE = "remove"  # drain, then forget; the registry record goes when the last request is over


class Source(StrEnum):
    """Who declared a node."""

    REGISTRY = "registry"
    FILE = "file"
    SERVICE = "service"  # a service that others registered in Consul


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One full node as the registry declares it.

    `url` is where the node's API answers (scheme, host, port, path). `weight` is HAProxy's scale, 0 to
    256. `maxconn` bounds concurrent requests to the node, None for no bound. `options` are the kind's own
    (see each module of `nodegate.protocols`). `version` is the compare-and-set token: the registry's
    index at the record's last change, 0 for a record that the registry does not hold. `address` is the only
    IP address that is asked and that serves, whatever the name in `url` resolves to; None: what it resolves
    to. It is set for nodes of strangers, who could point their name at our own network later.
    """

    id: str
    url: str
    kind: str
    pool: str = "main"
    weight: int = 100
    maxconn: int | None = None
    intent: Intent = Intent.SERVE
    tls_verify: bool = True
    options: Mapping[str, Scalar] = field(default_factory=dict)
    source: Source = Source.REGISTRY
    version: int = 0
    address: str | None = None
    failing: str = ""
    """Why it must not serve by its registry's own checks (Consul's), "" when nothing speaks against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All nodes as last read, in order of id.

    `index` grows with every change of the registry. `faults` are records that could not be understood,
    one sentence each: they are reported, never dropped in silence, and do not hide the good ones. `routes` are
    those that services bring along, None where the registry knows of no such thing.
    """

    nodes: tuple[Node, ...]
    index: int
    read_at: Instant
    faults: tuple[str, ...] = ()
    routes: tuple[Route, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One HTTP request to a node. `path` is appended to the path of the node's URL."""

    method: str = "POST"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A node's HTTP response: status, whole body, and the time from request to last byte. `location` is
    where a redirect points to; it is never followed."""

    status: int
    body: bytes
    duration: Seconds
    location: str | None = None


class FailureKind(StrEnum):
    """Why a probe has no reading."""

    NAME = "name"  # the host name does not resolve
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    CLOSED = "closed"  # connection lost before the whole answer
    STATUS = "status"  # an HTTP status that the kind does not expect
    REDIRECT = "redirect"
    TOO_LARGE = "too large"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A probe that got no reading, with the reason in words."""

    kind: FailureKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a node said of itself, in terms that all kinds share. None means: this kind cannot know.

    `height` is what the node has fully processed and serves; `claimed_tip` what it believes the network
    has (IRI: latest milestone index). `chain` identifies the network (EVM chain id, IRI coordinator
    address). `head_time` is the time stamp of the newest block. `exposed` names commands that answer
    although they should be closed to the public. `expected` is False when the kind's own expectation of
    the answer (status, body) is not met, explained by `note`.
    """

    height: int | None = None
    claimed_tip: int | None = None
    syncing: bool | None = None
    peers: int | None = None
    chain: str | None = None
    app: str | None = None
    version: str | None = None
    head_time: Instant | None = None
    exposed: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    expected: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one probe of one node saw. `at` is its end, `duration` the whole probe, `latency` the first
    answer's round trip (None if there was none), `address` the IP address that was asked."""

    node_id: str
    at: Instant
    duration: Seconds
    outcome: Reading | Failure
    latency: Seconds | None = None
    address: str | None = None


class Status(StrEnum):
    """A verdict's word, from best to worst; unknown means no probe has said anything yet."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What a node must meet to be up; None switches a rule off.

    `max_lag` is in heights (blocks, milestones); `max_latency`, `max_head_age` and `max_stall` in seconds.
    `max_stall` None means: learn it from the pool's usual step.
    """

    max_lag: int | None = None
    min_peers: int | None = None
    min_version: str | None = None
    app: str | None = None
    chain: str | None = None
    max_latency: Seconds | None = None
    max_head_age: Seconds | None = None
    max_stall: Seconds | None = None
    require_pow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How clients of a kind name what they call, so that the data plane can tell methods apart.

    `method_key` is the JSON member that holds the method name (`command`, `method`), None for kinds that
    are plain HTTP. `idempotent` are the methods which may be sent to a second node when the first one
    fails.
    """

    method_key: str | None = None
    idempotent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement on one node, and the little that the next judgement has to remember of this one.

    `since` is when `status` was taken on. `reasons` is empty only for a node that is up. `lag` is the
    distance in heights behind what a quorum of the pool supports. `streak` counts consecutive
    observations that contradict `status`, `failures` consecutive ones that ask for down; `height_at` is when
    `height` was first seen. `rules` names what speaks against the node now: rules of `nodegate.health`
    ("lag", "chain", …), or the FailureKind of a probe without a reading.
    """

    node_id: str
    status: Status
    since: Instant
    reasons: tuple[str, ...] = ()
    height: int | None = None
    lag: int | None = None
    latency: Seconds | None = None
    address: str | None = None
    version: str | None = None
    peers: int | None = None
    observed_at: Instant | None = None
    streak: int = 0
    height_at: Instant | None = None
    failures: int = 0
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What a pool's nodes together support: the quorum height, when it was reached, the usual time
    between two heights (None until learned) and from how many advances it was learned, and how many nodes
    had a vote. `peak` is the highest height so far, first reached at `peak_at`: only new peaks teach the step."""

    pool: str
    height: int | None = None
    height_at: Instant | None = None
    step: Seconds | None = None
    voters: int = 0
    chain: str | None = None
    advances: int = 0
    peak: int | None = None
    peak_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All verdicts by node id, and the pools' views by pool name."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    pools: Mapping[str, PoolView] = field(default_factory=dict)


class ServerState(StrEnum):
    """HAProxy's administrative state of a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of one backend, wanted or running.

    `address` is an IP address: names are resolved by the prober, so that the address which was proven
    healthy is the one that serves. `verify` and `sni` count only with `tls`. In a running routing
    `marked_down` says that HAProxy itself took the server out after a refused connection, and `sessions`
    how many requests it carries now.
    """

    backend: str
    name: str
    address: str
    port: int
    weight: int
    state: ServerState
    maxconn: int | None = None
    tls: bool = False
    verify: bool = True
    sni: str | None = None
    marked_down: bool = False
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What HAProxy does, or should do.

    `skeleton` is the digest of everything that only a reload can change (listeners, backends, timeouts);
    `servers` are keyed by (backend, name); `maps` hold, for each map file by name, its entries.
    """

    skeleton: str
    servers: Mapping[tuple[str, str], Server] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class ChangeKind(StrEnum):
    """All that can be done to a running routing, in the order in which a plan does it."""

    RELOAD = "reload"
    ADD = "add"
    SET_ADDRESS = "set address"
    SET_WEIGHT = "set weight"
    SET_MAXCONN = "set maxconn"
    SET_STATE = "set state"
    SET_MAP = "set map"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, with the reason in words. `server` is the wanted server (for `delete` the running one);
    `map_name` and `entries` (the whole wanted map) are set for `set map` only, `skeleton` (the wanted one)
    for `reload` only."""

    kind: ChangeKind
    why: str
    server: Server | None = None
    map_name: str | None = None
    entries: Mapping[str, str] | None = None
    skeleton: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A change that safety does not allow now: which, by which rule, and why in numbers."""

    change: Change
    rule: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ordered changes from the running routing to the wanted one, and what safety withheld."""

    changes: tuple[Change, ...] = ()
    withheld: tuple[Withheld, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTraffic:
    """HAProxy's counters of one server since HAProxy started."""

    requests: int = 0
    errors: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The routing that runs, with HAProxy's process id, uptime in seconds and per-server counters."""

    routing: Routing
    pid: int
    uptime: float
    traffic: Mapping[tuple[str, str], ServerTraffic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the daemon knows after one pass; the one source of what CLI, API and UI show.

    `inventory` is None until the registry was read once. `registry_error` and `haproxy_error` say in words
    what is wrong now, None when all is well; the last good inventory and running state stay beside them.
    `refused` are changes that HAProxy did not take in this pass. `ready` is True once a first pass was
    applied.
    """

    at: Instant
    started_at: Instant
    passes: int = 0
    pass_duration: Seconds = Seconds(0.0)
    ready: bool = False
    inventory: Inventory | None = None
    judgement: Judgement = field(default_factory=Judgement)
    observations: Mapping[str, Observation] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    running: Running | None = None
    registry_error: str | None = None
    haproxy_error: str | None = None
    refused: tuple[str, ...] = ()
