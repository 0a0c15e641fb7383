"""The pass: from what is known to what HAProxy does, level-triggered and idempotent.

Each pass starts again from all facts: it judges the latest observations, reads from HAProxy what runs,
computes what is wanted, lets safety withhold what would endanger service, applies the rest, and publishes
one Snapshot. A pass that fails changes nothing that the next one does not find again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from time import process_time
from typing import Protocol

from nodegate.consul.budget import Budget
from nodegate.daemon.pools import crowded_pools, pools_of
from nodegate.errors import NodegateError, NotFound, Refused, Unavailable
from nodegate.health import criteria_of, judge
from nodegate.health.registered import with_registered_checks
from nodegate.model import (
    Criteria,
    Failure,
    Intent,
    Inventory,
    Judgement,
    Observation,
    Routing,
    Running,
    Seconds,
    Snapshot,
    Source,
    Status,
)
from nodegate.ports import Adapter, Clock, Driver, Registry
from nodegate.probe.exchange import Upstream
from nodegate.probe.worker import Prober
from nodegate.registry.records import of_one_kind
from nodegate.routes import PlacedRoute
from nodegate.routing.diff import applied, diff
from nodegate.routing.lanes import Lanes, ceilings_of, main_bounds, main_lane, with_lanes
from nodegate.routing.plan import desired
from nodegate.routing.safety import withhold_unsafe
from nodegate.routing.sharing import Shared, share_out
from nodegate.settings import Settings
from nodegate.telemetry import Event, Telemetry, record, say_pass
from nodegate.telemetry.kinds import Event as Happening
from nodegate.telemetry.kinds import Kind, event

log = logging.getLogger("nodegate.daemon")

PASS_EVERY = 1.0
"""Seconds between passes when nothing happens: HAProxy's own view (a server it took out) is read that often."""
SHARE = 0.25
"""Passes take this share of the time in the long run, so that a fleet of thousands that changes all the time
costs a quarter of a core at most; waiting for HAProxy costs nothing. What was saved up in quiet times may be
spent at once: the passes that one change needs (add a node, see that it serves) follow each other without a rest."""
SHORTEST_REST = 0.05
LONGEST_REST = Seconds(2.0)
"""Whoever waits for the next pass must not wait for a multiple of a very long one."""
REREAD_EVERY = 5.0
"""Seconds between reads of an unchanged registry: they prove that it is still readable."""
RETRY_REGISTRY = 1.0


class Gateway(Protocol):
    """What the passes need of the gateway beside servers."""

    def shape(
        self, pools: Mapping[str, str], crowded: Set[str], routes: Sequence[PlacedRoute] | None = None
    ) -> Routing:
        """The shape for given pools (name → kind): a routing with skeleton and maps, no servers. `crowded`
        pools have no lanes. `routes` are those that services bring along, None where there can be none."""
        ...

    def lanes(self) -> Lanes:
        """The lanes of the pools of the last shape, by pool; a pool without a policy has none."""
        ...

    async def heights(self, heights: Mapping[str, int]) -> None:
        """Tell the data plane the pools' heads. Raises NodegateError when it is lost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a pass works with; chosen in `nodegate.wiring`. `published` gets every new snapshot, `tell` what
    no snapshot shows; both must be quick. `remembered` is the inventory of an earlier run, None if there is none."""

    settings: Settings
    adapters: Mapping[str, Adapter]
    registry: Registry
    driver: Driver
    gateway: Gateway
    upstreams: Mapping[str, Upstream]
    clock: Clock
    telemetry: Telemetry
    published: Callable[[Snapshot], None] = lambda snapshot: None
    tell: Callable[[Happening], None] = lambda happening: None
    remembered: Callable[[], Inventory | None] = lambda: None


