"""The catalogue with all checks, kept current by few and small requests.

Two blocking reads, whatever the number of services: `health/state/any` carries the status of every check, so a
node that turns critical costs one answer and no further request; `catalog/services` says that some registration
changed, though not which. Services that names, tags or checks give away are fetched at once. Everything else
(an address, a weight, meta) is found by a sweep over all services or all Consul nodes, whichever are fewer,
right after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import is_
from typing import Any

from nodegate.consul.budget import Budget
from nodegate.consul.catalog import (
    CRITICAL,
    Catalog,
    Check,
    Instance,
    checks_of,
    instances_of_service,
    instances_on_node,
    service_names,
)
from nodegate.consul.client import WAIT, ConsulClient, Reply, gathered, segment
from nodegate.consul.damping import Held, Place, Restarts, hold_restarted, hold_vanished
from nodegate.consul.state import Wanted, composed, merged_checks, merged_instances, suspects
from nodegate.consul.token import prove_token, refuse_blindness
from nodegate.model import Instant, Seconds
from nodegate.ports import Clock

ABREAST = 8
"""Requests of a sweep that are under way at once."""
FEW = 32
"""Changed services that are fetched one by one; for more than these a sweep is cheaper."""
SWEEP_AFTER = Seconds(1.0)
"""How long a sweep waits for more changes after one that was explained: that one is to be applied first, and
thousands that follow each other share one sweep."""
HOLD = Seconds(30.0)
SHARE = 0.5

SERF = "serfHealth"
"""The check by which Consul's agents watch each other."""
CHECKS = "/v1/health/state/any"
SERVICES = "/v1/catalog/services"


def all_but_servers(name: str) -> bool:
    """Every service but Consul's own."""
    return name != "consul"


