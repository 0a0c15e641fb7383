"""Looks after registered nodes, level-triggered: who may join, whose weight grows, who is out, who is gone."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from nodegate.errors import Conflict, NodegateError, NotFound
from nodegate.model import Instant, Intent, Node, Seconds, Snapshot, Status, Verdict
from nodegate.portal import news, rows
from nodegate.portal.advice import Advice
from nodegate.portal.check import Examiner
from nodegate.portal.desk import Desk, mail_to
from nodegate.portal.nodes import Nodes
from nodegate.portal.places import counted_as, host_and_port
from nodegate.portal.probation import probation_weight, proven_after
from nodegate.portal.records import Letter, Mail, Registration, State
from nodegate.portal.store import Store
from nodegate.ports import Clock
from nodegate.probe.addresses import is_address
from nodegate.settings.portal import PortalSettings
from nodegate.telemetry.kinds import Event
from nodegate.views.words import readable

log = logging.getLogger("nodegate.portal")

LOOK_EVERY = 2.0
LONGEST_GAP = Seconds(30.0)
"""Time between two looks that still counts as proven; a gateway that stood still proves nothing."""
MOVED_EVERY = Seconds(60.0)
"""Seconds between two looks at where the name of a node that is out leads now."""
MOVES_AT_ONCE = 3
SAVE_EVERY = Seconds(60.0)
PRUNE_EVERY = Seconds(3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a snapshot knows of a registered node."""

    node: Node | None
    verdict: Verdict | None
    fleet_up: bool


def next_state(
    registration: Registration, seen: Seen, now: Instant, elapsed: Seconds, settings: PortalSettings
) -> tuple[Registration, Mail | None]:
    """What becomes of an active registration after one look, and the mail that this asks for. Pure.

    | its node is                     | then                                                           |
    |---------------------------------|----------------------------------------------------------------|
    | gone from the registry          | removed, with a mail                                           |
    | up or degraded, and serving     | proven time and weight grow; a mail if it was told to be out   |
    | paused, or drained by operators | nothing counts                                                 |
    | not known, as after a restart   | nothing changes                                                |
    | out for `tell_after`            | a mail, once                                                   |
    | out for `remove_after`          | removed, with a mail; not while the whole fleet is out, nor    |
    |                                 | before its owner was told `tell_after` ago                     |
    """
    node, verdict = seen.node, seen.verdict
    if node is None or node.intent is Intent.REMOVE:
        ended = replace(
            registration,
            state=State.REMOVED,
            ended_at=now,
            reason=registration.reason or "removed by the operator",
        )
        return ended, mail_to(ended, Letter.REMOVED, now, "The operator of this fleet took it out.")
    if node.intent is not Intent.SERVE or verdict is None:
        return replace(registration, out_since=None, told_at=None), None
    if verdict.status in {Status.UP, Status.DEGRADED}:
        proven = proven_after(registration.proven, elapsed, serves=True, longest=LONGEST_GAP)
        well = replace(registration, proven=proven, out_since=None, told_at=None)
        return well, mail_to(well, Letter.BACK, now) if registration.told_at is not None else None
    if verdict.status is Status.UNKNOWN:
        return registration, None
    since = min(now, registration.out_since or now)
    out, length = replace(registration, out_since=since), now - since
    why = readable("; ".join(verdict.reasons))
    tell = min(settings.tell_after, settings.remove_after or settings.tell_after)
    warned = out.told_at is not None and now - out.told_at >= tell
    if settings.remove_after is not None and length >= settings.remove_after and warned and seen.fleet_up:
        gone = replace(out, state=State.REMOVED, ended_at=now, reason=f"out for too long: {why}")
        return gone, mail_to(gone, Letter.REMOVED, now, f"It has been out for too long: {why}")
    if length >= tell and out.told_at is None:
        told = replace(out, told_at=now)
        return told, mail_to(told, Letter.OUT, now, why)
    return out, None