class Control:
    """Owns the daemon's knowledge; everyone else reads `snapshot`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._wake = asyncio.Event()
        self._outcomes: dict[str, bool] = {}
        self._judged = Judgement()
        self._kinds: dict[str, str] = {}
        self._pool_kinds: dict[str, str] = {}
        self._started_at = parts.clock.now()
        self.prober = Prober(
            parts.adapters, parts.settings.probe, parts.clock, self._observed, upstreams=parts.upstreams
        )
        self.snapshot = self._told = Snapshot(at=self._started_at, started_at=self._started_at)

    def wake(self) -> None:
        """Ask for a pass now: something changed that should not wait for the next regular one."""
        self._wake.set()

    async def read_registry(self) -> None:
        """The first read, before anything starts. When it fails, what an earlier run knew is in force, with its
        time; without that it raises as `Registry.read`: who starts should see it."""
        try:
            inventory = await self._parts.registry.read()
        except (Unavailable, Refused) as error:
            remembered = self._parts.remembered()
            if remembered is None:
                raise
            self._registry_read(remembered)
            self._registry_lost(error)
        else:
            self._registry_read(inventory)

    def shape(self) -> Routing:
        """The gateway's shape for the pools that are known now."""
        inventory = self.snapshot.inventory or Inventory(nodes=(), index=0, read_at=self._started_at)
        return self._shape(share_out(inventory, self.snapshot.judgement))

    def _shape(self, shared: Shared) -> Routing:
        inventory = shared.inventory
        pools = pools_of(self._parts.settings, inventory)
        return self._parts.gateway.shape(pools, crowded_pools(inventory), shared.routes)

    async def watch_registry(self) -> None:
        """Keep the inventory current, for ever. A registry that fails leaves the last inventory in force."""
        registry = self._parts.registry
        while True:
            try:
                inventory = await registry.read()
            except NodegateError as error:
                self._registry_lost(error)
                await asyncio.sleep(RETRY_REGISTRY)
                continue
            self._registry_read(inventory)
            try:
                async with asyncio.timeout(REREAD_EVERY):
                    await registry.changed(inventory.index)
            except TimeoutError:
                continue
            except NodegateError as error:
                self._registry_lost(error)
                await asyncio.sleep(RETRY_REGISTRY)

    async def pass_forever(self) -> None:
        """One pass after the other, for ever: at once after a change, else every `PASS_EVERY` seconds."""
        clock, budget = self._parts.clock, Budget(share=SHARE, longest=LONGEST_REST)
        while True:
            self._wake.clear()
            used = process_time()
            await self.one_pass()
            budget.spend(Seconds(process_time() - used), clock.now())
            await asyncio.sleep(max(SHORTEST_REST, budget.rest(clock.now())))
            try:
                async with asyncio.timeout(PASS_EVERY):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def one_pass(self) -> None:
        """Judge, plan, apply, publish. Failures of HAProxy end up in the snapshot, not in an exception."""
        inventory = self.snapshot.inventory
        if inventory is None:
            self._tell()
            return
        clock, before = self._parts.clock, self.snapshot
        now = clock.now()
        observations = self.prober.observations
        self._judged = judge(
            inventory, observations, self._judged, now,
            criteria=self._criteria(inventory), settings=self._parts.settings.health,
        )  # fmt: skip
        judgement = with_registered_checks(self._judged, inventory, before.judgement.verdicts, now)
        known = replace(before, judgement=judgement, observations=observations, at=now)
        try:
            after = await self._act(known, inventory)
        except NodegateError as error:
            after = replace(known, haproxy_error=str(error))
        duration = Seconds(clock.now() - now)
        self.snapshot = replace(
            after, passes=before.passes + 1, pass_duration=duration, registry_error=self.snapshot.registry_error,
            inventory=self.snapshot.inventory,
            ready=before.ready or (after.haproxy_error is None and self._all_asked(after, inventory)),
        )  # fmt: skip
        self._parts.telemetry.probes_in_flight(self.prober.stats().in_flight)
        for lateness in self.prober.take_lateness():
            self._parts.telemetry.probe_started(lateness)
        self._parts.telemetry.passed(self._told, self.snapshot)
        self._tell()
        if after.plan.changes != before.plan.changes:
            self.wake()  # the next pass reads what has become of them; somebody may be waiting to see it

    def _tell(self) -> None:
        say_pass(self._told, self.snapshot)
        self._told = self.snapshot
        self._parts.published(self.snapshot)

    async def _act(self, known: Snapshot, inventory: Inventory) -> Snapshot:
        """The half of a pass that speaks to HAProxy. Raises NodegateError when HAProxy cannot be reached."""
        driver, settings = self._parts.driver, self._parts.settings
        running = await self._running()
        for (_, name), server in running.routing.servers.items():
            if server.marked_down:
                self.prober.probe_soon(name)
        shared = share_out(inventory, known.judgement)
        inventory, shape = shared.inventory, self._shape(shared)
        lanes, main = self._parts.gateway.lanes(), main_lane(running.routing)
        wanted = desired(
            inventory,
            known.judgement,
            main,
            settings=settings,
            skeleton=shape.skeleton,
            maps=shape.maps,
            bounds=main_bounds(lanes),
        )
        plan = withhold_unsafe(
            diff(main, wanted), main, inventory, known.judgement, known.at, settings=settings.safety
        )
        plan = with_lanes(plan, running.routing, lanes, ceilings_of(inventory.nodes, settings))
        refused = await driver.apply(plan, applied(running.routing, plan.changes))
        views = known.judgement.pools.items()
        await self._parts.gateway.heights(
            {name: view.height for name, view in views if view.height is not None}
        )
        if self.snapshot.registry_error is None:
            await self._forget_removed(inventory, running, wanted)
        return replace(known, plan=plan, running=running, refused=refused, haproxy_error=None)

    async def _running(self) -> Running:
        """What HAProxy does; one that died is started again first."""
        try:
            return await self._parts.driver.running()
        except Unavailable:
            if said := await self._parts.driver.ensure():
                record(log, logging.WARNING, Event.HAPROXY, said)
                self._parts.telemetry.haproxy_started()
                self._parts.tell(event(self._parts.clock.now(), Kind.HAPROXY_RESTARTED, "haproxy", said))
            return await self._parts.driver.running()

    async def _forget_removed(self, inventory: Inventory, running: Running, wanted: Routing) -> None:
        """Delete the records of nodes that were to be removed and that serve nothing any more."""
        serving = {name for _, name in running.routing.servers} | {name for _, name in wanted.servers}
        for node in inventory.nodes:
            if node.intent is Intent.REMOVE and node.id not in serving and node.source is Source.REGISTRY:
                try:
                    await self._parts.registry.delete(node.id, node.version)
                except NotFound:
                    continue
                except NodegateError as error:
                    log.info("%s cannot be forgotten yet: %s", node.id, error)
                else:
                    log.info("%s is removed", node.id)

    def _criteria(self, inventory: Inventory) -> dict[str, Criteria]:
        settings, adapters = self._parts.settings, self._parts.adapters
        return {
            pool: criteria_of(adapters[kind].criteria, settings.pool(pool))
            for pool, kind in pools_of(settings, inventory).items()
            if kind in adapters
        }

    def _registry_read(self, inventory: Inventory) -> None:
        before, parts = self.snapshot, self._parts
        inventory, self._pool_kinds = of_one_kind(inventory, parts.settings, self._pool_kinds, parts.adapters)
        for fault in inventory.faults:
            if before.inventory is None or fault not in before.inventory.faults:
                log.warning("registry: %s", fault)
        changed = before.inventory is None or before.inventory.nodes != inventory.nodes
        self.snapshot = replace(before, inventory=inventory, registry_error=None)
        if changed:
            forgotten = self.prober.update(inventory)
            if forgotten:
                # What was judged of another address must not vouch for the new one, nor lend it its own.
                verdicts = {name: one for name, one in self._judged.verdicts.items() if name not in forgotten}
                self._judged = replace(self._judged, verdicts=verdicts)
            self._kinds = {node.id: node.kind for node in inventory.nodes}
            self._outcomes = {name: good for name, good in self._outcomes.items() if name in self._kinds}
        if before.inventory is None or not only_adds(before.inventory, inventory):
            self.wake()

    def _registry_lost(self, error: NodegateError) -> None:
        self.snapshot = replace(self.snapshot, registry_error=str(error))

    def _observed(self, observation: Observation) -> None:
        """Wake the pass when a node's answer turns from good to bad or back; the rest can wait for it."""
        self._parts.telemetry.observed(observation, self._kinds.get(observation.node_id, "unknown"))
        good = not isinstance(observation.outcome, Failure)
        if self._outcomes.get(observation.node_id) is not good:
            self._outcomes[observation.node_id] = good
            self.wake()
        elif not good or self._status_of(observation.node_id) is not Status.UP:
            self.wake()

    def _status_of(self, node_id: str) -> Status | None:
        verdict = self.snapshot.judgement.verdicts.get(node_id)
        return verdict.status if verdict is not None else None

    def _all_asked(self, snapshot: Snapshot, inventory: Inventory) -> bool:
        """Whether the first round of probes is over, so that "no healthy node" is knowledge, not ignorance."""
        probe = self._parts.settings.probe
        patience = self._started_at + probe.interval + probe.timeout
        return snapshot.at > patience or all(node.id in snapshot.observations for node in inventory.nodes)


def only_adds(before: Inventory, after: Inventory) -> bool:
    """Whether nothing but new nodes came, or nothing at all. New nodes are asked first, and their first answer asks
    for the pass that adds them: one before that would only be in its way."""
    present = {node.id: node for node in after.nodes}
    if after.routes != before.routes:
        return False
    return all((now := present.get(node.id)) is node or now == node for node in before.nodes)
