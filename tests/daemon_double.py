"""A small daemon for tests of what reads and commands one: a registry in memory that keeps the contract of
the port, and snapshots that follow it. No probes and no HAProxy: verdicts and servers are what a test says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn

from nodegate.api.app import create_app
from nodegate.api.context import ApiContext, Registrations
from nodegate.dataplane.tables import Ban, Tables, counted_as
from nodegate.documents import Document
from nodegate.errors import Conflict, NotFound, Refused, Unavailable
from nodegate.model import (
    Instant,
    Intent,
    Inventory,
    Judgement,
    Node,
    Plan,
    Routing,
    Running,
    Seconds,
    Server,
    ServerState,
    ServerTraffic,
    Snapshot,
    Source,
    Status,
    Verdict,
)
from nodegate.policy.check import Finding, require_sound
from nodegate.policy.compile import compile_policy
from nodegate.policy.difference import differences
from nodegate.policy.document import LoadedPolicy, kind_of, load_policy
from nodegate.policy.inforce import Applied
from nodegate.protocols import adapters
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry
from nodegate.views.cluster import GatewaysDocument
from support import free_port, until, until_sync

T0 = Instant(1_700_000_000.0)
TOKEN = "a-token-for-tests"


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


class SetClock:
    """A clock that stands where a test puts it."""

    def __init__(self) -> None:
        self.time = T0

    def now(self) -> Instant:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time = Instant(self.time + seconds)


class MemoryRegistry:
    """The port's contract in memory. `lost` makes it unavailable; `rivals` run before each write, as other
    writers would."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.index = 0
        self.lost: str | None = None
        self.rivals: list[Callable[[], None]] = []

    async def read(self) -> Inventory:
        self._reach()
        return self.inventory()

    async def changed(self, after: int) -> int:
        await until(lambda: self.index != after, within=60)
        return self.index

    async def put(self, node: Node) -> Node:
        self._reach()
        if self.rivals:
            self.rivals.pop(0)()
        held = self.nodes.get(node.id)
        if (held.version if held else 0) != node.version:
            raise Conflict(f"{node.id!r} was changed")
        if held is not None and held.source is Source.FILE and replace(node, intent=held.intent) != held:
            raise Refused(f"{node.id!r} is declared in nodegate.toml: change it there")
        return self.store(node)

    async def delete(self, node_id: str, version: int) -> None:
        self._reach()
        if self.rivals:
            self.rivals.pop(0)()
        held = self.nodes.get(node_id)
        if held is None:
            raise NotFound(f"there is no node {node_id!r}")
        if held.version != version:
            raise Conflict(f"{node_id!r} was changed")
        self.index += 1
        del self.nodes[node_id]

    def inventory(self) -> Inventory:
        nodes = tuple(self.nodes[node_id] for node_id in sorted(self.nodes))
        return Inventory(nodes=nodes, index=self.index, read_at=T0)

    def store(self, node: Node) -> Node:
        self.index += 1
        stored = replace(node, version=self.index)
        self.nodes[node.id] = stored
        return stored

    def _reach(self) -> None:
        if self.lost is not None:
            raise Unavailable(self.lost)


class MemoryPolicies:
    """The contract of the daemon's policies in memory. `refusal` is what HAProxy says to the next apply."""

    def __init__(self, *kinds: str) -> None:
        self.documents: dict[str, Document | None] = dict.fromkeys(kinds)
        self.faults: tuple[str, ...] = ()
        self.refusal: str | None = None

    def kinds(self) -> tuple[str, ...]:
        return tuple(self.documents)

    def loaded(self, kind: str) -> LoadedPolicy:
        if kind not in self.documents:
            raise NotFound(f"no pool of the kind {kind!r} has a policy")
        return load_policy(kind, self.documents[kind])

    def operator(self, kind: str) -> Document | None:
        self.loaded(kind)
        return self.documents[kind]

    def version(self, kind: str) -> str:
        return compile_policy(self.loaded(kind).policy).version

    async def apply(self, document: Document) -> Applied:
        self.loaded(kind_of(document))
        warnings = require_sound(load_policy(kind_of(document), document))
        return self._put(kind_of(document), document, warnings)

    async def withdraw(self, kind: str) -> Applied:
        self.loaded(kind)
        return self._put(kind, None, ())

    def _put(self, kind: str, document: Document | None, warnings: tuple[Finding, ...]) -> Applied:
        if self.refusal is not None:
            raise Refused(self.refusal)
        before, former = self.version(kind), self.loaded(kind).policy
        self.documents[kind] = document
        changes = differences(former, self.loaded(kind).policy)
        return Applied(
            kind=kind,
            version=self.version(kind),
            before=before,
            changes=tuple(changes),
            warnings=warnings,
            reload="",
        )


