"""Consul says that a node is bad, is new, or is one of thousands: how long until clients notice, and do they?

A real Consul agent, gateways as child processes on the loopback, nodes as processes of their own. The peer's
figures are those of Fabio 1.7.3 on a machine of the same size, measured in the same way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.consulscene import BODY, Asking, port_of, register, scene
from bench.figures import Figure, Outcome
from bench.rig import Daemon, Usage, until
from bench.testbed import ConsulAgent, Missing, said
from nodegate.errors import NodegateError
from nodegate.haproxy import wire
from nodegate.lab.load import Load, LoadOptions
from nodegate.model import Seconds

FILLERS = (0, 100, 400)
FABIO_MS = {0: 3.0, 100: 179.0, 400: 632.0}
TURNS = 10
QUIET = 1.0
"""Seconds of quiet before and after a change that is measured by itself."""
SILENCE = 0.2
"""Seconds without an answer after which a node has gone."""
GATEWAYS = 3
ADDITIONS = 5
RATE = 200.0
AFTER_SECONDS = 6.0
SETTLE_SECONDS = 5.0
BULK = 5_000
PER_TRANSACTION = 32
"""Services in one transaction, which takes 64 operations at most."""
FAR = "far-away"
POOL = "bulk"
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One part of the benchmark; `limit` are the seconds after which it is given up."""

    what: str
    limit: float
    run: Callable[[], Awaitable[Outcome]]


async def run() -> Outcome:
    """The figures; the details have every single measurement. One that does not end is given up, and the others are
    made."""
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for each in MEASUREMENTS:
        try:
            with said():
                async with asyncio.timeout(each.limit):
                    found = await each.run()
        except Missing as error:
            return Outcome(figures=(Figure(what="Consul", value=None, note=str(error)),))
        except TimeoutError:
            found = _without(each.what, f"not measured within {each.limit:g} s")
        except (NodegateError, OSError) as error:
            found = _without(each.what, str(error))
        figures += found.figures
        details |= found.details
    return Outcome(figures=tuple(figures), details=details)


def _without(what: str, why: str) -> Outcome:
    return Outcome(figures=(Figure(what=what, value=None, note=why),))


async def _reaction(fillers: int) -> Outcome:
    """From the check turning critical to the last answer of that node: after quiet, and flapping as fast as it
    takes effect."""
    async with scene(3) as (consul, labs, (daemon,)):
        for number, lab in enumerate(labs, start=1):
            register(consul, f"n{number}", lab)
        for number in range(fillers):
            check = {"CheckID": f"f{number}", "TTL": "600s", "Status": "passing"}
            consul.register(f"filler-{number}", f"f{number}", Port=1, Check=check)
        async with Asking(daemon.url) as clients:
            for node in ("n1", "n2", "n3"):
                await clients.answers(node)
            await asyncio.sleep(SETTLE_SECONDS)  # what was registered just now has been read
            quiet = [await _turn(consul, clients, QUIET) for _ in range(TURNS)]
            flapping = [await _turn(consul, clients, 0.0) for _ in range(TURNS)]
    services = fillers + 1
    p50 = statistics.median(quiet) * 1000
    return Outcome(
        figures=(
            Figure(what=f"check critical to the last answer, {services} services, p50", value=p50, unit="ms",
                   at_most=50, ratio=p50 / FABIO_MS[fillers], peer="Fabio"),
            Figure(what=f"the same, flapping without a pause, {services} services, p50",
                   value=statistics.median(flapping) * 1000, unit="ms"),
        ),
        details={
            f"reaction_ms_{services}": [round(each * 1000, 1) for each in quiet],
            f"flapping_ms_{services}": [round(each * 1000, 1) for each in flapping],
        },
    )  # fmt: skip


async def _turn(consul: ConsulAgent, clients: Asking, quiet: float) -> float:
    """One check critical and back; seconds from critical to the last answer."""
    await asyncio.sleep(quiet)
    began = time.monotonic()
    await asyncio.to_thread(consul.say, "n1-ttl", "critical")
    last = await clients.silent("n1", began, for_=SILENCE)
    await asyncio.sleep(quiet)
    back = time.monotonic()
    await asyncio.to_thread(consul.say, "n1-ttl", "passing")
    await clients.answers("n1", back)
    return last - began


async def _registration() -> Outcome:
    """From a registration with a passing check to the first answer through each of three gateways."""
    async with scene(2, GATEWAYS) as (consul, labs, daemons), AsyncExitStack() as stack:
        register(consul, "n1", labs[0])
        clients = [await stack.enter_async_context(Asking(daemon.url, 2)) for daemon in daemons]
        for each in clients:
            await each.answers("n1")
        took = []
        for turn in range(ADDITIONS):
            name, began = f"new{turn}", time.monotonic()
            await asyncio.to_thread(register, consul, name, labs[1])
            await asyncio.gather(*(each.answers(name, began) for each in clients))
            took.append(max(each.first[name] for each in clients) - began)
            await asyncio.to_thread(consul.deregister, name)
            await asyncio.sleep(QUIET)
    return Outcome(
        figures=(
            Figure(what=f"registered to routable on {GATEWAYS} gateways, slowest of {ADDITIONS}", value=max(took),
                   unit="s", at_most=1.0),
        ),
        details={"registration_s": [round(each, 3) for each in took]},
    )  # fmt: skip


