"""Tasks that never die quietly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from nodegate.daemon.supervise import FIRST_DELAY, Job, keep_running, run_all
from nodegate.errors import Unavailable
from support import until


class Runs:
    """A job that does what `steps` say, one after the other, and then runs for ever."""

    def __init__(self, *steps: BaseException | None) -> None:
        self.began: list[float] = []
        self.cancelled = False
        self._steps = list(steps)

    async def run(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        if self._steps:
            step = self._steps.pop(0)
            if step is not None:
                raise step
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # what a job still has to do at its end is waited for
            self.cancelled = True
            raise


async def supervised(
    condition: Callable[[], bool], *jobs: tuple[str, Callable[[], Awaitable[None]]]
) -> list[str]:
    """Run the jobs until `condition` holds; the names of the restarted ones in order."""
    restarts: list[str] = []
    stop = asyncio.Event()
    made = tuple(Job(name=name, run=run) for name, run in jobs)
    task = asyncio.create_task(run_all(made, stop, restarted=restarts.append))
    await until(condition)
    stop.set()
    async with asyncio.timeout(5):
        await task
    return restarts


async def test_a_job_that_fails_is_started_again_and_counted_and_the_others_run_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = Runs(ZeroDivisionError("a bug"), Unavailable("the disk is full")), Runs()
    with caplog.at_level(logging.ERROR, logger="nodegate.daemon"):
        restarts = await supervised(lambda: len(bad.began) == 3, ("bad", bad.run), ("good", good.run))
    assert restarts == ["bad", "bad"]
    assert len(good.began) == 1
    first, second = caplog.records
    assert first.getMessage() == "bad failed by a fault of nodegate's own; starting it again"
    assert first.exc_info is not None  # a bug comes with its trace,
    assert second.getMessage() == "bad: the disk is full; trying again"
    assert second.exc_info is None  # an outage does not


async def test_a_job_that_ends_early_is_started_again_and_said(caplog: pytest.LogCaptureFixture) -> None:
    short = Runs(None)
    with caplog.at_level(logging.ERROR, logger="nodegate.daemon"):
        assert await supervised(lambda: len(short.began) == 2, ("short", short.run)) == ["short"]
    assert "short ended although it should run for ever" in caplog.text


async def test_each_failure_in_a_row_is_waited_for_longer() -> None:
    failing = Runs(OSError(), OSError())
    await supervised(lambda: len(failing.began) == 3, ("failing", failing.run))
    first, second, third = failing.began
    assert second - first >= FIRST_DELAY
    assert third - second >= 2 * FIRST_DELAY


async def test_the_end_cancels_every_job_and_waits_for_it() -> None:
    jobs = [Runs(), Runs()]
    await supervised(
        lambda: all(job.began for job in jobs), *((str(place), job.run) for place, job in enumerate(jobs))
    )
    assert [job.cancelled for job in jobs] == [True, True]


async def test_a_cancelled_job_is_not_started_again() -> None:
    job = Runs()
    task = asyncio.create_task(keep_running(Job(name="job", run=job.run), restarted=lambda name: None))
    await until(lambda: job.began)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(job.began) == 1


async def test_a_job_that_loses_its_cancellation_is_cancelled_again() -> None:
    lost: list[str] = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append("the first one")

    started = asyncio.get_running_loop().time()
    await supervised(lambda: asyncio.get_running_loop().time() > started + 0.05, ("deaf", deaf))
    assert lost == ["the first one"]