class CatalogWatch:
    """Consul's catalogue, of the services whose names are `wanted`.

    After a first `read`, `changed` waits for news. When more than `share` of the instances vanish in one read they
    stay for `hold` seconds, and so do the former states of checks after an agent's restart: `notes` says so in
    words. One task at a time may wait, others may read; errors are those of ConsulClient, and what was known stays known.
    """

    def __init__(
        self,
        client: ConsulClient,
        clock: Clock,
        wanted: Wanted = all_but_servers,
        *,
        share: float = SHARE,
        hold: Seconds = HOLD,
    ) -> None:
        self._client = client
        self._clock = clock
        self._wanted = wanted
        self._share = share
        self._hold = hold
        self._budget = Budget()
        self._waiting: dict[str, asyncio.Task[Reply]] = {}
        self._index = {CHECKS: 0, SERVICES: 0}
        self._names: Mapping[str, tuple[str, ...]] = {}
        self._raw: Mapping[Place, Mapping[str, Any]] = {}
        self._seen: Mapping[Place, Check] = {}
        self._checks: Mapping[Place, Check] = {}
        self._bare: Mapping[Place, Instance] = {}
        self._full: Mapping[Place, Instance] = {}
        self._composed: Mapping[Place, Instance] = {}
        self._held = Held()
        self._restarts = Restarts()
        self._laid: tuple[object, object] = (None, None)
        self._sweep_at: Instant | None = None
        self._catalog: Catalog | None = None
        self._turn = asyncio.Lock()

    @property
    def catalog(self) -> Catalog | None:
        """What was read last, None before the first read."""
        return self._catalog

    @property
    def notes(self) -> tuple[str, ...]:
        """What is held back now, one sentence each."""
        notes = []
        if self._held.kept:
            notes.append(
                f"{len(self._held.kept)} of {len(self._full)} service instances vanished from Consul together; "
                f"they are kept for {self._hold:g} s, in case they return"
            )
        notes += [
            f"the agent of Consul node {node!r} has started again, or services were registered there anew; checks that "
            "have not run since keep their state"
            for node in sorted({place[0] for place in self._restarts.former})
        ]
        return tuple(notes)

    def living_agents(self) -> frozenset[str]:
        """The Consul nodes whose agents answer the others now."""
        return frozenset(
            node for (node, check), item in self._raw.items() if check == SERF and item["Status"] != CRITICAL
        )

    def remember(self, catalog: Catalog) -> None:
        """Start from what an earlier run knew, so that what has vanished or was reset meanwhile is held back too."""
        self._full = {(one.node, one.id): one for one in catalog.instances}
        self._checks = {
            (one.node, check.id): check
            for one in catalog.instances
            for check in (*one.checks, *one.node_checks)
        }

    async def read(self) -> Catalog:
        """The catalogue now. The checks are asked for anew only where no waiting read brings them anyway."""
        waits = CHECKS in self._waiting and not self._waiting[CHECKS].done()
        paths = (SERVICES,) if waits and self._catalog is not None else (CHECKS, SERVICES)
        replies = await gathered(*(self._client.get(path, stale=True) for path in paths))
        await self._take(dict(zip(paths, replies, strict=True)))
        assert self._catalog is not None
        return self._catalog

    async def changed(self, after: int | None = None) -> Catalog:
        """Wait until the catalogue differs from the one read last, or from that of index `after`, and return it.
        May be cancelled; the requests under way go on for the next call."""
        before = self._catalog or await self.read()
        if after is not None and before.index != after:
            return before
        while True:
            await asyncio.sleep(self._budget.rest(self._clock.now()))
            self._ask()
            await asyncio.wait(
                self._waiting.values(), timeout=self._due(), return_when=asyncio.FIRST_COMPLETED
            )
            done = {path: task for path, task in self._waiting.items() if task.done()}
            for path in done:
                del self._waiting[path]
            await self._take({path: task.result() for path, task in done.items()})
            now = self._catalog
            if now is not None and now.instances != before.instances:
                return now

    @property
    def _pending(self) -> bool:
        """Whether something is held back, and may have to be let go."""
        return bool(self._held.kept or self._restarts.until)

    async def close(self) -> None:
        """End the requests under way; the client stays open."""
        tasks, self._waiting = list(self._waiting.values()), {}
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task

    def _ask(self) -> None:
        for path in (CHECKS, SERVICES):
            if path not in self._waiting:
                asked = self._client.get(path, index=max(1, self._index[path]), wait=WAIT, stale=True)
                self._waiting[path] = asyncio.ensure_future(asked)

    def _due(self) -> float | None:
        """Seconds until something is to be done that no answer brings about."""
        times = [*self._restarts.until.values()]
        times += [time for time in (self._sweep_at, self._held.until) if time is not None]
        return max(0.0, min(times) - self._clock.now()) if times else None

    async def _take(self, replies: Mapping[str, Reply]) -> None:
        """Take what was answered into account, all or nothing for each answer."""
        async with self._turn:
            await self._take_in_turn(replies)

    async def _take_in_turn(self, replies: Mapping[str, Reply]) -> None:
        began = self._clock.now()
        if any(self._went_back(path, reply) for path, reply in replies.items()):
            self._index = dict.fromkeys(
                self._index, 0
            )  # another history: nothing that is known may be compared
            self._raw = {}
            await self.close()
        if reply := replies.get(CHECKS):
            self._take_checks(reply)
        if reply := replies.get(SERVICES):
            await self._take_services(reply)
        elif self._sweep_at is not None and began >= self._sweep_at:
            await self._sweep(self._names)
        await self._compose()
        now = self._clock.now()
        self._budget.spend(Seconds(now - began), now)

    def _went_back(self, path: str, reply: Reply) -> bool:
        """Whether Consul's index fell; a server that knows no leader does not count."""
        return reply.fresh and 0 < reply.index < self._index[path]

    def _take_checks(self, reply: Reply) -> None:
        if reply.index < self._index[CHECKS]:
            return
        raw = checks_of(reply.value)
        refuse_blindness(raw, {"consul": ()})
        self._seen = merged_checks(raw, self._raw, self._seen)
        self._raw, self._index[CHECKS] = raw, reply.index

    async def _take_services(self, reply: Reply) -> None:
        refuse_blindness(True, reply.value)
        if reply.index <= self._index[SERVICES]:
            return
        names = {name: tags for name, tags in service_names(reply.value).items() if self._wanted(name)}
        found = (
            suspects(names, self._names, self._raw, self._full, self._wanted)
            if self._index[SERVICES]
            else set()
        )
        if 0 < len(found) <= FEW:
            fetched = await self._services(found)
            kept = {place: one for place, one in self._bare.items() if one.service not in found}
            self._bare = kept | merged_instances(fetched, self._bare)
            self._sweep_at = Instant(self._clock.now() + SWEEP_AFTER)
        else:
            await self._sweep(names)
        self._names, self._index[SERVICES] = names, reply.index

    async def _sweep(self, names: Mapping[str, Any]) -> None:
        """Fetch all instances, by the shorter way."""
        nodes = {
            item["Node"] for item in (await self._client.get("/v1/catalog/nodes", stale=True)).value or ()
        }
        if len(nodes) < len(names):
            values = await self._fetch(f"/v1/catalog/node/{segment(node)}" for node in sorted(nodes))
            fetched = [
                one for value in values for one in instances_on_node(value) if self._wanted(one.service)
            ]
        else:
            fetched = await self._services(names)
        self._bare = merged_instances(fetched, self._bare)
        self._sweep_at = None

    async def _services(self, names: Iterable[str]) -> list[Instance]:
        values = await self._fetch(f"/v1/catalog/service/{segment(name)}" for name in sorted(names))
        return [one for value in values for one in instances_of_service(value)]

    async def _fetch(self, paths: Iterable[str]) -> list[Any]:
        turn = asyncio.Semaphore(ABREAST)

        async def one(path: str) -> Any:
            async with turn:
                return (await self._client.get(path, stale=True)).value

        return await gathered(*(one(path) for path in paths))

    async def _compose(self) -> None:
        """Lay checks and instances together, and hold back what looks like a disaster but need not be one."""
        now = self._clock.now()
        known, news = self._catalog, (self._bare, self._seen)
        if known is not None and not self._pending and all(map(is_, news, self._laid)):
            self._catalog = replace(known, read_at=now)
            return
        checks, restarts = hold_restarted(self._checks, self._seen, self._restarts, now, hold=self._hold)
        full = composed(self._bare, checks, self._composed, self._full)
        instances, held = hold_vanished(self._full, full, self._held, now, share=self._share, hold=self._hold)
        if held.kept - self._held.kept:
            await prove_token(self._client)
        self._checks, self._restarts, self._full, self._held = checks, restarts, instances, held
        self._composed, self._laid = self._bare, news
        ordered = tuple(sorted(instances.values(), key=lambda one: (one.service, one.node, one.id)))
        same = known is not None and known.instances == ordered
        self._catalog = Catalog(
            instances=known.instances if same and known is not None else ordered,
            index=known.index if same and known is not None else max(self._index.values()),
            read_at=now,
        )