class MemoryFirewall:
    """HAProxy's counters and bans in memory. `lost` makes HAProxy unavailable."""

    def __init__(self, clock: SetClock) -> None:
        self.counts = Tables()
        self.lost: str | None = None
        self._clock = clock

    async def tables(self) -> Tables:
        self._reach()
        return self.counts

    async def ban(self, client: str, seconds: float) -> Ban:
        self._reach()
        ban = Ban(client=counted_as(client), until=Instant(self._clock.now() + seconds), automatic=False)
        others = [other for other in self.counts.bans if other.client != ban.client]
        self.counts = replace(self.counts, bans=(*others, ban))
        return ban

    async def unban(self, client: str) -> bool:
        self._reach()
        kept = tuple(ban for ban in self.counts.bans if ban.client != counted_as(client))
        found = len(kept) < len(self.counts.bans)
        self.counts = replace(self.counts, bans=kept)
        return found

    def _reach(self) -> None:
        if self.lost is not None:
            raise Unavailable(self.lost)


def an_iri(node_id: str, **fields: Any) -> Node:
    """An IRI node on a documentation address."""
    return Node(**{"id": node_id, "url": "http://192.0.2.1:14265", "kind": "iri"} | fields)


def a_verdict(node_id: str, status: Status = Status.UP, **fields: Any) -> Verdict:
    """A verdict of ten minutes ago."""
    return Verdict(**{"node_id": node_id, "status": status, "since": Instant(T0 - 600)} | fields)


def a_server(node_id: str, **fields: Any) -> Server:
    """A ready server of the pool `main`."""
    given = {
        "backend": "pool_main",
        "name": node_id,
        "address": "192.0.2.1",
        "port": 14265,
        "weight": 100,
        "state": ServerState.READY,
    }
    return Server(**given | fields)


def running(*servers: Server, traffic: Mapping[str, ServerTraffic] | None = None) -> Running:
    """What HAProxy runs, with counters by node id."""
    by_key = {(server.backend, server.name): server for server in servers}
    counters = traffic or {}
    return Running(
        routing=Routing(skeleton="s", servers=by_key),
        pid=4711,
        uptime=7200.0,
        traffic={key: counters[key[1]] for key in by_key if key[1] in counters},
    )


@dataclass
class DaemonDouble:
    """Everything an API needs, with a snapshot that follows the registry as soon as it is woken."""

    settings: Settings = field(default_factory=Settings)
    clock: SetClock = field(default_factory=SetClock)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    traffic: dict[str, ServerTraffic] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    facts: dict[str, Any] = field(default_factory=dict)
    haproxy_text: bytes | None = b"# HELP haproxy_up\nhaproxy_up 1\n"
    woken: int = 0
    asleep: bool = False
    policies: MemoryPolicies = field(default_factory=lambda: MemoryPolicies("iri"))
    directory: Path = field(default_factory=Path)
    registrations: Registrations | None = None
    gateways: GatewaysDocument = field(default_factory=lambda: GatewaysDocument(me=None))

    def __post_init__(self) -> None:
        self.firewall = MemoryFirewall(self.clock)
        self.telemetry = Telemetry(clock=self.clock, version="test")
        self.snapshot = Snapshot(at=T0, started_at=Instant(T0 - 3600))
        self.refresh()

    def add(self, node: Node, verdict: Verdict | None = None, server: Server | None = None) -> Node:
        """Put a node straight into the registry, with its verdict and its server."""
        stored = self.registry.store(node)
        if verdict is not None:
            self.verdicts[node.id] = verdict
        if server is not None:
            self.servers[node.id] = server
        self.refresh()
        return stored

    def refresh(self) -> None:
        """A pass: publish what is known now."""
        before = self.snapshot
        self.snapshot = replace(
            before,
            at=self.clock.now(),
            passes=before.passes + 1,
            pass_duration=Seconds(0.004),
            ready=True,
            inventory=self.registry.inventory(),
            judgement=replace(Judgement(), verdicts=dict(self.verdicts)),
            running=running(*self.servers.values(), traffic=self.traffic),
            plan=self.plan,
            **self.facts,
        )
        self.telemetry.passed(before, self.snapshot)

    def wake(self) -> None:
        """What a daemon does at once; drained nodes that carry nothing are forgotten."""
        self.woken += 1
        if self.asleep:
            return
        for node in list(self.registry.nodes.values()):
            server = self.servers.get(node.id)
            if node.intent is not Intent.SERVE and server is not None:
                self.servers[node.id] = replace(server, state=ServerState.DRAIN)
        self.refresh()

    async def haproxy_metrics(self) -> bytes:
        if self.haproxy_text is None:
            raise Unavailable("HAProxy does not answer on its exporter socket")
        return self.haproxy_text

    def context(self) -> ApiContext:
        return ApiContext(
            snapshot=lambda: self.snapshot,
            registry=self.registry,
            adapters=adapters(),
            settings=self.settings,
            token=TOKEN,
            wake=self.wake,
            telemetry=self.telemetry,
            haproxy_metrics=self.haproxy_metrics,
            clock=self.clock,
            policies=self.policies,
            firewall=self.firewall,
            directory=self.directory,
            gateways=lambda: self.gateways,
            registrations=self.registrations,
        )


@contextmanager
def served(daemon: DaemonDouble) -> Iterator[str]:
    """The daemon's API on a real socket, in a thread; gives its URL."""
    port = free_port()
    config = uvicorn.Config(
        create_app(daemon.context()), host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until_sync(lambda: server.started, what="the API server to start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
