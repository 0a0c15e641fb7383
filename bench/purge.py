"""Sweeping a tenant of some 440 things: nodegate beside openstacksdk's own project cleanup, on a real Neutron."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from queue import Queue
from typing import Any

from bench.environment import scratch
from bench.figures import Figure, Outcome

TESTS = Path(__file__).parents[1] / "tests"
WORKERS = 8


async def run() -> Outcome:
    """Raises RuntimeError when the cloud cannot be started here, with the reason."""
    return await asyncio.to_thread(_measure)


def _measure() -> Outcome:
    sys.path.insert(0, str(TESTS))  # the cloud that tests start
    from cloud import stack
    from cloud.tenant import Size

    if why := stack.missing():
        return Outcome(figures=(Figure(what="purge", value=None, note=why),))
    size = Size(networks=30, ports=290, routers=10, interfaces=3, floating_ips=19, trunks=5, groups=9)
    with scratch() as folder:
        (folder / "cloud").mkdir()
        facts = stack.start(folder / "cloud")
        try:
            runs = {
                "openstacksdk": _timed(facts, size, _sdk),
                "one by one": _timed(facts, size, lambda rc: _ours(rc, folder, 1)),
                f"{WORKERS} at a time": _timed(facts, size, lambda rc: _ours(rc, folder, WORKERS)),
            }
        finally:
            stack.stop(facts)
    peer = runs["openstacksdk"][0]
    figures = []
    for name, (seconds, before, left) in runs.items():
        ours = name != "openstacksdk"
        figures.append(
            Figure(
                what=f"purge, {name}", value=seconds, unit="s", peer="openstacksdk" if ours else "",
                ratio=seconds / peer if ours else None, note=f"{before} things",
            )
        )  # fmt: skip
        figures.append(Figure(what=f"left over, {name}", value=left, at_most=0 if ours else None))
    return Outcome(figures=tuple(figures))


def _timed(facts: dict[str, Any], size: Any, sweep: Any) -> tuple[float, int, int]:
    """Seconds of a sweep, how many things there were, and how many are left; what is left is cleaned up after."""
    from cloud.tenant import fill

    fill(facts, "demo", size, workers=8)
    before = _count(facts["rc"]["demo"])
    began = time.monotonic()
    sweep(facts["rc"]["demo"])
    seconds = time.monotonic() - began
    left = _count(facts["rc"]["demo"])
    if left:
        with scratch() as folder:
            _ours(facts["rc"]["demo"], folder, WORKERS)
    return seconds, before, left


def _count(rc: dict[str, str]) -> int:
    from cloud.client import cloud_of
    from nodegate.openstack.neutron import resources_of

    with cloud_of(rc) as connection:
        return len(resources_of(connection, connection.current_project_id))


def _sdk(rc: dict[str, str]) -> None:
    from cloud.client import cloud_of

    with cloud_of(rc) as connection:
        connection.project_cleanup(dry_run=False, wait_timeout=1800, status_queue=Queue())


def _ours(rc: dict[str, str], folder: Path, workers: int) -> None:
    command = [
        sys.executable,
        "-m",
        "nodegate",
        "openstack",
        "purge",
        "--yes",
        "--json",
        "--parallel",
        str(workers),
    ]
    environment = dict(os.environ) | rc | {"XDG_STATE_HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=1800)
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stderr)
    json.loads(done.stdout)