async def _death() -> Outcome:
    """One of three nodes killed at 200 requests a second, with a Consul check every second."""
    async with scene(3) as (consul, labs, (daemon,)):
        for number, lab in enumerate(labs, start=1):
            check = {"CheckID": f"n{number}-tcp", "TCP": lab.nodes[0].url.removeprefix("http://"), "Interval": "1s",
                     "Timeout": "1s", "Status": "passing"}  # fmt: skip
            register(consul, f"n{number}", lab, check)
        async with Asking(daemon.url, 1) as clients:
            for node in ("n1", "n2", "n3"):
                await clients.answers(node)
        load = Load(
            LoadOptions(url=daemon.url, rate=RATE, connections=20, bodies=(BODY,), timeout=Seconds(5.0))
        )
        await load.start()
        await asyncio.sleep(2.0)
        os.kill(labs[0].pid, signal.SIGKILL)
        await asyncio.sleep(AFTER_SECONDS)
        report = await load.stop()
    return Outcome(
        figures=(
            Figure(what=f"failed requests when 1 of 3 nodes is killed at {RATE:g}/s (Fabio: 34 to 99)",
                   value=float(report.failures), at_most=0),
        ),
        details={"killed": report.document()},
    )  # fmt: skip


async def _bulk() -> Outcome:
    """5,000 services, each with one instance that is a node, and one more."""
    # One simulated node stands for all 5,000, and must not be what is measured.
    async with scene(1, interval=30.0) as (consul, labs, (daemon,)):
        add = partial(_add_services, consul, port_of(labs[0]))
        consul.put("/v1/catalog/register", {"Node": FAR, "Address": "127.0.0.1"})
        began = time.monotonic()
        await asyncio.to_thread(add, 0, BULK)
        await until(partial(_serve, daemon, BULK), what="all services serve", within=90.0, every=0.5)
        whole = time.monotonic() - began
        await asyncio.sleep(SETTLE_SECONDS)
        memory = Usage.of(daemon.pid).memory
        took = []
        for extra in range(ADDITIONS):
            began = time.monotonic()
            await asyncio.to_thread(add, BULK + extra, 1)
            await until(partial(_serve, daemon, BULK + extra + 1), what="one more", every=0.05)
            took.append(time.monotonic() - began)
            await asyncio.sleep(QUIET)
    return Outcome(
        figures=(
            Figure(what=f"memory with {BULK:,} services", value=memory / MEGABYTE, unit="MB", at_most=400),
            Figure(what=f"{BULK:,} services registered at once serve", value=whole, unit="s"),
            Figure(what=f"one more service among {BULK:,} serves, median", value=statistics.median(took), unit="s",
                   at_most=2.0),
        ),
        details={"bulk_s": [round(each, 3) for each in took]},
    )  # fmt: skip


def _add_services(consul: ConsulAgent, port: int, first: int, count: int) -> None:
    """In transactions of Consul's catalogue: an agent takes them one by one, a few hundred a second at best."""
    for start in range(first, first + count, PER_TRANSACTION):
        numbers = range(start, min(first + count, start + PER_TRANSACTION))
        consul.put("/v1/txn", [operation for number in numbers for operation in _operations(number, port)])


def _operations(number: int, port: int) -> list[dict[str, Any]]:
    """A service and its passing check on a machine without an agent."""
    name = f"b{number}"
    meta = {"nodegate-kind": "iri", "nodegate-pool": POOL}
    service = {"ID": name, "Service": f"service-{number}", "Address": "127.0.0.1", "Port": port, "Meta": meta}
    check = {"Node": FAR, "CheckID": f"{name}-c", "Name": "c", "Status": "passing", "ServiceID": name}
    return [
        {"Service": {"Verb": "set", "Node": FAR, "Service": service}},
        {"Check": {"Verb": "set", "Check": check}},
    ]


async def _serve(daemon: Daemon, count: int) -> bool:
    """Whether HAProxy itself says that so many nodes serve: it calls them running, and nobody has taken them out."""
    (reply,) = await daemon.runtime.send([f"{wire.SHOW_SERVERS} pool_{POOL}"])
    rows = [line.split() for line in reply.splitlines()]
    header = next((row[1:] for row in rows if row[:1] == ["#"]), [])
    if not header:
        return False  # HAProxy does not know the pool yet
    running, administrative = header.index("srv_op_state"), header.index("srv_admin_state")
    return sum(len(row) > 6 and (row[running], row[administrative]) == ("2", "0") for row in rows) >= count


MEASUREMENTS = (
    *(
        Measurement(what=f"reaction with {fillers + 1} services", limit=75.0, run=partial(_reaction, fillers))
        for fillers in FILLERS
    ),
    Measurement(what="registration on several gateways", limit=60.0, run=_registration),
    Measurement(what="a node is killed", limit=45.0, run=_death),
    Measurement(what=f"{BULK:,} services", limit=150.0, run=_bulk),
)
