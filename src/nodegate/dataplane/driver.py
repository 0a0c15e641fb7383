"""The data plane: what HAProxy does now, and how it is changed.

Changes go over the runtime socket; only the skeleton needs a reload. After each change the configuration
file says the same as the running HAProxy, so that a restart of HAProxy starts from the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from nodegate.dataplane.accesslog import rotate
from nodegate.dataplane.binary import Binary, find_haproxy
from nodegate.dataplane.certificate import system_authorities
from nodegate.dataplane.changes import Key, key_of, sentence
from nodegate.dataplane.exporter import Exporter
from nodegate.dataplane.firewall import HaproxyFirewall
from nodegate.dataplane.lifecycle import Lifecycle
from nodegate.dataplane.maps import MapReader
from nodegate.dataplane.process import HaproxyProcess
from nodegate.dataplane.serverchanges import ServerChanges
from nodegate.dataplane.shape import make_shape
from nodegate.dataplane.store import Store
from nodegate.errors import BadDocument, Conflict, Malformed, Refused, Unavailable, Unsafe
from nodegate.haproxy import gateway, pools, reports, wire
from nodegate.haproxy.guarded import GUARD, Guarded, why_reload
from nodegate.haproxy.paths import MAPS, Paths
from nodegate.haproxy.services import services_of
from nodegate.model import Change, ChangeKind, Plan, Routing, Running, Traffic
from nodegate.policy.compile import height_entry
from nodegate.routes import PlacedRoute
from nodegate.settings import Settings
from nodegate.settings.htpasswd import read_users

log = logging.getLogger("nodegate.dataplane")

REJECTED_FOR = 60.0
"""Seconds until a skeleton that HAProxy did not take is offered again: checking it costs CPU."""

STOP_GRACE = 10.0
"""Seconds that requests under way have at an ordered stop."""

HEIGHTS_EVERY = 3.0
"""Seconds between two updates of the heads that the guard measures open ranges by."""


class HaproxyDriver:
    """Implements `ports.Driver` on one HAProxy, whose files lie in `state`/haproxy."""

    def __init__(self, settings: Settings, state: Path, binary: Binary | None = None) -> None:
        """Finds HAProxy (`gateway.haproxy`) unless `binary` is given; raises Unsafe as `find_haproxy`."""
        self._settings = settings
        self.paths = Paths(directory=state.absolute() / "haproxy", ca_bundle=system_authorities())
        self._store = Store(self.paths)
        self._process = HaproxyProcess(binary or find_haproxy(settings.gateway.haproxy), self.paths)
        self._servers = ServerChanges(self._process.runtime)
        self._maps = MapReader()
        self._exporter = Exporter(self.paths.exporter_socket)
        self.firewall = HaproxyFirewall(self._process.runtime, lambda: self._shape.guarded)
        self._life = Lifecycle(self._process, self._store, settings.gateway.tls_certificate)
        self._guarded = Guarded()
        self._users = read_users(settings)
        self._shape = make_shape(settings, (), {}, self.paths)
        self._heights: dict[str, str] = {}
        self._heights_at = 0.0
        self._shape_is_known = False
        self._server_count = 0
        self._saved = False
        self._adopted = False
        self._rejected: tuple[str, str, float] | None = None
        self._lock = asyncio.Lock()

    def shape(
        self,
        names: Iterable[str],
        traffic: Mapping[str, Traffic],
        guarded: Guarded | None = None,
        routes: Sequence[PlacedRoute] | None = None,
    ) -> Routing:
        """The gateway's shape for the pools `names` (besides those of the settings): a routing with
        skeleton and maps and no servers. `traffic` is by pool; `guarded` are the pools under a policy,
        `routes` those that services bring along (None: the registry knows of none).

        The driver starts and reloads HAProxy in this shape from now on. Raises Unsafe as `gateway.build`.
        """
        wanted = pools.pool_names(self._settings, names)
        guarded = guarded or Guarded()
        same = wanted == self._shape.pools and dict(traffic) == self._shape.traffic
        services = None
        if routes is not None:
            before = self._shape.services
            unchanged = before is not None and before.routes == tuple(routes)
            services = before if unchanged else services_of(routes, self._settings, self._users)
        if not same or guarded != self._guarded or services is not self._shape.services:
            self._guarded = guarded
            self._shape = make_shape(self._settings, wanted, traffic, self.paths, guarded, services)
        self._shape_is_known = True
        return self._shape.routing()

    async def ensure(self) -> str | None:
        """Make sure that HAProxy runs; returns one sentence on what was done, None when nothing had to be.

        A HAProxy that answers is adopted as it is. One that died is started from its last configuration:
        with the present skeleton and the servers it had. Raises Unavailable when one is there and does
        not answer, and as `HaproxyProcess.start` does.
        """
        async with self._lock:
            if await self._process.answers():
                known, self._adopted = self._adopted, True
                return None if known else f"adopted the running HAProxy, {await self._described()}"
            if not self._settings.gateway.start_haproxy:
                raise Unavailable(
                    f"no HAProxy answers on {self.paths.runtime_socket}; its service is to start it "
                    "(gateway.start_haproxy is false): systemctl status nodegate-haproxy"
                )
            await self._clear_away()
            pid = await self._life.start(self._shape, as_it_was=not self._shape_is_known)
            self._adopted, self._saved, self._servers.free_number = True, False, None
            return f"started HAProxy {self._process.binary.version}, process {pid}"

    async def _described(self) -> str:
        (reply,) = await self._process.runtime.send([wire.SHOW_INFO])
        info = _info(reply)
        return f"version {info.version}, process {info.pid}, up {info.uptime:.0f} s"

    async def _clear_away(self) -> None:
        """End a master that lost its workers: it serves nobody. Raises Unavailable when workers are there
        and do not answer; killing them would cut what they still carry."""
        found = await self._process.processes()
        if found is None:
            return
        if found.workers or found.old_workers:
            raise Unavailable(
                f"HAProxy (process {found.master}) does not answer on {self.paths.runtime_socket}"
            )
        await self._process.stop(grace=0)

    async def running(self) -> Running:
        """What HAProxy does now, read from HAProxy itself. Raises Unavailable when it does not answer."""
        names = tuple(dict.fromkeys((*MAPS, *self._shape.maps)))
        asked = (wire.SHOW_INFO, wire.SHOW_SERVERS, wire.SHOW_STAT, *map(wire.show_map, names))
        info_reply, state, stat, *map_replies = await self._process.runtime.send(asked)
        info = _info(info_reply)
        try:
            # 10,000 servers take a tenth of a second, which probes must not have to wait for.
            servers, traffic = await asyncio.to_thread(reports.read_servers, state, stat)
            self._servers.free_number = await asyncio.to_thread(reports.free_number, state)
            maps = {
                name: self._maps.read(name, reply)
                for name, reply in zip(names, map_replies, strict=True)
                if not wire.is_refusal(reply)  # an older configuration may lack a map
            }
        except (Malformed, Refused) as error:
            raise Unavailable(str(error)) from error
        self._server_count = len(servers)
        routing = Routing(skeleton=gateway.digest_in(info.description), servers=servers, maps=maps)
        return Running(routing=routing, pid=info.pid, uptime=info.uptime, traffic=traffic)

    async def apply(self, plan: Plan, wanted: Routing) -> tuple[str, ...]:
        """Carry out the changes in order, then keep `wanted` so that a restart of HAProxy starts from it.

        A reload takes servers and maps from `wanted`, which leaves nothing to do for the plan's other
        changes; what a configuration file cannot say (draining) is for the next pass. A reload that
        HAProxy refuses leaves the old configuration in force, and the other changes are done on it.
        """
        async with self._lock:
            refused: list[str] = []
            reload = next((item for item in plan.changes if item.kind is ChangeKind.RELOAD), None)
            if reload is not None:
                fault = await self._reload(reload, wanted)
                if fault is None:
                    return ()
                refused.append(fault)
            not_reloaded = bool(refused)
            failed: set[Key] = set()
            for kind, group in groupby(plan.changes, key=_engine):
                changes = list(group)
                if not_reloaded and kind is ChangeKind.SET_MAP:
                    # A policy of lanes that HAProxy does not have would lead nowhere.
                    changes = [item for item in changes if item.map_name in MAPS]
                if kind is ChangeKind.SET_MAP:
                    refused += await self._set_maps(changes)
                elif kind is None:
                    refused += await self._servers.carry_out(changes, self._shape.trust, failed)
            if plan.changes or not self._saved:
                refused += await self._keep(wanted, failed)
            return tuple(refused)

    async def set_policies(self, guarded: Guarded) -> str:
        """Put the maps of `guarded` in force, each in one transaction; returns why that needs a reload,
        which the next pass does, "" when it is done.

        Raises Refused with HAProxy's words, Unavailable when HAProxy is lost.
        """
        async with self._lock:
            guarded = replace(guarded, sharing=self._guarded.sharing)
            shape = make_shape(
                self._settings,
                self._shape.pools,
                self._shape.traffic,
                self.paths,
                guarded,
                self._shape.services,
            )
            if shape.skeleton != self._shape.skeleton:
                return why_reload(self._shape.guarded, shape.guarded)
            changes = [
                Change(kind=ChangeKind.SET_MAP, why="policy", map_name=name, entries=entries)
                for name, entries in shape.guarded.maps().items()
                if entries != self._shape.maps.get(name)
            ]
            # The guard's own program last: its facts may ask for limits that must be there already.
            changes.sort(key=lambda change: change.map_name == GUARD)
            if refused := await self._set_maps(changes):
                raise Refused("; ".join(refused))
            self._guarded, self._shape = guarded, shape
            self._saved = False
            return ""

    async def obeys(self, kind: str, version: str) -> bool:
        """Whether HAProxy's threads obey this version of a kind's policy."""
        return await self._exporter.obeys(kind, version)

    async def set_heights(self, heights: Mapping[str, int]) -> None:
        """Tell the guard the pools' heads, for open block ranges. At most every `HEIGHTS_EVERY` seconds."""
        now = asyncio.get_running_loop().time()
        wanted = dict(height_entry(pool, height) for pool, height in heights.items())
        if GUARD not in self._shape.maps or wanted == self._heights or now < self._heights_at:
            return
        self._heights_at = now + HEIGHTS_EVERY
        for key, value in wanted.items():
            if self._heights.get(key) != value:
                replies = await self._process.runtime.send(wire.set_entry(GUARD, key, value))
                wire.accepted(replies[-1])
        self._heights = wanted

    def rotate_access_log(self) -> bool:
        """Put the access log aside when it has grown; True when it was. Blocks; raises Unavailable."""
        return rotate(self.paths.access_log, self._settings.gateway.access_log_bytes)

    async def refresh_certificate(self) -> bool:
        """Serve with the listener's certificate file as it is now; True when it had changed.

        Raises BadDocument when the file is no certificate with its key, Refused with HAProxy's words when
        HAProxy does not take it: the old certificate stays, also for the next start.
        """
        async with self._lock:
            return await self._life.refresh_certificate()

    async def metrics(self) -> bytes:
        """The text of HAProxy's own Prometheus exporter. Raises Unavailable when HAProxy does not answer."""
        return await self._exporter.metrics(self._server_count)

    async def stop(self, grace: float = STOP_GRACE) -> bool:
        """End HAProxy in order: requests under way have `grace` seconds. False when none ran, or when it is
        another service's."""
        async with self._lock:
            self._adopted = False
            if not self._settings.gateway.start_haproxy:
                return False
            return await self._life.stop(grace)

    async def _reload(self, change: Change, wanted: Routing) -> str | None:
        """Take the wanted skeleton over; None when done, else one sentence why not."""
        shape, now = self._shape, asyncio.get_running_loop().time()
        if self._rejected is not None:
            skeleton, words, until = self._rejected
            if skeleton == shape.skeleton and now < until:
                return words
        log.info("reloading HAProxy: %s", change.why)
        maps_before = (await self.running()).routing.maps
        try:
            await self._life.reload(shape, wanted, maps_before)
        except (Unsafe, Refused, Conflict, BadDocument) as error:
            words = sentence(change, f"{error}; the last good configuration stays in force")
            self._rejected = (shape.skeleton, words, now + REJECTED_FOR)
            return words
        self._rejected, self._saved, self._servers.free_number = None, True, None
        return None

    async def _set_maps(self, changes: Iterable[Change]) -> list[str]:
        refused: list[str] = []
        for change in changes:
            name, entries = change.map_name, change.entries
            if name is None or entries is None:
                continue
            try:
                if name == GUARD:
                    entries = {**entries, **self._heights}
                (prepared,) = await self._process.runtime.send([wire.prepare_map(name)])
                commands = wire.fill_map(name, wire.map_version(prepared), entries)
                for reply in await self._process.runtime.send(commands):
                    wire.accepted(reply)
            except (Refused, Unsafe, Malformed) as error:
                refused.append(sentence(change, str(error)))
        return refused

    async def _keep(self, wanted: Routing, failed: set[Key]) -> list[str]:
        """Write down what runs now. A disk that fails does not stop the service: it is only said."""
        self._saved = False
        try:
            await asyncio.to_thread(self._write_down, wanted, failed)
        except (Unavailable, Unsafe) as error:
            return [f"the configuration for HAProxy's next start is not current: {error}"]
        self._saved = True
        return []

    def _write_down(self, wanted: Routing, failed: set[Key]) -> None:
        shape = self._shape
        servers = [item for item in shape.writable(wanted.servers.values()) if key_of(item) not in failed]
        self._store.put_servers(gateway.server_lines(servers, shape.trust), shape.text())
        self._store.put_maps(wanted.maps)


def _engine(change: Change) -> ChangeKind | None:
    """What carries a change out: None for changes of servers, which share one conversation."""
    return change.kind if change.kind in {ChangeKind.RELOAD, ChangeKind.SET_MAP} else None


def _info(reply: str) -> reports.Info:
    try:
        return reports.read_info(reply)
    except (Malformed, Refused) as error:
        raise Unavailable(str(error)) from error
