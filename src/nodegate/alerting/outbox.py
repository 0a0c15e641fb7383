"""The outbox's other end: what waits for a channel goes out, sooner or later, and its failures are known."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nodegate.alerting.channels import Channel
from nodegate.alerting.store import EventStore, Parcel
from nodegate.errors import NodegateError, Refused
from nodegate.model import Instant, Seconds
from nodegate.ports import Clock

log = logging.getLogger("nodegate.alerts")

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
"""Seconds between attempts: from a second, doubling, to five minutes. A receiver that is back gets what waited for
it soon, and one that is down for days costs nothing."""
LOOK_AGAIN = 5.0
"""Seconds after which an idle channel looks into the outbox although nobody woke it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """How a channel does: what waits for it, since when it fails and why, what it took and what was dropped since
    the daemon's start."""

    waiting: int = 0
    failing_since: Instant | None = None
    error: str = ""
    delivered: int = 0
    dropped: int = 0
    last_at: Instant | None = None


class Outbox:
    """Sends what waits, for ever, every channel by itself."""

    def __init__(
        self, store: EventStore, channels: Mapping[str, Channel], clock: Clock, *, keep: Seconds, queue: int
    ) -> None:
        self._store, self._channels, self._clock = store, channels, clock
        self._keep, self._queue = keep, queue
        self._wake = {name: asyncio.Event() for name in channels}
        self._failures = dict.fromkeys(channels, 0)
        self.states = {name: ChannelState() for name in channels}

    def wake(self) -> None:
        """Something was put into the outbox."""
        for event in self._wake.values():
            event.set()

    def failing(self) -> dict[str, tuple[Instant, str]]:
        """Channels that do not take alerts: since when, and why."""
        return {
            name: (state.failing_since, state.error)
            for name, state in self.states.items()
            if state.failing_since is not None
        }

    async def run(self) -> None:
        """Deliver, for ever. Raises Unavailable when the outbox cannot be read."""
        async with asyncio.TaskGroup() as group:
            for name in self._channels:
                group.create_task(self._serve(name))
            if not self._channels:
                await asyncio.Event().wait()

    async def _serve(self, name: str) -> None:
        while True:
            self._wake[name].clear()
            rest = await self.deliver(name)
            try:
                async with asyncio.timeout(rest):
                    await self._wake[name].wait()
                if self._failures[name]:  # new alerts do not hurry a receiver that is down
                    await asyncio.sleep(rest)
            except TimeoutError:
                continue

    async def deliver(self, name: str) -> float:
        """One round for a channel: send what is due until something fails. Seconds until the next round."""
        parcels = await self._fresh(name)
        now = self._clock.now()
        for parcel in sorted(parcels, key=lambda parcel: (parcel.next_at, parcel.id)):
            # What would have to wait longer than anything does was put off by a clock that went wrong.
            if now < parcel.next_at <= now + 2 * LONGEST_DELAY:
                continue
            if not await self._attempt(name, parcel):
                return self._delay(name)
        self._count(name, len(await self._store.parcels(name)))
        return LOOK_AGAIN

    async def _attempt(self, name: str, parcel: Parcel) -> bool:
        try:
            await self._channels[name].deliver(json.loads(parcel.payload), str(parcel.id))
        except Refused as error:
            # The receiver is well and will never take this very one: waiting would not help it.
            log.error("channel %s does not take an alert, which is dropped: %s", name, error)
            await self._store.delivered([parcel.id])
            self._drop(name, 1)
        except NodegateError as error:
            await self._put_off(name, parcel, str(error))
            return False
        except Exception:  # of one channel: the others must not wait for it
            log.exception("channel %s failed by a fault of nodegate's own", name)
            await self._put_off(name, parcel, "a fault of nodegate's own; the log has the details")
            return False
        else:
            await self._store.delivered([parcel.id])
            self._failures[name] = 0
            state = self.states[name]
            if state.failing_since is not None:
                log.info("channel %s takes alerts again", name)
            self.states[name] = replace(
                state, waiting=max(0, state.waiting - 1), failing_since=None, error="",
                delivered=state.delivered + 1, last_at=self._clock.now(),
            )  # fmt: skip
        return True

    async def _put_off(self, name: str, parcel: Parcel, why: str) -> None:
        self._failures[name] += 1
        await self._store.put_off(parcel.id, Instant(self._clock.now() + self._delay(name)), why[:1000])
        self._failed(name, why)

    async def _fresh(self, name: str) -> tuple[Parcel, ...]:
        """What waits, after what is too old or too much was dropped."""
        parcels = await self._store.parcels(name)
        limit = self._clock.now() - self._keep
        kept = [parcel for parcel in parcels if parcel.made_at >= limit][-self._queue :]
        if len(kept) < len(parcels):
            good = {parcel.id for parcel in kept}
            await self._store.delivered([parcel.id for parcel in parcels if parcel.id not in good])
            self._drop(name, len(parcels) - len(kept))
            log.error("channel %s: %s alerts waited too long and are dropped", name, len(parcels) - len(kept))
        self._count(name, len(kept))
        return tuple(kept)

    def _delay(self, name: str) -> float:
        doubled = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** max(0, self._failures[name] - 1))
        return doubled * random.uniform(0.75, 1.0)

    def _failed(self, name: str, why: str) -> None:
        state = self.states[name]
        if state.failing_since is None:
            log.error("channel %s does not take alerts, they wait: %s", name, why)
        since = state.failing_since or self._clock.now()
        self.states[name] = replace(state, failing_since=since, error=why)

    def _count(self, name: str, waiting: int) -> None:
        state = self.states[name]
        if state.waiting != waiting:
            self.states[name] = replace(state, waiting=waiting)

    def _drop(self, name: str, count: int) -> None:
        state = self.states[name]
        self.states[name] = replace(state, dropped=state.dropped + count)
