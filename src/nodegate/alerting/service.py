"""Events and alerts at work: what the daemon knows goes in, events are kept, alerts leave by their channels."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from nodegate.alerting import notices
from nodegate.alerting.channels import Channel
from nodegate.alerting.defaults import rules_of
from nodegate.alerting.documents import alert_rows, channel_row, events_document, rule_row, silence_row
from nodegate.alerting.events import events_between
from nodegate.alerting.facts import Facts
from nodegate.alerting.news import News, remember
from nodegate.alerting.outbox import Outbox
from nodegate.alerting.rules import Alert, Key, Notice, Silence, due, not_ahead, observe, told
from nodegate.alerting.signals import Signal, signals, unknown
from nodegate.alerting.store import EventStore, Query
from nodegate.errors import NodegateError, NotFound
from nodegate.model import Instant, Seconds, Snapshot
from nodegate.ports import Clock
from nodegate.settings import Settings
from nodegate.settings.alerts import OCCURRENCES
from nodegate.telemetry.kinds import Event, Kind, Severity, event
from nodegate.views.events import AlertsDocument, EventsDocument, SilenceRow, TestRow, TestsDocument

log = logging.getLogger("nodegate.alerts")

EVERY = 1.0
"""Seconds between two looks at all rules, in small fleets; events are kept as soon as they happen."""
SHARE = 30.0
"""A look rests at least this many times its own duration: 10,000 nodes must not cost a tenth of a core."""
MOST_WAITING = 10_000
"""Events that wait in memory at most while the log cannot be written; the oldest go first."""


class Alerting:
    """One daemon's events and alerts. `heard` get every event as it is kept, for charts
    and metrics."""

    def __init__(
        self, settings: Settings, store: EventStore, channels: Mapping[str, Channel], clock: Clock, *,
        gateway: str, heard: Sequence[Callable[[Iterable[Event]], None]] = (),
    ) -> None:  # fmt: skip
        self._settings = settings.alerts
        self._store, self._clock, self._gateway, self._heard = store, clock, gateway, heard
        self._channels = channels
        self._rules = rules_of(settings.alerts)
        self._wanted = frozenset(name for rule in self._rules for name in rule.on)
        self.outbox = Outbox(
            store, channels, clock,
            keep=Seconds(settings.alerts.keep_undelivered), queue=settings.alerts.queue,
        )  # fmt: skip
        self.facts = Facts(still_after=settings.alerts.still_after)
        self._snapshot: Snapshot | None = None
        self._said: dict[tuple[str, str], str] | None = None
        self._alerts: dict[Key, Alert] = {}
        self._pending: list[tuple[Event | None, News | None]] = []
        self._occurred: list[Signal] = []
        self._wake = asyncio.Event()
        self._look_at = 0.0

    # What comes in

    def published(self, snapshot: Snapshot) -> None:
        """A pass is over."""
        self._snapshot = snapshot
        self._look(forced=False)

    def tell(self, *happened: Event) -> None:
        """Something happened that no snapshot shows."""
        self._pending += [(one, None) for one in happened]
        del self._pending[:-MOST_WAITING]
        self._occurred += [_occurrence(one) for one in happened if one.kind.value in OCCURRENCES]
        del self._occurred[:-MOST_WAITING]
        self._wake.set()

    def knows(self, facts: Facts) -> None:
        """What is known beside snapshots."""
        self.facts = replace(facts, still_after=self._settings.still_after)
        self._look(forced=True)

    def _look(self, *, forced: bool) -> None:
        """Find what is new; not more often than a share of the time allows."""
        if self._said is None or self._snapshot is None or (time.monotonic() < self._look_at and not forced):
            return
        began = time.thread_time()  # its own work: a busy machine must not make it look more rarely
        facts = replace(self.facts, failing=self.outbox.failing())
        news = events_between(self._said, self._snapshot, facts, self._clock.now())
        if news:
            self._said = remember(self._said, news)
            self._pending += [(item.event, item) for item in news]
            happened = [item.event for item in news if item.event is not None]
            self._occurred += [_occurrence(one) for one in happened if one.kind.value in OCCURRENCES]
            self._wake.set()
        self._look_at = time.monotonic() + SHARE * (time.thread_time() - began)

    # The work

    async def run(self) -> None:
        """Keep events and judge alerts, for ever. Raises Unavailable when the file cannot be used: what was
        not kept yet is kept at the next try."""
        if self._said is None:
            said = await self._store.said()
            now = self._clock.now()
            self._alerts = {key: not_ahead(one, now) for key, one in (await self._store.alerts()).items()}
            self._said = said
            if self._store.put_aside is not None:
                log.error("%s", self._store.put_aside)
        while True:
            self._wake.clear()
            began = time.thread_time()
            self._look(forced=True)  # an alert never comes before the event that it is about
            spent = time.thread_time() - began
            await self._keep()
            spent += await self._judge()
            await self._keep()
            await self._idle(max(EVERY, SHARE * spent))

    async def _idle(self, rest: float) -> None:
        """Keep events as they come until `rest` seconds are over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + rest
        while (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            await self._keep()

    async def end(self, last: Event) -> None:
        """Keep what happened so far and `last`, then close the file; when the daemon ends."""
        self.tell(last)
        try:
            await self._keep()
        except NodegateError as error:
            log.error("the last events are lost: %s", error)
        await self._store.close()

    async def _keep(self) -> None:
        waiting, self._pending = self._pending, []
        if not waiting:
            return
        happened = [one for one, _ in waiting if one is not None]
        try:
            kept = await self._store.append(happened, [item for _, item in waiting if item is not None])
        except BaseException:
            self._pending = [*waiting, *self._pending]
            del self._pending[:-MOST_WAITING]
            raise
        for heard in self._heard:
            heard(kept)

    async def _judge(self) -> float:
        """Look at all rules; the seconds of work that it took."""
        snapshot = self._snapshot
        if snapshot is None or not snapshot.ready:
            return 0.0
        now, began = self._clock.now(), time.thread_time()
        occurred = len(self._occurred)
        facts = replace(self.facts, failing=self.outbox.failing())
        present = [*signals(snapshot, facts, now, self._wanted), *self._occurred]
        before = self._alerts
        after = observe(self._rules, before, present, now, unknown(snapshot))
        spent = time.thread_time() - began
        said = due(self._rules, after, await self._store.silences(now), now)
        after = told(after, said, now)
        parcels = [parcel for notice in said for parcel in self._parcels(notice, now)]
        changed = {key: alert for key, alert in after.items() if _state(alert) != _state(before.get(key))}
        gone = before.keys() - after.keys()
        if changed or gone or parcels:
            await self._store.keep_alerts(changed, gone, parcels, now)
        self._alerts = after
        del self._occurred[:occurred]  # not before they are kept
        if parcels:
            self.outbox.wake()
        self.tell(*_changes(before, after, gone, now))
        return spent

    def _parcels(self, notice: Notice, now: Instant) -> list[tuple[str, str]]:
        """(channel, payload) for each channel that takes it."""
        found = []
        for document in notices.documents(notice, self._gateway, now):
            for name in notice.rule.channels or self._channels:
                channel = self._settings.channels[name]
                bad_enough = Severity(document["severity"]).rank >= Severity(channel.severity).rank
                if bad_enough and (document["status"] == "firing" or channel.resolved):
                    found.append((name, notices.payload(document)))
        return found

    # What is asked

    async def events(self, query: Query, within: Seconds = Seconds(0.0)) -> EventsDocument:  # noqa: B008 -- a number
        """Events as a document; waits up to `within` seconds for the first one. Raises Unavailable."""
        return events_document(await self._store.wait(query, within), query.after)

    async def recent(self, limit: int) -> tuple[Event, ...]:
        """The newest events, oldest first. Raises Unavailable."""
        return await self._store.events(Query(limit=limit))

    async def document(self) -> AlertsDocument:
        """Alerts, silences, channels and rules. Raises Unavailable."""
        now = self._clock.now()
        silences = await self._store.silences(now)
        channels = self._settings.channels
        return AlertsDocument(
            alerts=alert_rows(self._rules, self._alerts, silences, now),
            silences=tuple(silence_row(one) for one in silences),
            channels=tuple(
                channel_row(name, channels[name], self.outbox.states[name]) for name in self._channels
            ),
            rules=tuple(rule_row(rule) for rule in self._rules),
        )

    def firing(self) -> list[Severity]:
        """The severities of the alerts that fire now."""
        return [alert.severity for alert in self._alerts.values() if alert.firing]

    def waiting(self) -> dict[str, int]:
        """How many alerts wait for each channel."""
        return {name: state.waiting for name, state in self.outbox.states.items()}

    async def silence(self, rule: str, subject: str, seconds: float, reason: str) -> SilenceRow:
        """Keep alerts quiet for a while. Raises Unavailable."""
        until = Instant(self._clock.now() + seconds)
        return silence_row(
            await self._store.silence(Silence(rule=rule, subject=subject, until=until, reason=reason))
        )

    async def unsilence(self, silence_id: int) -> None:
        """End a silence. Raises NotFound, Unavailable."""
        if not await self._store.unsilence(silence_id):
            raise NotFound(f"there is no silence {silence_id}; `nodegate alerts list` shows those there are")

    async def test(self, channel: str | None) -> TestsDocument:
        """A test alert through one channel or all, now. Raises NotFound for a channel that there is not."""
        if channel is not None and channel not in self._channels:
            known = ", ".join(self._channels) or "none is set"
            raise NotFound(f"there is no channel {channel!r}; known: {known}")
        names = [channel] if channel is not None else list(self._channels)
        return TestsDocument(results=tuple(await asyncio.gather(*map(self._test, names))))

    async def _test(self, name: str) -> TestRow:
        now = self._clock.now()
        document = notices.test_document(name, self._gateway, now)
        try:
            await self._channels[name].deliver(document, f"test-{now:.3f}")
        except NodegateError as error:
            return TestRow(channel=name, ok=False, text=str(error))
        return TestRow(channel=name, ok=True, text="taken")


def _occurrence(one: Event) -> Signal:
    pool = one.data.get("pool")
    return Signal(
        one.kind.value, one.subject, 1.0, one.text, str(pool) if pool is not None else None, since=one.at
    )


def _state(alert: Alert | None) -> tuple[object, ...] | None:
    """What must survive a restart; the value of the moment need not."""
    if alert is None:
        return None
    return alert.since, alert.severity, alert.fired_at, alert.ended_at, alert.told_at


def _changes(
    before: Mapping[Key, Alert], after: Mapping[Key, Alert], gone: Iterable[Key], now: Instant
) -> list[Event]:
    """Alerts that began to fire, and those that are over."""
    found = []
    for key, alert in after.items():
        was = before.get(key)
        if alert.firing and (was is None or not was.firing):
            text = f"alert {alert.rule}: {alert.text}"
            firing = event(
                now, Kind.ALERT_FIRING, alert.subject, text, severity=alert.severity, rule=alert.rule
            )
            found.append(firing)
    ended = [alert for key, alert in after.items() if alert.ended_at is not None and before[key].firing]
    ended += [before[key] for key in gone if before[key].firing]
    for alert in ended:
        text = f"alert {alert.rule} is over"
        found.append(event(now, Kind.ALERT_RESOLVED, alert.subject, text, rule=alert.rule))
    return found
