"""The composition: the only module that knows which concrete class stands behind each port."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext
from pathlib import Path

import uvicorn
import uvloop

from nodegate import __version__
from nodegate.api.app import create_app
from nodegate.api.context import ApiContext
from nodegate.daemon.clock import SteadyClock
from nodegate.daemon.control import Control, Parts
from nodegate.daemon.policies import Policies, lanes_of
from nodegate.daemon.state import StateDir, write_private
from nodegate.daemon.supervise import Job, run_all
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.errors import BadDocument, Conflict, NodegateError, Refused, Unavailable
from nodegate.haproxy.config import split_host_port
from nodegate.haproxy.guarding import Guarded
from nodegate.model import Routing
from nodegate.ports import Adapter
from nodegate.probe.exchange import Upstream, tls_context
from nodegate.protocols import adapters as load_adapters
from nodegate.registry.declared import DeclaredRegistry
from nodegate.registry.records import declared_nodes
from nodegate.registry.sqlite import SqliteRegistry
from nodegate.routing.lanes import Lanes
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry

log = logging.getLogger("nodegate.daemon")

COLLECT = (20_000, 20, 20)
"""How rarely Python looks for cycles. Of 10,000 nodes it keeps some 300,000 objects, and hardly one is garbage:
at its own pace it walks through all of them every few seconds, which took a fifth of the daemon's CPU."""

CERTIFICATE_EVERY = 5.0
"""Seconds between looks at the listener's certificate file."""
ACCESS_LOG_EVERY = 5.0
"""Seconds between looks at the size of the access log; HAProxy was seen to write 10 MB in that time at most."""
STOP_PATIENCE = 40.0
"""Seconds that `shut_down` waits for a daemon to end in order."""

Announce = Callable[[list[str]], None]


def run(settings: Settings, state: Path, *, announce: Announce) -> None:
    """Run the daemon until a signal ends it. `announce` gets the lines an operator should see.

    SIGINT stops HAProxy too, SIGTERM leaves it serving. Raises NodegateError when it cannot start; nothing
    is left half-started then.
    """
    directory = StateDir(state)
    directory.prepare()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    with directory.locked(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, directory, announce))


async def shut_down(state: Path) -> str:
    """Stop what runs on the state directory, nodegate and its HAProxy; returns what was done in a sentence.

    Raises Unavailable when it does not end in time, Refused when it belongs to another user.
    """
    directory = StateDir(state)
    owner = directory.owner()
    if owner is not None:
        try:
            os.kill(owner, signal.SIGINT)
        except PermissionError as error:
            raise Refused(f"process {owner} belongs to another user; stop it as that user") from error
        for _ in range(round(STOP_PATIENCE / 0.05)):
            if directory.owner() is None:
                return "nodegate and its HAProxy are stopped"
            await asyncio.sleep(0.05)
        raise Unavailable(f"process {owner} does not stop within {STOP_PATIENCE:g} s")
    driver = HaproxyDriver(Settings(), directory.path)
    if await driver.stop():
        return "HAProxy is stopped; nodegate was not running"
    return f"nothing runs on {directory.path}"


async def _serve(settings: Settings, directory: StateDir, announce: Announce) -> None:
    adapters = load_adapters()
    clock = SteadyClock()
    telemetry = Telemetry(clock=clock, version=__version__)
    declared = declared_nodes(settings, adapters)
    inner = SqliteRegistry(directory.registry, clock)
    registry = DeclaredRegistry(inner, declared)
    driver = HaproxyDriver(settings, directory.path)
    policies = Policies(settings, directory.policies, driver)
    parts = Parts(
        settings=settings, adapters=adapters, registry=registry, driver=driver, clock=clock, telemetry=telemetry,
        gateway=_Gateway(driver, adapters, policies), upstreams=_upstreams(settings),
    )  # fmt: skip
    control = Control(parts)
    token = directory.admin_token()
    try:
        with _admin_socket(settings.gateway.admin) as listener:
            context = ApiContext(
                snapshot=lambda: control.snapshot, registry=registry, adapters=adapters, settings=settings,
                token=token, wake=control.wake, telemetry=telemetry, haproxy_metrics=driver.metrics, clock=clock,
                policies=policies, firewall=driver, directory=directory.path,
            )  # fmt: skip
            await control.read_registry()
            said = await _start(control, driver)
            url = _url(listener, settings.gateway.admin)
            write_private(directory.admin, url + "\n")
            announce(_banner(settings, directory, url, said))
            jobs = (
                Job(name="registry", run=control.watch_registry),
                Job(name="probes", run=control.prober.run),
                Job(name="passes", run=control.pass_forever),
                Job(name="admin API", run=_api(context, listener)),
                Job(name="certificate", run=lambda: _watch_certificate(driver)),
                Job(name="access log", run=lambda: _rotate_access_log(driver)),
            )
            ended_by = await _until_signal(jobs, telemetry)
            directory.admin.unlink(missing_ok=True)
            if ended_by is signal.SIGINT:
                announce(["stopping HAProxy; requests under way may finish"])
                await driver.stop()
            else:
                announce(
                    [
                        "nodegate has stopped; HAProxy serves on. `nodegate up` takes it over, `nodegate down` stops it"
                    ]
                )
    finally:
        await inner.close()