class Watch:
    """The watch over registered nodes."""

    def __init__(
        self, *, settings: PortalSettings, desk: Desk, store: Store, nodes: Nodes, examiner: Examiner, clock: Clock,
        snapshot: Callable[[], Snapshot], post: Callable[[], None], counted: Callable[[Counter[str], int], None],
        tell: Callable[[Event], None],
    ) -> None:  # fmt: skip
        """`counted` is told how many registrations there are by state, and how many mails wait; `tell` takes
        events."""
        self._settings = settings
        self._desk = desk
        self._store = store
        self._nodes = nodes
        self._examiner = examiner
        self._clock = clock
        self._snapshot = snapshot
        self._post = post
        self._counted = counted
        self._tell = tell
        self._last: Instant | None = None
        self._pruned: Instant | None = None
        self._unsaved: dict[str, Registration] = {}
        self._saved_at = Instant(0.0)
        self._looked_up: dict[str, Instant] = {}

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """One look at everything."""
        now = self._clock.now()
        elapsed = Seconds(0.0 if self._last is None else now - self._last)
        self._last = now
        if self._pruned is None or now - self._pruned > PRUNE_EVERY:
            life = Seconds(self._settings.link_life)
            await self._store.transact(lambda db: rows.prune(db, now, link_life=life))
            self._pruned = now
        every, outbox = await self._store.transact(lambda db: (rows.listed(db), rows.outbox(db)))
        self._counted(Counter(one.state.value for one in every), outbox.waiting)
        for registration in every:
            if registration.state is State.APPROVED:
                await self._desk.admit(registration)
        active = [one for one in every if one.state is State.ACTIVE]
        snapshot = self._snapshot()
        if snapshot.registry_error is None and snapshot.inventory is not None:
            await self._look_after(active, snapshot, now, elapsed)
        await self._follow(active, snapshot, now)

    async def _look_after(
        self, active: Iterable[Registration], snapshot: Snapshot, now: Instant, elapsed: Seconds
    ) -> None:
        inventory = snapshot.inventory
        assert inventory is not None
        nodes = {node.id: node for node in inventory.nodes}
        verdicts = snapshot.judgement.verdicts
        fleet_up = any(verdict.status is Status.UP for verdict in verdicts.values())
        save_all = now - self._saved_at >= SAVE_EVERY
        for stored in active:
            before = replace(stored, proven=max(stored.proven, self._proven(stored)))
            name = stored.node_id or ""
            if name not in nodes and inventory.read_at <= (stored.joined_at or now):
                continue  # this inventory was read before the node was written
            seen = Seen(node=nodes.get(name), verdict=verdicts.get(name), fleet_up=fleet_up)
            since = Seconds(min(elapsed, now - (stored.joined_at or now)))
            after, mail = next_state(before, seen, now, since, self._settings)
            try:
                after = await self._act(before, after, seen.node)
            except NodegateError as error:
                log.warning("%s: %s; trying again", name, error)
                continue
            self._unsaved[stored.id] = after
            plain = replace(after, proven=stored.proven) == stored
            if not plain or mail is not None or (save_all and after.proven != stored.proven):
                await self._save(stored, after, mail)
        if save_all:
            self._saved_at = now
        self._unsaved = {one.id: self._unsaved[one.id] for one in active if one.id in self._unsaved}

    def _proven(self, stored: Registration) -> Seconds:
        kept = self._unsaved.get(stored.id)
        return kept.proven if kept is not None and kept.joined_at == stored.joined_at else Seconds(0.0)

    async def _act(self, before: Registration, after: Registration, node: Node | None) -> Registration:
        """Write to the registry what the new state asks for."""
        if node is None or before.node_id is None:
            return after
        if after.state is State.REMOVED:
            await self._nodes.remove(before.node_id)
            return after
        weight = probation_weight(after.proven, self._settings)
        if before.weight is None or weight == before.weight:
            return after
        if node.weight != before.weight:
            return replace(after, weight=None)  # an operator has set it: from now on it is theirs to set
        await self._nodes.change(before.node_id, lambda held: replace(held, weight=weight))
        return replace(after, weight=weight)

    async def _save(self, stored: Registration, after: Registration, mail: Mail | None) -> None:
        def work(db: sqlite3.Connection) -> bool:
            current = rows.get(db, stored.id)
            if (current.state, current.paused) != (stored.state, stored.paused):
                return False  # its owner or an operator was quicker
            rows.save(db, after)
            if mail is not None:
                rows.enqueue(db, mail)
            return True

        try:
            done = await self._store.transact(work)
        except NotFound:
            return
        if done and after.state is State.REMOVED:
            self._tell(news.changed(after, self._clock.now()))
        if done and mail is not None:
            log.info("the owner of %s gets a mail: %s", stored.node_id, mail.letter)
            self._post()

    async def _follow(self, active: Iterable[Registration], snapshot: Snapshot, now: Instant) -> None:
        """Nodes whose name leads elsewhere now. The new address is checked as the first one was; only then
        is it the one that is asked."""
        verdicts = snapshot.judgement.verdicts
        lost = (
            one
            for one in active
            if (verdict := verdicts.get(one.node_id or "")) is not None
            and verdict.status is Status.DOWN
            and not is_address(host_and_port(one.url)[0])
            and now - self._looked_up.get(one.id, Instant(0.0)) >= MOVED_EVERY
        )
        for registration in islice(lost, MOVES_AT_ONCE):
            self._looked_up[registration.id] = now
            try:
                await self._move(registration)
            except NodegateError as error:
                log.info("%s stays at %s: %s", registration.node_id, registration.address, error)

    async def _move(self, registration: Registration) -> None:
        addresses = await self._examiner.addresses(registration.url)
        if isinstance(addresses, Advice) or registration.address in addresses:
            return
        examined = await self._examiner.examine(registration.url, registration.kind, registration.pool)
        address = examined.address
        if not examined.good or address is None or registration.node_id is None:
            return
        moved = replace(registration, address=address, counted_as=counted_as(address))

        def check(db: sqlite3.Connection) -> None:
            if rows.banned(db, moved) or rows.taken(db, moved, per_address=self._settings.nodes_per_address):
                raise Conflict(f"{address} is banned or taken")

        def save(db: sqlite3.Connection) -> None:
            current = rows.get(db, registration.id)
            rows.save(db, replace(current, address=moved.address, counted_as=moved.counted_as))

        await self._store.transact(check)
        # The registry first: if the rest is lost, the next look finds the name elsewhere and does it again.
        await self._nodes.change(registration.node_id, lambda held: replace(held, address=address))
        await self._store.transact(save)
        log.info("%s has moved from %s to %s", registration.node_id, registration.address, address)
