"""All parts of a running daemon, put together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from nodegate import __version__
from nodegate.alerting.make import make_alerting
from nodegate.alerting.service import Alerting
from nodegate.api.app import create_app
from nodegate.api.context import ApiContext
from nodegate.api.listen import bound, serve
from nodegate.cluster.cluster import Cluster, Surroundings
from nodegate.daemon.clock import SteadyClock
from nodegate.daemon.control import Control, Parts
from nodegate.daemon.history import MAX_EVENTS, History
from nodegate.daemon.policies import Policies
from nodegate.daemon.scaler import Scaler, ScalerParts
from nodegate.daemon.state import StateDir
from nodegate.daemon.supervise import Job
from nodegate.daemon.watch import Watch, WatchParts
from nodegate.dashboard.door import Dashboard
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.dataplane.tables import Ban, Tables
from nodegate.errors import Unavailable
from nodegate.haproxy.config import own_place
from nodegate.haproxy.peers import Sharing
from nodegate.model import Inventory, Snapshot
from nodegate.portal.serve import RunningPortal, running_portal
from nodegate.portal.service import PortalParts
from nodegate.probe.exchange import Upstream, tls_context
from nodegate.protocols import adapters as load_adapters
from nodegate.registry.aliases import itself
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.declared import DeclaredRegistry
from nodegate.registry.make import make_registry
from nodegate.registry.publishing import Publisher
from nodegate.registry.records import declared_nodes
from nodegate.settings import Settings
from nodegate.systemfile.private import write_private
from nodegate.telemetry import Telemetry
from nodegate.telemetry.kinds import Kind, event
from nodegate.wiring.chores import banner, rotate_access_log, until_signal, watch_certificate
from nodegate.wiring.gateway import ShapedGateway

MAX_MESSAGE = 262_144
"""Bytes of one WebSocket message from a page of the dashboard: clicks and forms."""
SERVICE_PATIENCE = 30.0
"""Seconds that an HAProxy which is another service's has to come up; both start at boot."""

Announce = Callable[[list[str]], None]


