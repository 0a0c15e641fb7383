"""The composition: the only package that knows which concrete class stands behind each port."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path

import uvloop

from nodegate.daemon.state import StateDir
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.errors import Refused, Unavailable
from nodegate.settings import Settings
from nodegate.wiring.daemon import Announce, Daemon

COLLECT = (20_000, 20, 20)
"""How rarely Python looks for cycles. Of 10,000 nodes it keeps some 300,000 objects, and hardly one is garbage:
at its own pace it walks through all of them every few seconds, which took a fifth of the daemon's CPU."""
STOP_PATIENCE = 40.0
"""Seconds that `shut_down` waits for a daemon to end in order."""


def run(settings: Settings, state: Path, *, announce: Announce) -> None:
    """Run the daemon until a signal ends it. `announce` gets the lines an operator should see.

    SIGINT stops HAProxy too, SIGTERM leaves it serving. Raises NodegateError when it cannot start; nothing
    is left half-started then.
    """
    directory = StateDir(state)
    directory.prepare()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    with directory.locked(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, directory, announce))


async def _serve(settings: Settings, directory: StateDir, announce: Announce) -> None:
    daemon = Daemon(settings, directory)
    try:
        await daemon.serve(announce)
    finally:
        await daemon.close()


async def shut_down(state: Path) -> str:
    """Stop what runs on the state directory, nodegate and its HAProxy; returns what was done in a sentence.

    Raises Unavailable when it does not end in time, Refused when it belongs to another user.
    """
    directory = StateDir(state)
    owner = directory.owner()
    if owner is not None:
        try:
            os.kill(owner, signal.SIGINT)
        except PermissionError as error:
            raise Refused(f"process {owner} belongs to another user; stop it as that user") from error
        for _ in range(round(STOP_PATIENCE / 0.05)):
            if directory.owner() is None:
                return "nodegate and its HAProxy are stopped"
            await asyncio.sleep(0.05)
        raise Unavailable(f"process {owner} does not stop within {STOP_PATIENCE:g} s")
    driver = HaproxyDriver(Settings(), directory.path)
    if await driver.stop():
        return "HAProxy is stopped; nodegate was not running"
    return f"nothing runs on {directory.path}"
