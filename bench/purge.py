"""Sweeping a tenant of some 440 things: nodegate beside openstacksdk's own project cleanup, on a real Neutron."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

from bench.environment import scratch, use_tests
from bench.figures import Figure, Outcome, ratio

PEER = "openstacksdk"
WORKERS = 8


async def run() -> Outcome:
    """Raises RuntimeError when the cloud cannot be started here, with the reason."""
    return await asyncio.to_thread(_measure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one sweep took (seconds), how many things there were and were left, and how many deletions the cloud
    refused on the way."""

    seconds: float
    before: int
    left: int
    refused: int

    @property
    def each(self) -> float:
        """Milliseconds for one thing that went."""
        return self.seconds / max(1, self.before - self.left) * 1000


def _measure() -> Outcome:
    use_tests()
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
                PEER: _timed(facts, size, _sdk),
                "one by one": _timed(facts, size, lambda rc: _ours(rc, folder, 1)),
                f"{WORKERS} at a time": _timed(facts, size, lambda rc: _ours(rc, folder, WORKERS)),
            }
        finally:
            stack.stop(facts)
    return Outcome(
        figures=tuple(each for name, sweep in runs.items() for each in _figures(name, sweep, runs[PEER]))
    )


def _figures(name: str, sweep: Sweep, peer: Sweep) -> tuple[Figure, ...]:
    """The peer leaves things behind, so what one thing costs is compared, not the whole."""
    ours = name != PEER
    none = 0 if ours else None
    return (
        Figure(what=f"purge, {name}", value=sweep.seconds, unit="s", note=f"{sweep.before} things"),
        Figure(
            what=f"a thing that went, {name}", value=sweep.each, unit="ms", peer=PEER if ours else "",
            ratio=ratio(sweep.each, peer.each) if ours else None,
        ),
        Figure(what=f"left over, {name}", value=sweep.left, at_most=none),
        Figure(what=f"refused deletions, {name}", value=sweep.refused, at_most=none),
    )  # fmt: skip


def _timed(facts: dict[str, Any], size: Any, sweep: Callable[[dict[str, str]], None]) -> Sweep:
    """One sweep of a tenant that is filled for it; what it leaves is cleaned up after."""
    from cloud.tenant import fill

    fill(facts, "demo", size, workers=8)
    before, refused = _count(facts["rc"]["demo"]), _refused(facts)
    began = time.monotonic()
    sweep(facts["rc"]["demo"])
    seconds = time.monotonic() - began
    left = _count(facts["rc"]["demo"])
    made = Sweep(seconds=seconds, before=before, left=left, refused=_refused(facts) - refused)
    if left:
        with scratch() as folder:
            _ours(facts["rc"]["demo"], folder, WORKERS)
    return made


def _refused(facts: dict[str, Any]) -> int:
    """How many deletions Neutron has refused so far, by its own log."""
    log = (Path(facts["folder"]) / "neutron.log").read_text(errors="replace")
    return len(re.findall(r"(?:DELETE|PUT) failed \(client error\)", log))


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