class Daemon:
    """One gateway on one state directory. Making it starts nothing; raises BadDocument for declared nodes that
    are wrong."""

    def __init__(self, settings: Settings, directory: StateDir) -> None:
        self.settings, self.directory = settings, directory
        self.adapters = load_adapters()
        self.clock = SteadyClock()
        self.telemetry = Telemetry(clock=self.clock, version=__version__)
        declared = declared_nodes(settings, self.adapters)
        self.inner = make_registry(settings, directory.path, self.clock, os.environ)
        self.registry = DeclaredRegistry(self.inner, declared)
        self.driver = HaproxyDriver(settings, directory.path)
        self.policies = Policies(settings, directory.policies, self.driver)
        self.history = History()
        self.alerting = self._make_alerting()
        self.upstreams = _upstreams(settings)
        self.control = self._make_control()
        self.publisher = self._make_publisher()
        self.cluster = self._make_cluster()
        self.scaler = self._make_scaler()
        self.watch = self._make_watch()
        self.dashboard: Dashboard | None = None

    async def serve(self, announce: Announce) -> None:
        """Work until a signal comes. Raises Conflict when an address is taken, Unavailable and others as
        HAProxy's start does."""
        token = self.directory.admin_token()
        async with AsyncExitStack() as stack:
            portal = await stack.enter_async_context(running_portal(self._portal_parts()))
            place = self.settings.gateway.admin
            listener = stack.enter_context(
                bound(place, key="gateway.admin", advice="choose another address with --admin")
            )
            context = self._context(token, portal)
            if self.settings.dashboard.enabled:
                self.dashboard = Dashboard(context, self.history)
            said = await self._start()
            url = f"http://{own_place(place)}"
            try:
                write_private(self.directory.admin, url + "\n")
                announce(banner(self.settings, self.directory, url, said))
                await self._recall(said)
                jobs = self._jobs(context, listener, portal)
                ended_by = await until_signal(jobs, self.telemetry, self.alerting, self.clock)
            except asyncio.CancelledError:  # Ctrl-C before the jobs run: HAProxy serves already
                ended_by = signal.SIGINT
            await self._end(ended_by, announce)

    async def close(self) -> None:
        """Let go of what is open; after `serve`, however it ended."""
        if self.dashboard is not None:
            await self.dashboard.close()
        await self.inner.close()

    # Making the parts

    def _make_alerting(self) -> Alerting:
        telemetry = self.telemetry.alerts
        heard = (self.history.happened, telemetry.happened)
        alerting = make_alerting(self.settings, self.directory.path, self.clock, heard=heard)
        telemetry.firing, telemetry.waiting = alerting.firing, alerting.waiting
        telemetry.certificate_ends = lambda: alerting.facts.certificate_ends
        return alerting

    def _make_control(self) -> Control:
        gateway = ShapedGateway(self.driver, self.adapters, self.policies, self._sharing)
        return Control(
            Parts(
                settings=self.settings, adapters=self.adapters, registry=self.registry, driver=self.driver,
                gateway=gateway, upstreams=self.upstreams, clock=self.clock, telemetry=self.telemetry,
                published=self._published, tell=self.alerting.tell, remembered=self._remembered,
            )
        )  # fmt: skip

    def _make_publisher(self) -> Publisher | None:
        """Who keeps the services of a Consul registry, None for other registries."""
        if not isinstance(self.inner, ConsulRegistry):
            return None
        return Publisher(self.inner, self.settings, self.adapters, self._snapshot)

    def _make_cluster(self) -> Cluster[Ban, Tables] | None:
        """The cluster that the registry's Consul makes possible, None without one."""
        if not self.settings.cluster.enabled or not isinstance(self.inner, ConsulRegistry):
            return None
        prober = self.control.prober
        cluster = Cluster(
            Surroundings(
                settings=self.settings, client=self.inner.client, policies=self.policies, firewall=self.driver.firewall,
                clock=self.clock, snapshot=self._snapshot, changed=self.control.wake,
                directory=self.directory.path, hear=prober.hear, probe_soon=prober.probe_soon,
            )
        )  # fmt: skip
        prober.colleagues = cluster.words
        if self.publisher is not None:
            self.publisher.itself, self.publisher.leads = itself(self.settings, cluster.me), cluster.leads
        self.telemetry.cluster.document = cluster.document
        return cluster

    def _make_scaler(self) -> Scaler:
        return Scaler(
            ScalerParts(
                settings=self.settings, adapters=self.adapters, registry=self.registry, clock=self.clock,
                telemetry=self.telemetry, snapshot=self._snapshot, wake=self.control.wake,
                directory=self.directory.path, in_charge=self._in_charge, tell=self.alerting.tell,
            )
        )  # fmt: skip

    def _make_watch(self) -> Watch:
        return Watch(
            WatchParts(
                snapshot=self._snapshot, history=self.history, alerting=self.alerting, firewall=self.driver.firewall,
                policies=self.policies, gateways=self.telemetry.cluster.document, clock=self.clock,
                access_log=self.driver.paths.access_log, certificate=self.settings.gateway.tls_certificate,
            )
        )  # fmt: skip

    def _portal_parts(self) -> PortalParts:
        portal = self.telemetry.portal
        return PortalParts(
            settings=self.settings, registry=self.registry, adapters=self.adapters, upstreams=self.upstreams,
            clock=self.clock, snapshot=self._snapshot, wake=self.control.wake, directory=self.directory.path,
            mailed=portal.mailed, counted=portal.counted, tell=self.alerting.tell,
        )  # fmt: skip

    def _context(self, token: str, portal: RunningPortal) -> ApiContext:
        context = ApiContext(
            snapshot=self._snapshot, registry=self.registry, adapters=self.adapters, settings=self.settings,
            token=token, wake=self.control.wake, telemetry=self.telemetry, haproxy_metrics=self.driver.metrics,
            clock=self.clock, policies=self.policies, firewall=self.driver.firewall, directory=self.directory.path,
            scaling=self.scaler.shown, alerting=self.alerting, registrations=portal.registrations,
            history=self.history,
        )  # fmt: skip
        if self.cluster is None:
            return context
        return replace(
            context,
            policies=self.cluster.policies,
            firewall=self.cluster.firewall,
            gateways=self.cluster.document,
        )

    # What the parts ask of each other

    def _snapshot(self) -> Snapshot:
        return self.control.snapshot

    def _sharing(self) -> Sharing:
        return self.cluster.sharing() if self.cluster is not None else Sharing()

    def _in_charge(self, pool: str) -> str:
        led_here = self.cluster is None or self.cluster.leads(f"scaling/{pool}")
        return "" if led_here else "another gateway"

    def _published(self, snapshot: Snapshot) -> None:
        self.alerting.published(snapshot)
        if self.publisher is not None:
            self.publisher.published(snapshot)

    def _remembered(self) -> Inventory | None:
        """The inventory of an earlier run, where the registry keeps one."""
        known = self.inner.remembered() if isinstance(self.inner, ConsulRegistry) else None
        return None if known is None else self.registry.over(known)

    # From start to end

    async def _start(self) -> str:
        """Read the registry, and bring HAProxy up in the shape that the inventory asks for; one that nodegate does
        not start itself has a while to come."""
        await self.control.read_registry()
        self.control.shape()
        patience = 0.0 if self.settings.gateway.start_haproxy else SERVICE_PATIENCE
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                return await self.driver.ensure() or "HAProxy runs"
            except Unavailable:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(0.1)

    async def _recall(self, said: str) -> None:
        """Show what happened in earlier runs, and tell of this start."""
        with suppress(Unavailable):  # the job that keeps events says so, and goes on trying
            self.history.happened(await self.alerting.recent(MAX_EVENTS))
        words = f"nodegate {__version__} was started: {said}"
        self.alerting.tell(event(self.clock.now(), Kind.STARTED, "gateway", words))

    def _jobs(self, context: ApiContext, listener: socket.socket, portal: RunningPortal) -> tuple[Job, ...]:
        app = create_app(context, doors=self.dashboard.doors if self.dashboard is not None else None)
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "registry": self.control.watch_registry,
            "probes": self.control.prober.run,
            "passes": self.control.pass_forever,
            "admin API": lambda: serve(app, listener, ws_max_size=MAX_MESSAGE),
            "history": self.watch.run,
            "events": self.alerting.run,
            "alerts": self.alerting.outbox.run,
            "certificate": lambda: watch_certificate(self.driver, self.alerting, self.clock),
            "access log": lambda: rotate_access_log(self.driver),
        }
        if self.scaler.pools:
            jobs["scaling"] = self.scaler.run
        if self.publisher is not None:
            jobs["services"] = self.publisher.run
        if self.cluster is not None:
            jobs |= self.cluster.jobs()
        return tuple(Job(name=name, run=run) for name, run in (jobs | portal.jobs).items())

    async def _end(self, signal_: signal.Signals, announce: Announce) -> None:
        """Say goodbye to everybody; after SIGINT, HAProxy stops too if nodegate started it."""
        self.directory.admin.unlink(missing_ok=True)
        words = f"nodegate was stopped by {signal_.name}"
        await self.alerting.end(event(self.clock.now(), Kind.STOPPED, "gateway", words))
        if self.publisher is not None:
            await self.publisher.leave()
        if self.cluster is not None:
            await self.cluster.leave()
        if signal_ is signal.SIGINT and self.settings.gateway.start_haproxy:
            announce(["stopping HAProxy; requests under way may finish"])
            await self.driver.stop()
        else:
            words = "nodegate has stopped; HAProxy serves on. `nodegate up` takes it over, `nodegate down` stops it"
            announce([words])


def _upstreams(settings: Settings) -> dict[str, Upstream]:
    return {
        name: Upstream(tls=tls_context(pool.tls_ca) if pool.tls_ca else None, host=pool.upstream_host)
        for name, pool in settings.pools.items()
    }
