"""Two of five nodes killed under 50 connections: does a client notice, and how long do requests still go there?

Each node is a process of its own and dies by SIGKILL, with requests under way.
"""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.clients import Clients
from bench.environment import scratch
from bench.figures import Figure, Outcome
from bench.rig import TRUSTING, Daemon, until
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.haproxy.wire import accepted
from nodegate.lab.process import LabProcess

NODES = 5
KILLED = 2
CONNECTIONS = 50
BEFORE_SECONDS = 4.0
AFTER_SECONDS = 8.0
LOOK_EVERY = 0.02
LIMIT = 1.0
SHOW_SERVERS = "show stat pool_main 4 -1"
READY = {"UP", "no check"}
REFUSED = ("econ", "wretr", "wredis")
"""HAProxy's counters of connections tried in vain: a request was given up, tried again there, or elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What HAProxy said of one server at that moment (monotonic seconds): refused connections, answers that
    did not come, and times chosen since its start, and whether it is in rotation."""

    at: float
    refused: int
    cut: int
    chosen: int
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One killed node, in seconds since the kill: when HAProxy first met a refused connection (the look
    before it showed), when the server was out of rotation, and when it was chosen for the last time (the
    look that showed it). `refused` are the connections that were tried in vain, `cut` the requests whose
    answers died with the node; others answered all of them."""

    first: float
    out: float
    last: float
    refused: int
    cut: int

    @property
    def seconds(self) -> float:
        """From the first refused connection until nothing more was sent there: at most this."""
        return max(self.out, self.last) - self.first


@dataclass(slots=True)
class Watch:
    """Looks at HAProxy's servers again and again."""

    runtime: RuntimeSocket
    looks: dict[str, list[Look]] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> Mapping[str, Look]:
        """All servers now; kept in `looks`, too."""
        began = time.monotonic()
        (reply,) = await self.runtime.send([SHOW_SERVERS])
        lines = accepted(reply).removeprefix("# ").splitlines()
        now = {
            row["svname"]: Look(
                at=began,
                refused=sum(int(row[column]) for column in REFUSED),
                cut=int(row["eresp"]),
                chosen=int(row["lbtot"]),
                ready=row["status"].partition(" ")[0] in READY,
            )
            for row in csv.DictReader(lines)
        }
        for name, seen in now.items():
            self.looks.setdefault(name, []).append(seen)
        return now


async def run() -> Outcome:
    """Raises NodegateError when gateway or nodes do not start."""
    async with AsyncExitStack() as stack:
        labs = await asyncio.gather(*(LabProcess.start(1) for _ in range(NODES)))
        for lab in labs:
            await stack.enter_async_context(lab)
        directory = stack.enter_context(scratch())
        daemon = await stack.enter_async_context(Daemon(directory, _settings(directory, labs)))
        watch = Watch(daemon.runtime)
        await until(lambda: _all_ready(watch), what="all nodes are in rotation")
        clients = await stack.enter_async_context(Clients(daemon.url, connections=CONNECTIONS))
        before = await clients.during(BEFORE_SECONDS)
        watching = asyncio.create_task(watch.run())
        killed_at = time.monotonic()
        for lab in labs[:KILLED]:
            os.kill(lab.pid, signal.SIGKILL)
        await asyncio.sleep(AFTER_SECONDS)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        after = await clients.settle()
    deaths = [_death(watch.looks[f"n{place}"], killed_at) for place in range(KILLED)]
    return _outcome(before, after, deaths)


def _settings(directory: Path, labs: Sequence[LabProcess]) -> str:
    policy = directory / "policy.toml"
    policy.write_text(TRUSTING, encoding="utf-8")
    return f'[pools.main]\npolicy = "{policy}"\n' + "".join(
        f'[[nodes]]\nid = "n{place}"\nkind = "iri"\nurl = "{lab.nodes[0].url}"\n'
        for place, lab in enumerate(labs)
    )


async def _all_ready(watch: Watch) -> bool:
    seen = await watch.look()
    return len(seen) == NODES and all(look.ready for look in seen.values())


def _death(looks: Sequence[Look], killed_at: float) -> Death:
    """What the looks since the kill say of one killed node."""
    before = max((look for look in looks if look.at <= killed_at), key=lambda look: look.at)
    since = [before, *(look for look in looks if look.at > killed_at)]
    first = last = since[0]
    out: Look | None = None
    for old, new in pairwise(since):
        if first is since[0] and new.refused > old.refused:
            first = old
        if new.chosen > old.chosen:
            last = new
        if out is None and not new.ready:
            out = new
    if out is None:
        raise RuntimeError(f"a killed node is still in rotation {AFTER_SECONDS:g} s later")
    return Death(
        first=max(0.0, first.at - killed_at),
        out=out.at - killed_at,
        last=last.at - killed_at,
        refused=since[-1].refused - before.refused,
        cut=since[-1].cut - before.cut,
    )


def _outcome(before: dict[str, Any], after: dict[str, Any], deaths: Sequence[Death]) -> Outcome:
    total = after["ok"] + after["failed"]
    return Outcome(
        figures=(
            Figure(what="2 of 5 nodes killed: failed requests", value=after["failed"], at_most=0, note=f"of {total:,}"),
            Figure(
                what="first refused connection to out of rotation, the slower one",
                value=max(death.seconds for death in deaths), unit="s", at_most=LIMIT,
                note=f"at most; looked at every {LOOK_EVERY * 1000:g} ms",
            ),
            Figure(
                what="requests that the dead nodes cost a second try",
                value=sum(death.refused + death.cut for death in deaths),
                note=f"{sum(death.refused for death in deaths)} refused, {sum(death.cut for death in deaths)} cut off",
            ),
            Figure(
                what="slowest request", value=after["latency_ms"]["max"], unit="ms",
                note=f"before the kill: {before['latency_ms']['max']:.0f} ms",
            ),
        ),
        details={
            "before": before,
            "after": after,
            "deaths": [asdict(death) for death in deaths],
        },
    )  # fmt: skip
