"""Tasks that never die quietly: each is restarted with back-off, and its failure is said once in words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodegate.errors import NodegateError

log = logging.getLogger("nodegate.daemon")

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
SAY_AGAIN = 1.0
"""Seconds between two cancellations of a task that does not end."""
CALM = 30.0
"""A task that ran this many seconds before it failed starts again with the first delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A coroutine function that is meant to run for ever, and the name it is reported under."""

    name: str
    run: Callable[[], Awaitable[None]]


async def keep_running(job: Job, *, restarted: Callable[[str], None]) -> None:
    """Run `job` for ever; after a failure or an early end, wait and start it again.

    `restarted` is told the job's name at each restart (for the metric). Ends only by cancellation.
    """
    loop = asyncio.get_running_loop()
    delay = FIRST_DELAY
    while True:
        began = loop.time()
        try:
            await job.run()
            log.error("%s ended although it should run for ever; starting it again", job.name)
        except NodegateError as error:
            log.error("%s: %s; trying again", job.name, error)
        except Exception:
            log.exception("%s failed by a fault of nodegate's own; starting it again", job.name)
        if loop.time() - began > CALM:
            delay = FIRST_DELAY
        await asyncio.sleep(delay)
        delay = min(LONGEST_DELAY, delay * 2)
        restarted(job.name)


async def run_all(jobs: tuple[Job, ...], stop: asyncio.Event, *, restarted: Callable[[str], None]) -> None:
    """Keep all `jobs` running until `stop` is set, then cancel them and wait until they are gone."""
    tasks = [asyncio.create_task(keep_running(job, restarted=restarted), name=job.name) for job in jobs]
    try:
        await stop.wait()
    finally:
        pending = set(tasks)
        while pending:  # a library may lose a cancellation that comes at the wrong moment: say it again
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=SAY_AGAIN)
