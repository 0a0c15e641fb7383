"""The tables of nodegate.toml. Every field: its unit, what None means, why the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from nodegate.settings.alerts import AlertsSettings
from nodegate.settings.base import Section
from nodegate.settings.checks import (
    Address,
    Header,
    HostName,
    Name,
    PathPrefix,
    PolicyChoice,
    Scalar,
    Url,
)
from nodegate.settings.cluster import ClusterSettings
from nodegate.settings.dashboard import DashboardSettings
from nodegate.settings.fabio import FabioSettings
from nodegate.settings.mail import MailSettings
from nodegate.settings.portal import PortalSettings
from nodegate.settings.registry import RegistrySettings
from nodegate.settings.scaling import ScalingSettings


class GatewaySettings(Section):
    """`[gateway]`: where clients come in, and what HAProxy is."""

    listen: tuple[Address, ...] = Field(
        ("127.0.0.1:14267",),
        min_length=1,
        description="addresses for clients; 14267 is where the IRI playbook put its public API",
    )
    admin: Address = Field("127.0.0.1:9780", description="address of the admin API; keep it off the internet")
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with certificate chain and key; None: plain HTTP. A changed file is taken over without a reload",
    )
    health: Address | None = Field(
        None,
        description="address where HAProxy itself answers, in plain HTTP, whether it has ready nodes: for keepalived, cloud load balancers and DNS. None: nowhere",
    )
    node_header: Header = Field(
        "X-Nodegate-Node", description="response header that names the serving node; empty: none"
    )
    request_id_header: Header = Field(
        "X-Request-Id", description="header that carries the request id to node and client; empty: none"
    )
    maxconn: int = Field(
        4000,
        ge=1,
        le=1_000_000,
        description="connections served at once, over all listeners; more wait in the kernel's queue",
    )
    haproxy: Path | None = Field(
        None, description="HAProxy binary, 2.8 or newer; None: the one that was installed with nodegate"
    )
    start_haproxy: bool = Field(
        True,
        description="start HAProxy when it does not run; false: a service manager does (`nodegate haproxy`), nodegate only takes the running one over and never stops it",
    )
    client_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds a client may be silent in mid-request; slow phones need some, slowloris gets no more",
    )
    max_body: int = Field(
        16_384,
        ge=1024,
        le=4_194_304,
        description="bytes of request body that HAProxy keeps to send it again to a second node, where a pool has no policy (else the policy's body.max_bytes counts); larger bodies pass but are not retried",
    )
    access_log: bool = Field(
        True, description="write one JSON line per request to access.log in the state directory"
    )
    access_log_bytes: int = Field(
        50_000_000,
        ge=10_000,
        description="size at which the access log is put aside; three older ones are kept",
    )
    log_bodies: int = Field(
        0,
        ge=0,
        le=2048,
        description="bytes of each request body to log, with long runs of trytes shortened; 0: none",
    )


class ProbeSettings(Section):
    """`[probe]`: how nodes are asked."""

    interval: float = Field(
        2.0,
        ge=0.1,
        le=3600,
        description="seconds between two probes of one node; 10 is plenty for thousands of nodes",
    )
    timeout: float = Field(
        3.0, ge=0.05, le=300, description="seconds for one whole probe, all its questions together"
    )
    max_bytes: int = Field(
        1_048_576, ge=1024, description="bytes of one answer; a getNodeInfo has about 1,000"
    )
    concurrency: int = Field(512, ge=1, le=10_000, description="probes in flight at once")
    jitter: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="share of the interval by which probes are spread, so that nodes are not asked in step",
    )
    backoff_after: float = Field(
        120.0, ge=0, description="seconds a node has been failing before it is asked less often"
    )
    backoff_max: float = Field(
        30.0,
        ge=0.1,
        description="longest interval in seconds for the long dead; how long a healed node may have to wait",
    )


class HealthSettings(Section):
    """`[health]`: when a node changes its status."""

    rise: int = Field(
        2,
        ge=1,
        le=100,
        description="consecutive passes that bring a node back; the very first pass of a new node counts at once",
    )
    fall: int = Field(
        3, ge=1, le=100, description="consecutive failures that take a node out; one lost packet must not"
    )
    max_age: float = Field(
        60.0,
        gt=0,
        description="seconds after which an observation says nothing any more and the verdict becomes unknown",
    )


class SafetySettings(Section):
    """`[safety]`: what stands between plan and apply."""

    panic_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of a pool that may be out on health grounds; beyond it the least bad keep serving",
    )
    max_inventory_age: float = Field(
        300.0,
        gt=0,
        description="seconds after which an inventory that could not be read again is called stale: nothing is removed because of it",
    )


class PoolSettings(Section):
    """`[pools.NAME]`: nodes that answer for each other. A pool that is only named by nodes has the defaults."""

    kind: Name | None = Field(None, description="kind of the nodes; None: that of the pool's first node")
    hosts: tuple[HostName, ...] = Field((), description="host names that lead to this pool")
    paths: tuple[PathPrefix, ...] | None = Field(
        None,
        description="path prefixes that lead to this pool; None: /NAME, and everything that matches nothing else for the pool `main`",
    )
    policy: PolicyChoice | None = Field(
        None,
        description='what clients may ask: "default" (the shipped policy, and what `nodegate policy apply` laid over it), "off", or the path of a policy document; None: default for iri and evm, off for other kinds',
    )
    strip_path: bool = Field(True, description="cut the matched prefix before the request goes to a node")
    upstream_path: PathPrefix = Field(
        "", description="path of the API on every node of the pool, such as /v1/chain/evm; empty: the root"
    )
    upstream_host: HostName | None = Field(
        None, description="Host header towards the nodes; None: as the client sent it"
    )
    balance: Literal["leastconn", "roundrobin", "source", "first"] = Field(
        "leastconn",
        description="how HAProxy picks a node; leastconn keeps slow nodes from piling up requests",
    )
    websocket: bool = Field(True, description="let WebSocket upgrades through")
    degraded_weight: float = Field(
        0.1, ge=0, le=1, description="share of its weight that a degraded node keeps"
    )
    maxconn: int | None = Field(
        None,
        ge=1,
        description="requests a node gets at once, unless its record says otherwise; None: no bound",
    )
    connect_timeout: float = Field(2.0, gt=0, le=60, description="seconds to reach a node")
    server_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds a node may be silent before the request goes to another one or ends in 504",
    )
    queue_timeout: float = Field(5.0, gt=0, le=600, description="seconds a request waits for a free node")
    tunnel_timeout: float = Field(
        3600.0,
        gt=0,
        le=2_000_000,
        description="seconds a WebSocket may be silent; HAProxy's timers end at 24 days",
    )
    retries: int = Field(3, ge=0, le=10, description="further tries of an idempotent request")
    tls_ca: Path | None = Field(
        None, description="PEM file of the authorities that sign the nodes' certificates; None: the system's"
    )
    chain: str | None = Field(
        None,
        description="chain identity every node must have; None: what a majority of at least three reports",
    )
    max_lag: int | None = Field(
        None, ge=0, description="heights a node may be behind; None: the kind's default"
    )
    min_peers: int | None = Field(None, ge=0, description="peers a node must have; None: the kind's default")
    min_version: str | None = Field(None, description="oldest version that may serve; None: any")
    app: str | None = Field(None, description="name the software must report; None: the kind's default")
    max_latency: float | None = Field(
        None, gt=0, description="seconds; a slower node is degraded. None: the kind's default"
    )
    max_head_age: float | None = Field(
        None, gt=0, description="seconds the newest block may be old; None: the kind's default"
    )
    max_stall: float | None = Field(
        None,
        gt=0,
        description="seconds a height may stand still while the pool moves on; None: learned from the pool's usual step",
    )
    scaling: ScalingSettings | None = Field(
        None, description="how many healthy nodes to keep, and who starts and stops them; None: nobody does"
    )


class NodeSettings(Section):
    """`[[nodes]]`: a node declared in the file."""

    url: Url
    kind: Name
    id: Name | None = Field(None, description="None: made from the URL's host and port")
    pool: Name = "main"
    weight: int = Field(100, ge=0, le=256)
    maxconn: int | None = Field(None, ge=1)
    tls_verify: bool = True
    options: Mapping[str, Scalar] = Field(default_factory=dict)

    @property
    def node_id(self) -> str:
        """The declared id, or the one made from the URL."""
        return self.id or default_id(self.url)


class Settings(Section):
    """The whole document."""

    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    probe: ProbeSettings = Field(default_factory=ProbeSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    safety: SafetySettings = Field(default_factory=SafetySettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    alerts: AlertsSettings = Field(default_factory=AlertsSettings)
    portal: PortalSettings = Field(default_factory=PortalSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    fabio: FabioSettings = Field(default_factory=FabioSettings)
    pools: Mapping[Name, PoolSettings] = Field(default_factory=dict)
    nodes: tuple[NodeSettings, ...] = ()

    def pool(self, name: str) -> PoolSettings:
        """The settings of pool `name`, the defaults if the document does not speak of it."""
        return self.pools.get(name) or PoolSettings()


def default_id(url: str) -> str:
    """`http://192.0.2.1:14265/x` → `192.0.2.1-14265`: readable, and stable for one address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", parts.hostname or "").strip("-.")
    return f"{host}-{port}"[-63:].lstrip("-._")


def routes_of(name: str, pool: PoolSettings) -> tuple[str, ...]:
    """The `host/path` prefixes that lead to a pool, host empty for any; the bare "/" is the catch-all."""
    paths = (
        pool.paths if pool.paths is not None else (("",) if name == "main" or pool.hosts else (f"/{name}",))
    )
    return tuple(f"{host}{path or '/'}" for host in (pool.hosts or ("",)) for path in paths)
