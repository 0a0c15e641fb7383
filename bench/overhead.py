"""What the gateway costs a request: added latency, CPU, and requests per second, beside other proxies in the same
run and in front of the same node."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.clients import Clients
from bench.environment import scratch
from bench.figures import Figure, Outcome, median, ratio
from bench.peers import Place, ask, gateway, nginx, node, plain_haproxy
from bench.rig import TRUSTING, Usage
from nodegate.errors import Unavailable
from nodegate.lab.load import GET_NODE_INFO, IRI_HEADERS
from nodegate.lab.process import LabProcess

ROUNDS = 5
LATENCY_SECONDS = 1.0
LOAD_SECONDS = 2.0
CONNECTIONS = 50
CPU_LIMIT = 1.5
"""How much more CPU than plain HAProxy a request may take with the default policy."""

NODE, PLAIN, OPEN, GUARDED, NGINX = (
    "the node itself", "plain HAProxy", "gateway, no policy", "gateway, default policy", "nginx",
)  # fmt: skip
_DONE = re.compile(r"(\d+) requests in ([0-9.]+)(ms|s|m),")
_ERRORS = re.compile(r"(Socket errors|Non-2xx or 3xx responses): .*")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


@dataclass(slots=True)
class Samples:
    """What was measured at one place, one number for each round. Latencies in ms, CPU in µs per request."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


Measured = Mapping[str, Samples]


async def run() -> Outcome:
    """Raises NodegateError when something does not start, or when a request fails."""
    answer = await _answer()
    measured: defaultdict[str, Samples] = defaultdict(Samples)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch())
        places = await _places(stack, directory, answer)
        wrk = _wrk(directory)
        for _ in range(ROUNDS):  # each place in each round, so that a busy moment meets all of them
            for place in places:
                await _latency(place, measured[place.name])
                await _load(place, measured[place.name], wrk)
    return _outcome(measured, fast=wrk is not None)


async def _answer() -> bytes:
    """What a lab node says of itself."""
    async with await LabProcess.start(1) as lab:
        status, body = await ask(lab.nodes[0].url)
    if status != 200:
        raise Unavailable(f"the lab node answers with status {status}")
    return body


async def _places(stack: AsyncExitStack, directory: Path, answer: bytes) -> list[Place]:
    policy = directory / "policy.toml"
    policy.write_text(TRUSTING, encoding="utf-8")
    behind = await stack.enter_async_context(node(directory, answer))
    found: list[Place | None] = [
        behind,
        await stack.enter_async_context(plain_haproxy(directory, behind)),
        await stack.enter_async_context(gateway(directory / "o", behind, OPEN, "off")),
        await stack.enter_async_context(gateway(directory / "g", behind, GUARDED, str(policy))),
        await stack.enter_async_context(nginx(directory, behind)),
    ]
    return [place for place in found if place is not None]


async def _latency(place: Place, samples: Samples) -> None:
    """One request at a time, as fast as answers come."""
    async with Clients(place.url, connections=1) as clients:
        report = await clients.during(LATENCY_SECONDS)
    if report["failed"] or not report["ok"]:
        raise Unavailable(f"{place.name}: {report['failed']} requests failed: {report['samples'][:1]}")
    samples.p50.append(report["latency_ms"]["p50"])
    samples.p99.append(report["latency_ms"]["p99"])


async def _load(place: Place, samples: Samples, wrk: Sequence[str] | None) -> None:
    """Many connections, as fast as answers come."""
    before = Usage.of(*place.pids)
    if wrk is None:
        async with Clients(place.url, connections=CONNECTIONS) as clients:
            await asyncio.sleep(LOAD_SECONDS)
            report = await clients.settle()
        if report["failed"]:
            raise Unavailable(f"{place.name}: {report['failed']} requests failed: {report['samples'][:1]}")
        count, seconds = report["ok"], report["seconds"]
    else:
        count, seconds = await _by_wrk([*wrk, f"{place.url}/"])
    used = Usage.of(*place.pids).cpu - before.cpu
    samples.cpu.append(used / max(1, count) * 1e6)
    samples.per_second.append(count / seconds)