async def _start(control: Control, driver: HaproxyDriver) -> str:
    """Bring HAProxy up in the shape that the inventory asks for."""
    control.shape()
    return await driver.ensure() or "HAProxy runs"


class _Gateway:
    """The data plane and the policies as the passes see them."""

    def __init__(self, driver: HaproxyDriver, adapters: Mapping[str, Adapter], policies: Policies) -> None:
        self._driver = driver
        self._adapters = adapters
        self._policies = policies
        self._guarded = Guarded()

    def shape(self, pools: Mapping[str, str], crowded: Set[str]) -> Routing:
        adapters = self._adapters
        traffic = {pool: adapters[kind].traffic for pool, kind in pools.items() if kind in adapters}
        self._guarded = self._policies.guarded(pools, crowded)
        return self._driver.shape(pools, traffic, self._guarded)

    def lanes(self) -> Lanes:
        return lanes_of(self._guarded)

    async def heights(self, heights: Mapping[str, int]) -> None:
        await self._driver.set_heights(heights)


def _upstreams(settings: Settings) -> dict[str, Upstream]:
    return {
        name: Upstream(tls=tls_context(pool.tls_ca) if pool.tls_ca else None, host=pool.upstream_host)
        for name, pool in settings.pools.items()
    }


@contextmanager
def _admin_socket(place: str) -> Iterator[socket.socket]:
    """The listening socket of the admin API. Raises Conflict, naming the address, when it is taken."""
    host, port = split_host_port(place)
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Conflict(f"gateway.admin: {place}: {error.strerror}") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            raise Conflict(
                f"gateway.admin: {place}: {error.strerror}; choose another address with --admin"
            ) from error
        yield listener


def _url(listener: socket.socket, place: str) -> str:
    """The URL at which this machine reaches the admin API."""
    host, port = split_host_port(place)
    reachable = "127.0.0.1" if host in {"*", "0.0.0.0"} else "[::1]" if host == "[::]" else host  # noqa: S104 -- compared, not bound
    return f"http://{reachable}:{port}"


def _api(context: ApiContext, listener: socket.socket) -> Callable[[], asyncio.Future[None]]:
    app = create_app(context)

    async def serve() -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        # A copy: uvicorn closes what it is given, and the job may be started again.
        await _Server(config).serve(sockets=[listener.dup()])

    return serve  # type: ignore[return-value]


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        return nullcontext()


async def _rotate_access_log(driver: HaproxyDriver) -> None:
    """Keep the access log from filling the disk, for ever."""
    while True:
        await asyncio.sleep(ACCESS_LOG_EVERY)
        await asyncio.to_thread(driver.rotate_access_log)


async def _watch_certificate(driver: HaproxyDriver) -> None:
    """Take over a changed certificate file, for ever. A bad one is said once; the old one serves on."""
    complaint = ""
    while True:
        await asyncio.sleep(CERTIFICATE_EVERY)
        try:
            if await driver.refresh_certificate():
                log.info("the listener's certificate has changed and is in use")
            complaint = ""
        except (BadDocument, Refused) as error:
            if str(error) != complaint:
                log.error("%s; the old certificate stays in use", error)
            complaint = str(error)
        except NodegateError:
            continue  # HAProxy is away: the pass says so, and starts it with the certificate


async def _until_signal(jobs: tuple[Job, ...], telemetry: Telemetry) -> signal.Signals:
    stop = asyncio.Event()
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        await run_all(jobs, stop, restarted=telemetry.restarted)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return received[0]


def _banner(settings: Settings, directory: StateDir, url: str, said: str) -> list[str]:
    scheme = "https" if settings.gateway.tls_certificate else "http"
    return [
        f"nodegate {__version__}: {said}",
        *(f"  clients  {scheme}://{place}" for place in settings.gateway.listen),
        f"  admin    {url}  (token in {directory.token})",
        f"  state    {directory.path}",
    ]
