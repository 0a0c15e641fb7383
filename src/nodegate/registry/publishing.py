"""Services in Consul for the nodes that nodegate registered, and its verdicts as TTL checks.

Level-triggered: each round compares what the agent of this machine has with what it should have, and does the
difference. A service belongs to the agent that it was first registered on; another gateway changes the record, and
this one follows. When that agent is lost for long, one of the other gateways takes its services over. What cannot be
done is a fault in words and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nodegate.consul.client import ConsulClient, segment
from nodegate.errors import Conflict, Malformed, NodegateError, NotFound, Refused
from nodegate.model import Instant, Intent, Node, Snapshot, Source, Verdict
from nodegate.ports import Adapter
from nodegate.registry.aliases import ALIAS, Itself, alias_definitions
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.consulnodes import RECORD
from nodegate.registry.consulservices import (
    DIGEST,
    VERDICT,
    definition,
    service_id,
    verdict_check,
    verdict_words,
)
from nodegate.registry.leftovers import Leftovers
from nodegate.settings import Settings

log = logging.getLogger("nodegate.registry")

EVERY = 10.0
"""Seconds between two rounds when nothing happens: an agent that has lost a service gets it back within that."""
RETRY = 2.0
"""Seconds to wait for an agent that is away, and for a record that was just taken over to be known."""
SOONEST = 0.05
ABREAST = 8


class Publisher:
    """Keeps the services of the agent at the client's first address as the registry and the verdicts say.

    `itself` is this gateway where it registers itself; the names that routes ask for are registered beside it.
    `leads` says whether this gateway is the one of all living ones to do a task that one should do for all.
    """

    def __init__(
        self,
        registry: ConsulRegistry,
        settings: Settings,
        adapters: Mapping[str, Adapter],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._registry = registry
        self._client: ConsulClient = registry.client
        self._settings = settings
        self._adapters = adapters
        self._snapshot = snapshot
        self._news = asyncio.Event()
        self._told: dict[str, tuple[str, str, float]] = {}
        self._faults: tuple[str, ...] = ()
        self._statuses: dict[str, str] = {}
        self._lost: dict[str, Instant] = {}
        self._again = False
        self._leftovers = Leftovers(registry.client)
        self.itself: Itself | None = None
        self.leads: Callable[[str], bool] = lambda task: True
        registry.written = self.wake
        registry.remarks = lambda: self._faults

    @property
    def faults(self) -> tuple[str, ...]:
        """What could not be done in the last round."""
        return self._faults

    def wake(self, *_: object) -> None:
        """Begin a round soon: a record or a verdict has changed."""
        self._news.set()

    def published(self, snapshot: Snapshot) -> None:
        """Begin a round soon when a verdict of `snapshot` is another than in the one before."""
        if not self._settings.registry.publish_verdict:
            return
        statuses = {name: verdict.status.value for name, verdict in snapshot.judgement.verdicts.items()}
        if statuses != self._statuses:
            self._statuses = statuses
            self.wake()

    async def run(self) -> None:
        """Round after round, for ever."""
        while True:
            self._news.clear()
            pause = self._pause()
            try:
                self._say(await self.once())
                pause = min(RETRY, pause) if self._again else pause
            except NodegateError as error:
                self._say((f"services and verdicts in Consul wait: {error}",))
                pause = min(RETRY, pause)
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SOONEST)

    async def once(self) -> tuple[str, ...]:
        """One round; what could not be done, one sentence each. Raises Unavailable when the agent is away."""
        await self._registry.learn_agent()
        if not self._registry.current:
            return ()  # what should be there is not known: nothing is dropped
        present = await self._present()
        aliases, faults = alias_definitions(self._registry.registers, self.itself)
        wanted = self._wanted() | aliases
        jobs = [
            *(
                self._register(document)
                for name, document in wanted.items()
                if _differs(document, present.get(name))
            ),
            *(self._drop(name) for name, one in present.items() if self._is_own(one) and name not in wanted),
        ]
        adopted = (*self._orphans(), *self._left_behind())
        faults += await _all([*jobs, *map(self._registry.adopt, adopted)])
        self._again = bool(adopted)
        if self._settings.registry.publish_verdict:
            faults += await _all(self._verdicts(present.keys() | wanted.keys()))
        if self._settings.fabio.enabled:
            faults += await self._leftovers.faults(self._registry.clock.now())
        return tuple(faults)

    async def leave(self) -> None:
        """Take the verdicts out of Consul: nobody confirms them any more, and a check that has lapsed would
        condemn nodes that nobody has looked at. And the gateway's further names: it leads nobody anywhere now."""
        names, self._told = list(self._told), {}
        aliases, _ = alias_definitions(self._registry.registers, self.itself)
        for fault in await _all([*map(self._forget, names), *map(self._drop, aliases)]):
            log.warning("%s", fault)

    def _pause(self) -> float:
        settings = self._settings.registry
        return min(EVERY, settings.verdict_ttl / 3) if settings.publish_verdict else EVERY

    def _say(self, faults: tuple[str, ...]) -> None:
        for fault in faults:
            if fault not in self._faults:
                log.warning("%s", fault)
        self._faults = faults

    async def _present(self) -> dict[str, Mapping[str, Any]]:
        found = (await self._client.get("/v1/agent/services", local=True)).value
        if not isinstance(found, dict):
            raise Malformed("the list of services of Consul's agent is no object")
        return found

    def _wanted(self) -> dict[str, dict[str, Any]]:
        return {
            service_id(one.node): definition(
                one.node, self._adapters.get(one.node.kind), self._settings.registry, self._settings.probe
            )
            for one in self._registry.stored.values()
            if one.agent == self._registry.agent and one.node.source is Source.REGISTRY
            and one.node.intent is not Intent.REMOVE
        }  # fmt: skip

    def _orphans(self) -> list[Node]:
        """Nodes that no agent has yet: they were added while it could not be asked."""
        stored = self._registry.stored.values()
        return [one.node for one in stored if not one.agent and one.node.source is Source.REGISTRY]

    def _is_own(self, service: Mapping[str, Any]) -> bool:
        """Whether a service of the agent was registered here: for a record, or as a further name of this gateway."""
        meta = _meta(service)
        return RECORD in meta or (self.itself is not None and meta.get(ALIAS) == self.itself.name)

    def _left_behind(self) -> list[Node]:
        """Nodes whose agent has been lost for long, and that this gateway is the one to take over."""
        lost, now = self._registry.lost_agents(), self._registry.clock.now()
        self._lost = {agent: self._lost.get(agent, now) for agent in lost}
        long = {
            agent
            for agent, since in self._lost.items()
            if now - since >= self._settings.registry.take_over_after
        }
        return [
            one.node
            for one in self._registry.stored.values()
            if one.agent in long
            and one.node.source is Source.REGISTRY
            and self.leads(f"service/{one.node.id}")
        ]

    async def _register(self, document: Mapping[str, Any]) -> None:
        self._told.pop(document["ID"], None)  # a registration replaces the checks
        try:
            await self._client.put(
                "/v1/agent/service/register", document, params={"replace-existing-checks": "true"}, local=True
            )
        except Refused as error:
            if ALIAS not in document["Meta"]:
                raise
            name = document["Name"]
            right = f'service "{name}" {{ policy = "write" }}'
            raise Refused(f"register={name} is not possible: {error}. Here that is {right}") from error

    async def _drop(self, name: str) -> None:
        self._told.pop(name, None)
        await self._client.put(f"/v1/agent/service/deregister/{segment(name)}", local=True)

    def _verdicts(self, services: Iterable[str]) -> list[Any]:
        """What to tell the agent: verdicts that are new to it, and those that would lapse soon."""
        snapshot, now = self._snapshot(), asyncio.get_running_loop().time()
        jobs = []
        for name, node in self._nodes(services, snapshot):
            verdict = snapshot.judgement.verdicts.get(node.id)
            status, output = verdict_words(verdict)
            told = self._told.get(name)
            lapses = self._settings.registry.verdict_ttl / 3
            if told is None or told[:2] != (status, output) or now - told[2] > lapses:
                jobs.append(self._tell(name, verdict, new=told is None))
                self._told[name] = (status, output, now)
        return jobs

    def _nodes(self, services: Iterable[str], snapshot: Snapshot) -> Iterable[tuple[str, Node]]:
        """The agent's services that are nodes."""
        if snapshot.inventory is None:
            return
        local = set(services)
        own = {service_id(node): node for node in snapshot.inventory.nodes if node.source is Source.REGISTRY}
        for name in sorted(local & own.keys()):
            yield name, own[name]
        others = self._registry.places()
        for node in snapshot.inventory.nodes:
            if node.source is Source.SERVICE and others.get(node.id) in local:
                yield others[node.id], node

    async def _tell(self, name: str, verdict: Verdict | None, *, new: bool) -> None:
        status, output = verdict_words(verdict)
        update = f"/v1/agent/check/update/{segment(VERDICT + name)}"
        try:
            if new:
                check = verdict_check(name, verdict, self._settings.registry)
                await self._client.put("/v1/agent/check/register", check, local=True)
            await self._client.put(update, {"Status": status, "Output": output}, local=True)
        except NodegateError:
            self._told.pop(name, None)  # the agent does not know the check (any more): register it again
            raise

    async def _forget(self, name: str) -> None:
        await self._client.put(f"/v1/agent/check/deregister/{segment(VERDICT + name)}", local=True)


def _meta(service: Mapping[str, Any]) -> Mapping[str, str]:
    return service.get("Meta") or {}


def _differs(document: Mapping[str, Any], present: Mapping[str, Any] | None) -> bool:
    return present is None or _meta(present).get(DIGEST) != document["Meta"][DIGEST]


async def _all(jobs: Iterable[Any]) -> list[str]:
    """Do all jobs, a few at once; what failed, in words."""
    turn = asyncio.Semaphore(ABREAST)

    async def one(job: Any) -> str | None:
        async with turn:
            try:
                await job
            except (NotFound, Conflict):
                return None
            except NodegateError as error:
                return f"Consul's agent does not take a service or a verdict: {error}"
        return None

    return sorted({fault for fault in await asyncio.gather(*map(one, jobs)) if fault is not None})