def _wrk(directory: Path) -> list[str] | None:
    """The command that wrk is run with, None when it is not installed."""
    binary = shutil.which("wrk")
    if binary is None:
        return None
    script = directory / "post.lua"
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in IRI_HEADERS.items()]
    body = GET_NODE_INFO.decode().replace('"', '\\"')
    script.write_text(
        "\n".join(['wrk.method = "POST"', f'wrk.body = "{body}"', *lines, ""]), encoding="utf-8"
    )
    return [binary, "-t1", f"-c{CONNECTIONS}", f"-d{LOAD_SECONDS:g}s", "-s", str(script)]


async def _by_wrk(command: Sequence[str]) -> tuple[int, float]:
    """Requests and seconds. Raises Unavailable when one failed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    text = out.decode(errors="replace")
    found = _DONE.search(text)
    if found is None or (errors := _ERRORS.search(text)) is not None:
        words = text.strip() if found is None else errors[0] if errors else ""
        raise Unavailable(f"wrk {command[-1]}: {words}")
    return int(found[1]), float(found[2]) * _UNITS[found[3]]


def _outcome(measured: Measured, *, fast: bool) -> Outcome:
    return Outcome(
        figures=(*_latencies(measured), *_cpu(measured), *_speeds(measured, fast=fast)),
        details={
            name: {"p50_ms": each.p50, "p99_ms": each.p99, "cpu_us": each.cpu, "per_second": each.per_second}
            for name, each in measured.items()
        },
    )


def _latencies(measured: Measured) -> list[Figure]:
    """Added latency at one request at a time, and how it compares with plain HAProxy's."""
    figures = []
    for word in ("p50", "p99"):
        middle = {name: median(getattr(each, word)) for name, each in measured.items()}
        added = {name: (value - middle[NODE]) * 1000 for name, value in middle.items()}
        for name in (PLAIN, OPEN, GUARDED, NGINX):
            what = f"added latency {word}: {name}"
            if name not in added:
                figures.append(_missing(what))
                continue
            same = name == PLAIN
            figures.append(
                Figure(
                    what=what, value=added[name], unit="µs",
                    ratio=None if same else ratio(added[name], added[PLAIN]), peer="" if same else PLAIN,
                    note=f"direct {middle[NODE] * 1000:.0f} µs" if same else "",
                )
            )  # fmt: skip
    return figures


def _cpu(measured: Measured) -> list[Figure]:
    figures = []
    plain = median(measured[PLAIN].cpu)
    for name in (PLAIN, OPEN, GUARDED, NGINX):
        what = f"CPU per request: {name}"
        if name not in measured:
            figures.append(_missing(what))
            continue
        value = median(measured[name].cpu)
        figures.append(
            Figure(
                what=what, value=value, unit="µs", at_most=CPU_LIMIT * plain if name == GUARDED else None,
                ratio=None if name == PLAIN else ratio(value, plain), peer="" if name == PLAIN else PLAIN,
            )
        )  # fmt: skip
    return figures


def _speeds(measured: Measured, *, fast: bool) -> list[Figure]:
    """Requests per second. Only wrk sends enough of them to tell proxies apart."""
    if not fast:
        return [Figure(what="requests per second", value=None, note="wrk is not installed")]
    other = median(measured[NGINX].per_second) if NGINX in measured else None
    figures = []
    for name in (PLAIN, OPEN, GUARDED, NGINX):
        what = f"requests per second: {name}"
        if name not in measured:
            figures.append(_missing(what))
            continue
        value = median(measured[name].per_second)
        compared = name != NGINX and other is not None
        figures.append(
            Figure(
                what=what, value=value, at_least=other if name == GUARDED else None,
                ratio=ratio(value, other) if compared else None, peer=NGINX if compared else "",
            )
        )  # fmt: skip
    return figures


def _missing(what: str) -> Figure:
    return Figure(what=what, value=None, note="not installed")
