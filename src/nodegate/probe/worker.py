"""Probes nodes, all of them, again and again, and keeps what was last seen of each."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from nodegate.errors import Unavailable
from nodegate.model import (
    Failure,
    FailureKind,
    Instant,
    Inventory,
    Node,
    Observation,
    Reading,
    Seconds,
)
from nodegate.ports import Adapter, Clock
from nodegate.probe.exchange import Exchanger, Target, Upstream
from nodegate.probe.once import probe_once
from nodegate.probe.schedule import Schedule, Start
from nodegate.settings import ProbeSettings

__all__ = ["ProbeStats", "Prober", "probe_once"]

log = logging.getLogger("nodegate.probe")

# Seconds between two looks at the schedule at least: many starts per look are cheaper than one each.
GRAIN = 0.01
# Seconds for which one kind of complaint is not repeated in the log.
QUIET = 60.0
# Lateness samples that are kept until somebody takes them.
MAX_SAMPLES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStats:
    """How probing goes: nodes scheduled, probes in flight, and finished probes since the start by
    (kind, "reading", a failure's kind, or "fault" for our own)."""

    nodes: int
    in_flight: int
    probes: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A node with what was worked out once for all its probes; `fault` says why it cannot be asked."""

    node: Node
    adapter: Adapter | None
    target: Target
    fault: str | None


class Colleagues(Protocol):
    """Other gateways that ask the same nodes (`nodegate.cluster.words`)."""

    def may_skip(self, node: Node, now: Instant) -> bool:
        """Whether the due probe of the node may be left to them."""
        ...

    def asked(self, node: Node, observation: Observation) -> None:
        """An own probe is over."""
        ...


class Prober:
    """Runs the probes. All methods are for the event loop's thread.

    `on_observation` is called with each new observation. `upstreams` (by pool name) says how the nodes of a
    pool are reached.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        settings: ProbeSettings,
        clock: Clock,
        on_observation: Callable[[Observation], None] | None = None,
        *,
        upstreams: Mapping[str, Upstream] | None = None,
    ) -> None:
        self._adapters = adapters
        self._settings = settings
        self._clock = clock
        self._on_observation = on_observation
        self._upstreams = upstreams or {}
        self._schedule = Schedule(settings)
        self._subjects: dict[str, _Subject] = {}
        self._observations: dict[str, Observation] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lateness: deque[Seconds] = deque(maxlen=MAX_SAMPLES)
        self._complained: dict[tuple[str, str], float] = {}
        self._exchanger: Exchanger | None = None
        self._wake = asyncio.Event()
        self._waiting_until = float("inf")
        self._urgent: set[str] = set()
        self.colleagues: Colleagues | None = None

    @property
    def observations(self) -> Mapping[str, Observation]:
        """The latest observation of each present node that has one; a copy."""
        return dict(self._observations)

    def stats(self) -> ProbeStats:
        """The counts now."""
        return ProbeStats(nodes=len(self._schedule), in_flight=len(self._tasks), probes=dict(self._counts))

    def take_lateness(self) -> tuple[Seconds, ...]:
        """How late each probe started since the last call, in seconds; at most the newest 20,000."""
        samples = tuple(self._lateness)
        self._lateness.clear()
        return samples

    def update(self, inventory: Inventory) -> frozenset[str]:
        """Take on the nodes of `inventory`. What was seen of a node that is gone, or that is now to be asked
        differently, is forgotten; the others keep their times. Returns whom nothing is known of any more."""
        now = self._clock.now()
        before = self._subjects
        forgotten = set()
        self._subjects = {node.id: self._subject(node, before.get(node.id)) for node in inventory.nodes}
        self._schedule.update(self._subjects, now)
        for node_id, subject in before.items():
            if (current := self._subjects.get(node_id)) is None:
                forgotten.add(node_id)
                if (task := self._tasks.pop(node_id, None)) is not None:
                    task.cancel()
            elif _asked_differently(subject.node, current.node):
                forgotten.add(node_id)
                self._schedule.soon(node_id, now)
        for node_id in forgotten:
            self._observations.pop(node_id, None)
        if self._exchanger is not None:
            self._exchanger.keep({subject.target.host for subject in self._subjects.values()})
        self._wake.set()
        return frozenset(forgotten)

    def probe_soon(self, node_id: str) -> None:
        """Ask the node at once, or right after the probe that is in flight."""
        self._urgent.add(node_id)
        self._schedule.soon(node_id, self._clock.now())
        self._wake.set()

    def hear(self, observation: Observation) -> None:
        """Take over what another gateway saw, unless something newer is known."""
        known = self._observations.get(observation.node_id)
        if observation.node_id in self._subjects and (known is None or known.at < observation.at):
            self._observations[observation.node_id] = observation
            if self._on_observation is not None:
                self._on_observation(observation)

    async def run(self) -> None:
        """Probe until cancelled. May be run again afterwards; what was seen is kept."""
        try:
            async with Exchanger(max_bytes=self._settings.max_bytes) as exchanger:
                self._exchanger = exchanger
                try:
                    while True:
                        self._start_due(exchanger)
                        await self._pause()
                finally:
                    await self._abandon()
        finally:
            self._exchanger = None

    def _start_due(self, exchanger: Exchanger) -> None:
        self._wake.clear()
        now = self._clock.now()
        for start in self._schedule.start(now, self._settings.concurrency - len(self._tasks)):
            if self._is_left_to_others(start.node_id, now):
                self._schedule.done(start.node_id, now, ok=None)
                continue
            self._lateness.append(start.lateness)
            self._tasks[start.node_id] = asyncio.create_task(self._probe(start, exchanger))

    def _is_left_to_others(self, node_id: str, now: Instant) -> bool:
        if node_id in self._urgent or self.colleagues is None:
            self._urgent.discard(node_id)
            return False
        return self.colleagues.may_skip(self._subjects[node_id].node, now)

    async def _pause(self) -> None:
        """Until the next start is due, or something changed."""
        due = self._schedule.next_due() if len(self._tasks) < self._settings.concurrency else None
        self._waiting_until = float("inf") if due is None else due
        with suppress(TimeoutError):
            delay = None if due is None else max(GRAIN, due - self._clock.now())
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _probe(self, start: Start, exchanger: Exchanger) -> None:
        """One probe, whatever happens: a fault of ours is logged, and the node is asked again."""
        subject = self._subjects[start.node_id]
        ok: bool | None = None
        outcome = "fault"
        try:
            observation = await self._observe(subject, exchanger)
            ok = isinstance(observation.outcome, Reading)
            outcome = (
                "reading" if isinstance(observation.outcome, Reading) else observation.outcome.kind.value
            )
            self._take(subject, observation)
        except Unavailable as error:
            self._complain(subject.node, error, trace=False)
        except Exception as error:  # a bug in an adapter must not stop the probes of all others
            self._complain(subject.node, error, trace=True)
        finally:
            if self._tasks.get(start.node_id) is asyncio.current_task():
                self._counts[subject.node.kind, outcome] += 1
                self._finish(start.node_id, ok)

    async def _observe(self, subject: _Subject, exchanger: Exchanger) -> Observation:
        if subject.adapter is None or subject.fault is not None:
            failure = Failure(kind=FailureKind.MALFORMED, text=subject.fault or "no adapter")
            now = self._clock.now()
            return Observation(node_id=subject.node.id, at=now, duration=Seconds(0.0), outcome=failure)
        return await probe_once(
            subject.adapter,
            subject.node,
            self._settings,
            self._clock,
            exchanger=exchanger,
            target=subject.target,
        )

    def _take(self, subject: _Subject, observation: Observation) -> None:
        """Keep the observation, unless the node was changed or removed while it was being asked."""
        current = self._subjects.get(subject.node.id)
        if current is None or _asked_differently(subject.node, current.node):
            return
        self._observations[observation.node_id] = observation
        if self.colleagues is not None:
            self.colleagues.asked(current.node, observation)
        if self._on_observation is not None:
            self._on_observation(observation)

    def _finish(self, node_id: str, ok: bool | None) -> None:
        was_full = len(self._tasks) >= self._settings.concurrency
        del self._tasks[node_id]
        self._schedule.done(node_id, self._clock.now(), ok=ok)
        due = self._schedule.next_due()
        if was_full or (due is not None and due < self._waiting_until):
            self._wake.set()

    async def _abandon(self) -> None:
        """Give up all probes in flight; their nodes are due again."""
        tasks, self._tasks = self._tasks, {}
        for node_id, task in tasks.items():
            task.cancel()
            self._schedule.done(node_id, self._clock.now(), ok=None)
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _subject(self, node: Node, before: _Subject | None) -> _Subject:
        if before is not None and before.node == node:
            return before
        adapter = self._adapters.get(node.kind)
        if adapter is None:
            known = ", ".join(self._adapters)
            faults: tuple[str, ...] = (f"there is no node kind {node.kind!r}; known are {known}",)
        else:
            faults = tuple(f"option {fault}" for fault in adapter.faults(node))
        return _Subject(
            node=node,
            adapter=adapter,
            target=Target.of(node, self._upstreams.get(node.pool)),
            fault="; ".join(faults) or None,
        )

    def _complain(self, node: Node, error: Exception, *, trace: bool) -> None:
        """Log our own fault, once a minute per kind of node and error: all nodes may meet it at once."""
        key = (node.kind, type(error).__name__)
        now = self._clock.now()
        if now - self._complained.get(key, float("-inf")) < QUIET:
            return
        self._complained[key] = now
        log.error(
            "probe of node %s (kind %s) failed by a fault of nodegate's own, nothing is concluded from it: %s",
            node.id,
            node.kind,
            f"{type(error).__name__}: {error}" if trace else error,
            exc_info=error if trace else None,
        )


def _asked_differently(before: Node, after: Node) -> bool:
    """Whether an observation of `before` says nothing about `after`."""
    return (
        before.url, before.kind, before.pool, before.tls_verify, dict(before.options), before.address,
    ) != (
        after.url, after.kind, after.pool, after.tls_verify, dict(after.options), after.address,
    )  # fmt: skip
