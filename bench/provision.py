"""How long `nodegate provision` takes on one Debian host over SSH: the first run, and the second that changes nothing."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.environment import use_tests
from bench.figures import Figure, Outcome

ROUNDS = 3
AIM = 10.0
"""Seconds for a run that finds nothing to do."""


async def run() -> Outcome:
    """The host is booted by systemd-nspawn on this machine, so that it shares its CPUs with Ansible."""
    return await asyncio.to_thread(_measure)


def _measure() -> Outcome:
    use_tests()
    import hostlab
    from provisionbed import bare_host

    if why := hostlab.why_not():
        return Outcome(figures=(Figure(what="provisioning", value=None, unit="s", note=why),))
    with tempfile.TemporaryDirectory() as folder, bare_host(Path(folder)) as bed:
        first = _timed(bed, "changed")
        again = [_timed(bed, "same") for _ in range(ROUNDS)]
    return Outcome(
        figures=(
            Figure(what="provisioning of a bare host", value=first, unit="s"),
            Figure(what="provisioning again", value=statistics.median(again), unit="s", at_most=AIM),
        ),
        details={"again": again},
    )


def _timed(bed: Any, outcome: str) -> float:
    """Seconds of one run. Raises RuntimeError when it did not come out as it should."""
    began = time.perf_counter()
    report = bed.provision("fleet.toml")
    seconds = time.perf_counter() - began
    if report["outcome"] != outcome:
        raise RuntimeError(f"the host is {report['outcome']}, not {outcome}: {report['message']}")
    return seconds
