"""Keep pools at their size: what `nodegate.scaling` decides is carried out here, one action at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nodegate import scaling
from nodegate.daemon.provider import call
from nodegate.daemon.scalebook import Book
from nodegate.daemon.scalefacts import blind, counts_of, members_of, nodes_of
from nodegate.errors import BadDocument, Conflict, NodegateError
from nodegate.model import Instant, Intent, Seconds, Snapshot, Source
from nodegate.ports import Adapter, Clock, Registry
from nodegate.registry.records import conflicts, new_node
from nodegate.scaling import Action, Decision, Facts, Ledger, Meter, Own, Phase, PoolScaling
from nodegate.settings import ScalingSettings, Settings
from nodegate.telemetry import Event, Telemetry, record
from nodegate.telemetry.kinds import Event as Happening
from nodegate.telemetry.kinds import Kind, event

log = logging.getLogger("nodegate.daemon")

EVERY = 1.0
"""Seconds between two looks; a pass is made that often."""
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerParts:
    """What the scaler works with. `in_charge` names the gateway that scales a pool if it is another one, and
    is empty if it is this one. `tell` gets what was done and what failed; it must be quick."""

    settings: Settings
    adapters: Mapping[str, Adapter]
    registry: Registry
    clock: Clock
    telemetry: Telemetry
    snapshot: Callable[[], Snapshot]
    wake: Callable[[], None]
    directory: Path
    in_charge: Callable[[str], str] = lambda pool: ""
    tell: Callable[[Happening], None] = lambda happening: None


class Scaler:
    """Runs beside the passes: a provider that takes minutes holds up nothing else."""

    def __init__(self, parts: ScalerParts) -> None:
        self._parts = parts
        self.pools = {
            name: pool.scaling for name, pool in parts.settings.pools.items() if pool.scaling is not None
        }
        self._book = Book(parts.directory / "scaling.json")
        self._meters = {name: Meter() for name in self.pools}
        self._metered: Instant | None = None
        self._busy: dict[str, str] = {}
        self._said: dict[str, Decision] = {}

    async def run(self) -> None:
        """Look at every pool once a second, for ever. Raises BadDocument when the ledger cannot be read:
        without it nobody knows what runs and costs money."""
        while True:
            await self.tick()
            await asyncio.sleep(EVERY)

    async def tick(self) -> None:
        """One look at every pool, and at most one action for each."""
        await self._book.load()
        self._measure()
        for pool, rules in self.pools.items():
            facts, now = self._facts(pool, rules), self._parts.clock.now()
            if not facts.blind:
                ledger = scaling.settle(
                    self._book.ledger(pool), facts, now, patience=Seconds(rules.replace_after)
                )
                await self._book.keep(pool, scaling.marked(facts, ledger, rules, now))
            decision = scaling.decide(facts, self._book.ledger(pool), rules, now)
            self._parts.telemetry.scaling.sizes(
                pool, wanted=decision.wanted, healthy=decision.healthy, starting=decision.starting,
                broken=decision.broken, own=len(self._book.ledger(pool).own),
            )  # fmt: skip
            if decision.action is Action.NOTHING:
                continue
            if rules.dry_run:
                self._say_dry(pool, decision)
                continue
            await self._act(pool, rules, facts, decision)

    def shown(self) -> tuple[PoolScaling, ...]:
        """Every pool that is scaled, as it is now."""
        return tuple(self._shown(pool, rules) for pool, rules in self.pools.items())

    # What is seen

    def _facts(self, pool: str, rules: ScalingSettings) -> Facts:
        snapshot = self._parts.snapshot()
        known = "" if self._kind(pool) else f"the pool has no node yet and no kind: set pools.{pool}.kind"
        return Facts(
            pool=pool,
            members=members_of(snapshot, pool),
            rate=None if rules.load_per_node is None else self._meters[pool].rate(),
            blind=blind(snapshot) or known,
            in_charge=self._parts.in_charge(pool),
        )

    def _kind(self, pool: str) -> str:
        """The kind of the pool's nodes, empty when nobody said it yet."""
        nodes = nodes_of(self._parts.snapshot(), pool)
        return self._parts.settings.pool(pool).kind or next((node.kind for node in nodes), "")

    def _measure(self) -> None:
        snapshot = self._parts.snapshot()
        if snapshot.running is None or snapshot.at == self._metered:
            return
        self._metered = snapshot.at
        for pool, meter in self._meters.items():
            meter.seen(snapshot.at, counts_of(snapshot, pool))

    # What is done

    async def _act(self, pool: str, rules: ScalingSettings, facts: Facts, decision: Decision) -> None:
        """Carry one decision out; a failure is kept in the ledger and tried again after a while."""
        name = decision.node or scaling.own_id(pool, "".join(secrets.choice(_LETTERS) for _ in range(6)))
        self._busy[pool] = f"{_DOING[decision.action]} {name}"
        act = {Action.START: self._start, Action.DRAIN: self._drain, Action.STOP: self._stop}
        try:
            await act[decision.action](pool, rules, facts, replace(decision, node=name))
        except NodegateError as error:
            await self._failed(pool, replace(decision, node=name), str(error))
        else:
            await self._succeeded(pool, replace(decision, node=name))
        finally:
            self._busy.pop(pool, None)

    async def _start(self, pool: str, rules: ScalingSettings, facts: Facts, decision: Decision) -> None:
        name, now = decision.node, self._parts.clock.now()
        kind = self._kind(pool)
        known = self._book.ledger(pool).own.get(name)
        own = known or Own(id=name, kind=kind, started_at=now, at=now)
        await self._book.keep_own(pool, own)  # before the call: what was asked for is never forgotten
        output = await self._call(rules.start, rules, facts, decision, Action.START, own)
        started = scaling.started_from(output)
        if not started.registers_itself:
            await self._declare(pool, own, started)
        now = self._parts.clock.now()
        await self._book.keep_own(
            pool, replace(own, phase=Phase.RUNNING, at=now, started_at=now, url=started.url or "")
        )

    async def _declare(self, pool: str, own: Own, started: scaling.Started) -> None:
        """Write the new node's record. Raises BadDocument for what its kind or pool does not take, Conflict when its
        id has another URL."""
        fields = started.model_dump(exclude={"registers_itself", "kind"})
        fields |= {"id": own.id, "pool": pool, "kind": started.kind or own.kind}
        node = new_node(fields, self._parts.adapters, file="the start command's output")
        inventory = await self._parts.registry.read()
        other = next((item for item in inventory.nodes if item.id == node.id), None)
        if other is not None:
            if other.url != node.url:
                raise Conflict(
                    f"{node.id} stands in the registry as {other.url}, and was started as {node.url}"
                )
            return
        if fault := conflicts(node, inventory, self._parts.settings):
            raise BadDocument([fault])
        await self._parts.registry.put(node)
        self._parts.wake()

    async def _drain(self, pool: str, rules: ScalingSettings, facts: Facts, decision: Decision) -> None:
        inventory = await self._parts.registry.read()
        node = next((item for item in inventory.nodes if item.id == decision.node), None)
        own, now = self._book.ledger(pool).own[decision.node], self._parts.clock.now()
        if node is None:
            await self._book.keep_own(pool, replace(own, phase=Phase.GONE, at=now))
            return
        if node.intent is not Intent.REMOVE and node.source is not Source.FILE:
            await self._parts.registry.put(replace(node, intent=Intent.REMOVE))
        await self._book.keep_own(pool, replace(own, phase=Phase.DRAINING, at=now))
        self._parts.wake()

    async def _stop(self, pool: str, rules: ScalingSettings, facts: Facts, decision: Decision) -> None:
        own = self._book.ledger(pool).own[decision.node]
        await self._call(rules.stop, rules, facts, decision, Action.STOP, own)
        await self._book.forget_own(pool, own.id)

    async def _call(
        self, command: tuple[str, ...], rules: ScalingSettings, facts: Facts, decision: Decision, action: Action, own: Own
    ) -> bytes:  # fmt: skip
        document = scaling.request_document(
            facts, decision, action=action, node=own.id, kind=own.kind, url=own.url
        )
        return await call(
            command, environ=scaling.environment(document, os.environ), stdin=scaling.stdin_of(document),
            timeout=rules.timeout, limit=scaling.LIMIT, directory=self._parts.directory,
        )  # fmt: skip

    async def _failed(self, pool: str, decision: Decision, reason: str) -> None:
        ledger, words = self._book.ledger(pool), f"{decision.node}: {decision.action.value} failed: {reason}"
        await self._book.keep(
            pool,
            replace(ledger, failures=ledger.failures + 1, failure=words, acted_at=self._parts.clock.now()),
        )
        self._parts.telemetry.scaling.acted(pool, decision.action.value, ok=False)
        _say(logging.ERROR, f"pool {pool}: {words}", pool, decision)
        self._tell(Kind.SCALING_FAILED, words, pool, decision)

    async def _succeeded(self, pool: str, decision: Decision) -> None:
        words = f"{decision.node} was {_DONE[decision.action]}"
        changes: dict[str, Any] = {"failures": 0, "failure": "", "surplus_since": None}
        if decision.action is not Action.STOP:  # that only ends what the drain began
            changes |= {"acted_at": self._parts.clock.now(), "acted": words}
        await self._book.keep(pool, replace(self._book.ledger(pool), **changes))
        self._parts.telemetry.scaling.acted(pool, decision.action.value, ok=True)
        _say(logging.INFO, f"pool {pool}: {words}", pool, decision)
        self._tell(Kind.SCALED, f"{words}: {decision.why}", pool, decision)

    def _tell(self, kind: Kind, words: str, pool: str, decision: Decision) -> None:
        happened = event(
            self._parts.clock.now(), kind, f"pool/{pool}", f"pool {pool}: {words}",
            pool=pool, node=decision.node, action=decision.action.value, why=decision.why,
            healthy=decision.healthy, wanted=decision.wanted,
        )  # fmt: skip
        self._parts.tell(happened)

    def _say_dry(self, pool: str, decision: Decision) -> None:
        """Once for each new decision, not every second."""
        said = self._said.get(pool)
        if said is None or (said.action, said.node, said.why) != (
            decision.action,
            decision.node,
            decision.why,
        ):
            _say(logging.INFO, f"pool {pool}: dry run: would {decision.action.value} a node", pool, decision)
        self._said[pool] = decision

    # What is shown

    def _shown(self, pool: str, rules: ScalingSettings) -> PoolScaling:
        facts, now, ledger = self._facts(pool, rules), self._parts.clock.now(), self._book.ledger(pool)
        decision = scaling.decide(facts, ledger, rules, now)
        return PoolScaling(
            pool=pool, rules=rules, rate=self._meters[pool].rate(), ledger=ledger, decision=decision,
            next_request=self._next_request(rules, facts, ledger, now), busy=self._busy.get(pool, ""),
        )  # fmt: skip

    def _next_request(
        self, rules: ScalingSettings, facts: Facts, ledger: Ledger, now: Instant
    ) -> Mapping[str, Any] | None:
        """The command that would be called if nothing had to be waited for, None if there is nothing to do."""
        decision = scaling.decide(facts, replace(ledger, acted_at=None, failures=0), rules, now)
        if decision.action is Action.NOTHING:
            return None
        name = decision.node or scaling.own_id(facts.pool, "xxxxxx")
        own = ledger.own.get(name)
        action = Action.START if decision.action is Action.START else Action.STOP
        kind = own.kind if own else self._kind(facts.pool)
        document = scaling.request_document(
            facts, decision, action=action, node=name, kind=kind, url=own.url if own else ""
        )
        return {
            "after": "its drain" if decision.action is Action.DRAIN else None,
            "command": list(rules.start if action is Action.START else rules.stop),
            "environment": scaling.environment(document, {}),
            "stdin": document,
        }


_DOING = {Action.START: "starting", Action.DRAIN: "draining", Action.STOP: "stopping"}
_DONE = {Action.START: "started", Action.DRAIN: "asked to drain", Action.STOP: "stopped"}


def _say(level: int, words: str, pool: str, decision: Decision) -> None:
    record(
        log, level, Event.SCALING, words,
        pool=pool, node=decision.node or None, action=decision.action.value, why=decision.why,
    )  # fmt: skip
