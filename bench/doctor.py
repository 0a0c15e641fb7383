"""How long `nodegate doctor` takes over SSH: one Debian host with systemd, and several at once."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.environment import use_tests
from bench.figures import Figure, Outcome

HOSTS = 4
ROUNDS = 5
AIM = 5.0
"""Seconds for one host."""


async def run() -> Outcome:
    """Hosts are booted by systemd-nspawn on this machine, so that they share its CPUs with the audit."""
    return await asyncio.to_thread(_measure)


def _measure() -> Outcome:
    use_tests()
    import hostlab
    import netlab

    if why := hostlab.why_not():
        return Outcome(
            figures=(Figure(what="audit of one host", value=None, unit="s", at_most=AIM, note=why),)
        )
    with tempfile.TemporaryDirectory() as folder, netlab.network(HOSTS) as net, ExitStack() as stack:
        hosts = [stack.enter_context(hostlab.host(host, Path(folder))) for host in net.hosts]
        one = [_audit(hosts[:1]) for _ in range(ROUNDS)]
        several = [_audit(hosts) for _ in range(ROUNDS)]
    figures = (
        Figure(
            what="audit of one host over SSH, with root", value=statistics.median(one), unit="s", at_most=AIM
        ),
        Figure(what=f"audit of {HOSTS} hosts at once", value=statistics.median(several), unit="s"),
    )
    return Outcome(figures=figures, details={"one": one, "several": several})


def _audit(hosts: list[Any]) -> float:
    """Seconds from the start of the command to its end."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    options += [f"IdentityFile={host.key}" for host in hosts]
    words = [word for option in options for word in ("--ssh-option", option)]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nodegate", "doctor", "--sudo", "--json", *words, *(f"ops@{host.address}" for host in hosts)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    audited = json.loads(done.stdout)["hosts"]
    if any(host["error"] is not None or len(host["results"]) < 20 for host in audited):
        raise AssertionError(f"not audited: {done.stdout[:400]}")
    return seconds
