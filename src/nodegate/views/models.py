"""The documents as frozen pydantic models, so that OpenAPI describes exactly what is sent and the command
line reads back exactly what was written.

Units stand in the names: `_ms`, `_seconds`; times are ISO 8601 in UTC. None always means "not known
(yet)", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from nodegate.model import ChangeKind, Intent, ServerState, Source, Status
from nodegate.settings import Scalar


class View(BaseModel):
    """Base of all documents. Unknown fields are ignored: an older command line reads a newer daemon."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class NodeRow(View):
    """One node: what was declared, how it is, what it serves."""

    id: str
    url: str
    kind: str
    pool: str
    intent: Intent = Field(description="what the operator wants: serve, drain or remove")
    status: Status
    reasons: tuple[str, ...] = Field(description="why the status is not plainly up, in words")
    height: int | None = Field(description="what the node has fully processed and serves")
    lag: int | None = Field(description="heights behind what a quorum of the pool supports")
    latency_ms: float | None = Field(description="first answer's round trip of the last probe")
    since: str | None = Field(description="when the node took on its status")
    source: Source = Field(
        description="who declared the node: registry, file, or service for one that others registered in Consul"
    )
    weight: int = Field(description="share of the pool's requests, 0 to 256")
    maxconn: int | None = Field(description="requests the node gets at once; null: the pool's setting")
    tls_verify: bool
    options: Mapping[str, Scalar] = Field(description="the kind's own options")
    version: int = Field(description="compare-and-set token: send it as If-Match to change this very record")
    software_version: str | None = Field(description="version that the node reports of itself")
    peers: int | None
    address: str | None = Field(description="IP address that was proven, and that serves")
    serving: bool | None = Field(description="HAProxy sends new requests to the node now")
    sessions: int | None = Field(description="requests under way")
    requests: int | None = Field(description="requests since HAProxy started")
    errors: int | None = Field(description="failed requests since HAProxy started")


class ServerRow(View):
    """A node's place in one HAProxy backend, as it runs."""

    backend: str
    address: str
    port: int
    weight: int
    state: ServerState
    marked_down: bool = Field(description="HAProxy itself took it out after a refused connection")
    sessions: int


class ObservationView(View):
    """The last probe of a node. `failure` is its kind, None when the node could be read."""

    at: str | None
    duration_ms: float
    address: str | None
    failure: str | None
    text: str = Field(description="the failure, or the kind's own note on the answer")
    claimed_tip: int | None = None
    syncing: bool | None = None
    chain: str | None = None
    app: str | None = None
    head_time: str | None = None
    features: tuple[str, ...] | None = None
    exposed: tuple[str, ...] = ()


class NodeDetail(NodeRow):
    """One node with its last probe and its places in HAProxy."""

    observed: ObservationView | None
    servers: tuple[ServerRow, ...]


class NodesDocument(View):
    """Nodes in order of id."""

    nodes: tuple[NodeRow, ...]


class ChangeRow(View):
    """One change of the running routing, in words and in parts."""

    kind: ChangeKind
    what: str
    why: str
    node: str | None = None
    backend: str | None = None


class WithheldRow(View):
    """A change that safety does not allow now, by which rule, and why in numbers."""

    change: ChangeRow
    rule: str
    why: str


class PlanDocument(View):
    """The latest pass's plan. `refused` are changes that HAProxy did not take."""

    at: str | None
    changes: tuple[ChangeRow, ...]
    withheld: tuple[WithheldRow, ...]
    refused: tuple[str, ...]


class RegistryView(View):
    """The registry. With `ok` false the last good inventory stays in force, and its age grows."""

    ok: bool
    text: str
    index: int | None
    nodes: int | None
    age_seconds: float | None = Field(description="time since the inventory was last read")


class HaproxyView(View):
    """The link to HAProxy. With `ok` false HAProxy may well be serving on with its last state."""

    ok: bool
    text: str
    pid: int | None
    uptime_seconds: float | None


class PoolRow(View):
    """One pool: its nodes by status, and what they together support."""

    name: str
    kinds: tuple[str, ...]
    nodes: int
    up: int
    degraded: int
    down: int
    unknown: int
    serving: int | None = Field(description="nodes that get new requests now")
    height: int | None
    height_age_seconds: float | None = Field(description="time since the height was first reached")
    step_seconds: float | None = Field(description="usual time between two heights, once learned")
    voters: int
    chain: str | None


class ClusterView(View):
    """The cluster in short; `/api/v1/gateways` has its gateways one by one."""

    me: str = Field(description="this gateway's name")
    gateways: int = Field(description="gateways that are known, this one too")
    alive: int
    text: str


class StatusDocument(View):
    """The daemon in one look. `state` is starting, ok, or impaired; `faults` say what is wrong."""

    version: str
    state: str
    started_at: str | None
    uptime_seconds: float
    passes: int
    pass_ms: float = Field(description="duration of the latest pass")
    pass_age_seconds: float = Field(description="time since the latest pass; grows if the loop hangs")
    registry: RegistryView
    haproxy: HaproxyView
    pools: tuple[PoolRow, ...]
    changes: int = Field(description="changes in the latest plan")
    withheld: int = Field(description="changes that safety withheld in the latest plan")
    faults: tuple[str, ...]
    cluster: ClusterView | None = Field(None, description="null without a cluster")
