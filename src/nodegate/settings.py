"""nodegate.toml and NODEGATE_* as typed settings. Every field: its unit, what None means, why the default.

Unknown keys are faults. Cross-field rules live here too, so that a document which loads is one that runs.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nodegate.documents import Document, KeyPath, dotted, faults_of, load
from nodegate.errors import BadDocument, Fault

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Scalar = str | int | float | bool


def checked_name(text: str) -> str:
    """A node's or pool's name: it appears in HAProxy's configuration, in URLs and in metric labels."""
    if NAME.fullmatch(text) is None:
        raise ValueError("use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return text


def checked_host_or_ip(text: str) -> str:
    """A host name, an IPv4 address, or an IPv6 address without brackets, lower-cased.

    Strict because hosts end up in HAProxy's configuration and in its runtime commands.
    """
    name = text.lower()
    if ":" in name or re.fullmatch(r"[0-9.]+", name):
        try:
            address = ipaddress.ip_address(name)
        except ValueError as error:
            raise ValueError(f"{text!r} is not an IP address") from error
        if getattr(address, "scope_id", None) is not None:
            raise ValueError(
                f"{text!r} has a zone; an address that only counts on one link is of no use here"
            )
        return name
    if len(name) > 253 or not re.fullmatch(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?", name):
        raise ValueError(f"{text!r} is not a host name; write names of other scripts in their xn-- form")
    return name


def checked_address(text: str) -> str:
    """`HOST:PORT` with an IPv4 address, a name, or an IPv6 address in brackets; `*` is all addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    if (":" in host) != bracketed:
        raise ValueError(
            f"{text!r}: write IPv6 addresses, and only them, in brackets, such as [2001:db8::1]:443"
        )
    if host != "*":
        checked_host_or_ip(host[1:-1] if bracketed else host)
    return text


def checked_url(text: str) -> str:
    """An absolute http or https URL without credentials, query or fragment. Scheme and host are
    lower-cased, no trailing slash is kept."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"{text!r} is not a URL such as http://192.0.2.1:14265")
    if not re.fullmatch(r"[^?#@\"'\\\s]*", text) or not text.isascii() or not text.isprintable():
        raise ValueError(
            f"{text!r} must have no user name, query, fragment, space, quote or character beyond ASCII"
        )
    host = checked_host_or_ip(parts.hostname)
    place = f"[{host}]" if ":" in host else host
    written = parts.netloc.lower()
    if not written.startswith(place) or not re.fullmatch(r"(:[0-9]*)?", written[len(place) :]):
        raise ValueError(f"{text!r} is not a URL such as http://192.0.2.1:14265")
    return f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path}".rstrip("/")


def checked_path(text: str) -> str:
    """A path prefix such as `/evm`; the empty string is the root."""
    if text and (not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", text) or "//" in text):
        raise ValueError(f"{text!r} is not a path such as /evm")
    return text.rstrip("/")


def checked_host(text: str) -> str:
    """A host name as clients send it, lower-cased, without port."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError(f"{text!r} is not a host name")
    return text.lower()


Name = Annotated[str, AfterValidator(checked_name)]
Address = Annotated[str, AfterValidator(checked_address)]
Url = Annotated[str, AfterValidator(checked_url)]
PathPrefix = Annotated[str, AfterValidator(checked_path)]
HostName = Annotated[str, AfterValidator(checked_host)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")]


class Section(BaseModel):
    """A table of the document: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    client_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds a client may be silent in mid-request; slow phones need some, slowloris gets no more",
    )
    max_body: int = Field(
        65_536,
        ge=1024,
        le=4_194_304,
        description="bytes of request body that HAProxy keeps to send it again to a second node; larger bodies pass but are not retried",
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


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the file at `path` (None: the defaults) with NODEGATE_* of `environ` on top.

    `NODEGATE_PROBE__INTERVAL=5` sets `probe.interval`, `NODEGATE_POOLS__MAIN__RETRIES=1` that of the pool
    `main`; lists are written with commas. Paths in the file are relative to the file, those in variables
    to the working directory. Raises BadDocument with every fault; the files that are named are tried too.
    """
    document = load(path) if path is not None else Document(file="defaults", data={}, lines={})
    base = path.absolute().parent if path is not None else Path.cwd()
    variables = _variables(environ)
    data = _overlaid(_resolved(document.data, base), variables, environ)
    merged = replace(document, data=data)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = faults_of(error, merged, Settings)
        raise BadDocument([_named(fault, document, variables) for fault in faults]) from error
    if faults := [*_cross_faults(settings, merged), *file_faults(settings, merged)]:
        raise BadDocument([_named(fault, document, variables) for fault in faults])
    return settings


_LISTS = frozenset({"listen", "hosts", "paths"})
_FILES = frozenset({"tls_certificate", "tls_ca", "haproxy"})


def _variables(environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """The key path that each variable with a `__` in its name sets, and that name."""
    return {
        tuple(name.removeprefix("NODEGATE_").lower().split("__")): name
        for name in sorted(environ)
        if name.startswith("NODEGATE_") and "__" in name
    }


def _resolved(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A copy of `data` in which the names of files are absolute, as seen from `base`."""
    resolved = copy.deepcopy(dict(data))
    pools = resolved.get("pools")
    for table in (resolved.get("gateway"), *(pools.values() if isinstance(pools, dict) else ())):
        for key in _FILES & table.keys() if isinstance(table, dict) else ():
            if isinstance(table[key], str):
                table[key] = str(base / os.path.expanduser(table[key]))
    return resolved


def _overlaid(
    data: dict[str, Any], variables: Mapping[tuple[str, ...], str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """`data` with the variables laid over it. Raises BadDocument for those that lead to no table."""
    faults = []
    for (*above, key), name in variables.items():
        table: Any = data
        for part in above:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[key] = _variable_value(key, environ[name])
        else:
            words = f"{dotted((*above, key))} is not a setting that a variable can set"
            faults.append(_variable_fault(name, words))
    if faults:
        raise BadDocument(faults)
    return data


def _variable_value(key: str, text: str) -> object:
    if key in _LISTS:
        return [item.strip() for item in text.split(",") if item.strip()]
    if key in _FILES:
        return os.path.abspath(os.path.expanduser(text)) if text else None
    return text


def _variable_fault(name: str, message: str) -> Fault:
    return Fault(file=name, line=None, key="", message=message)


def _named(fault: Fault, document: Document, variables: Mapping[tuple[str, ...], str]) -> Fault:
    """`fault` as one of the variable that set the value, if one did."""
    written = {dotted(key) for key in document.lines}
    for path, name in variables.items():
        key = dotted(path)
        inside = fault.key == key or fault.key.startswith((f"{key}.", f"{key}["))
        around = key.startswith(f"{fault.key}.") and fault.key not in written
        if inside or around:
            return _variable_fault(name, f"{fault.key}: {fault.message}")
    return fault


def _cross_faults(settings: Settings, document: Document) -> list[Fault]:
    """What single fields cannot show: names taken twice, routes claimed twice, kinds that mix."""
    return [*_node_faults(settings, document), *_route_faults(settings, document)]


def _node_faults(settings: Settings, document: Document) -> list[Fault]:
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    kinds: dict[str, str] = {name: pool.kind for name, pool in settings.pools.items() if pool.kind}
    for number, node in enumerate(settings.nodes):
        key: KeyPath = ("nodes", number)
        other = seen.setdefault(node.node_id, number)
        if other != number:
            line = document.line_of(("nodes", other))
            words = f"the id {node.node_id!r} is taken by the node in line {line}"
            faults.append(document.fault((*key, "id"), words))
        kind = kinds.setdefault(node.pool, node.kind)
        if kind != node.kind:
            words = f"pool {node.pool!r} holds {kind} nodes, this one is {node.kind}"
            faults.append(document.fault((*key, "kind"), words))
        if (path := urlsplit(node.url).path) != settings.pool(node.pool).upstream_path:
            words = f"path {path or '/'!r} differs from pools.{node.pool}.upstream_path; all nodes of a pool have one path"
            faults.append(document.fault((*key, "url"), words))
    return faults


def _route_faults(settings: Settings, document: Document) -> list[Fault]:
    """Routes with two owners, also by the defaults of pools that only nodes name."""
    places: dict[str, KeyPath] = {name: ("pools", name) for name in settings.pools}
    for number, node in enumerate(settings.nodes):
        places.setdefault(node.pool, ("nodes", number, "pool"))
    owners: dict[str, str] = {}
    faults: list[Fault] = []
    for name, place in places.items():
        for route in routes_of(name, settings.pool(name)):
            owner = owners.setdefault(route, name)
            if owner != name:
                faults.append(document.fault(place, f"the route {route!r} already leads to pool {owner!r}"))
    return faults


def file_faults(settings: Settings, document: Document) -> list[Fault]:
    """What is wrong with the files that the settings name, tried as they will be used."""
    named: list[tuple[KeyPath, Path | None, Callable[[Path], str | None]]] = [
        (("gateway", "tls_certificate"), settings.gateway.tls_certificate, _certificate_fault),
        (("gateway", "haproxy"), settings.gateway.haproxy, _program_fault),
        *(
            (("pools", name, "tls_ca"), pool.tls_ca, _authorities_fault)
            for name, pool in settings.pools.items()
        ),
    ]
    return [
        document.fault(key, f"{path}: {words}")
        for key, path, check in named
        if path is not None and (words := check(path)) is not None
    ]


def _certificate_fault(path: Path) -> str | None:
    try:
        text = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    for label, what in ((b"BEGIN CERTIFICATE-----", "certificate"), (b"PRIVATE KEY-----", "private key")):
        if label not in text:
            return f"no {what} in it; it must hold the certificate chain and the private key, in PEM"
    if b"-----BEGIN ENCRYPTED" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        return "its private key is encrypted, and HAProxy cannot ask for the password"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "its private key does not belong to its first certificate"
        return f"its certificate or its private key is damaged ({error.reason or error})"
    return None


def _authorities_fault(path: Path) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        return f"no usable certificate in it ({error.reason or error})"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _program_fault(path: Path) -> str | None:
    if not path.exists():
        return "does not exist"
    if not path.is_file() or not os.access(path, os.X_OK):
        return "is no program that this user may run"
    return None


def routes_of(name: str, pool: PoolSettings) -> tuple[str, ...]:
    """The `host/path` prefixes that lead to a pool, host empty for any; the bare "/" is the catch-all."""
    paths = (
        pool.paths if pool.paths is not None else (("",) if name == "main" or pool.hosts else (f"/{name}",))
    )
    return tuple(f"{host}{path or '/'}" for host in (pool.hosts or ("",)) for path in paths)
