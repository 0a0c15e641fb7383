from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon_double import SetClock
from nodegate.alerting.notices import Document
from nodegate.alerting.outbox import LONGEST_DELAY, LOOK_AGAIN, Outbox
from nodegate.alerting.store import EventStore
from nodegate.errors import Refused, Unavailable
from nodegate.model import Seconds


class Receiver:
    """Takes documents, or raises what a test says."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.poison: int | None = None
        self.taken: list[int] = []
        self.tries = 0

    async def deliver(self, document: Document, number: str) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        if document["n"] == self.poison:
            raise Unavailable("not this one")
        self.taken.append(document["n"])


class Rig:
    def __init__(self, path: Path, queue: int = 100) -> None:
        self.clock = SetClock()
        self.store = EventStore(path, keep_events=1000, keep=Seconds(1e6))
        self.receiver = Receiver()
        self.outbox = Outbox(
            self.store, {"ops": self.receiver}, self.clock, keep=Seconds(1000.0), queue=queue
        )

    async def put(self, *numbers: int) -> None:
        parcels = [("ops", json.dumps({"n": number})) for number in numbers]
        await self.store.keep_alerts({}, [], parcels, self.clock.now())

    async def rounds(self, count: int, step: float = LONGEST_DELAY) -> None:
        for _ in range(count):
            await self.outbox.deliver("ops")
            self.clock.forward(step)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "events.db")
    yield rig
    await rig.store.close()


async def test_what_waits_goes_out_in_order_and_once(rig: Rig) -> None:
    await rig.put(1, 2, 3)
    assert await rig.outbox.deliver("ops") == LOOK_AGAIN
    await rig.rounds(2)
    assert rig.receiver.taken == [1, 2, 3]
    assert (rig.outbox.states["ops"].waiting, rig.outbox.states["ops"].delivered) == (0, 3)


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a bug")])
async def test_a_receiver_that_fails_is_asked_ever_less_often_and_gets_all_when_it_is_back(
    rig: Rig, error: Exception
) -> None:
    await rig.put(1, 2)
    rig.receiver.error = error
    delays = []
    for _ in range(12):
        delays.append(await rig.outbox.deliver("ops"))
        rig.clock.forward(1)
    assert rig.receiver.tries < 12
    assert max(delays) <= LONGEST_DELAY
    [(since, why)] = rig.outbox.failing().values()
    assert since == pytest.approx(rig.clock.time - 12)
    assert why
    rig.receiver.error = None
    await rig.rounds(2)
    assert sorted(rig.receiver.taken) == [1, 2]
    assert rig.outbox.failing() == {}


async def test_one_alert_that_is_never_taken_holds_up_no_other(rig: Rig) -> None:
    rig.receiver.poison = 1
    await rig.put(1, 2, 3)
    await rig.rounds(3)
    assert rig.receiver.taken == [2, 3]
    await rig.rounds(4)
    assert rig.outbox.states["ops"].dropped == 1  # older than the thousand seconds that it may wait
    assert await rig.store.parcels("ops") == ()


async def test_a_final_no_drops_that_one_alone(rig: Rig) -> None:
    rig.receiver.error = Refused("550 no such mailbox")
    await rig.put(1)
    await rig.outbox.deliver("ops")
    rig.receiver.error = None
    await rig.put(2)
    await rig.outbox.deliver("ops")
    assert rig.receiver.taken == [2]
    assert (rig.outbox.states["ops"].dropped, rig.outbox.failing()) == (1, {})


async def test_only_so_many_wait_and_the_oldest_go_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "events.db", queue=2)
    rig.receiver.error = Unavailable("away")
    await rig.put(1, 2, 3, 4)
    await rig.outbox.deliver("ops")
    assert rig.outbox.states["ops"].dropped == 2
    rig.receiver.error = None
    await rig.rounds(2)
    assert sorted(rig.receiver.taken) == [3, 4]
    await rig.store.close()


async def test_a_clock_that_was_ahead_before_a_restart_holds_no_alert_back(rig: Rig) -> None:
    rig.clock.forward(1e9)
    await rig.put(1)
    rig.receiver.error = Unavailable("away")
    await rig.outbox.deliver("ops")
    rig.clock.forward(-1e9)
    rig.receiver.error = None
    await rig.outbox.deliver("ops")
    assert rig.receiver.taken == [1]
