"""What the firewall costs: the gateway with the whole shipped policy and with none, the same HAProxy as nothing but a
proxy and with what one would have it do in front of nodes, and nginx. All stand in front of the same nodes and are
measured in one run, in turns, so that other work on the machine hits all alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.environment import free_port, scratch
from bench.figures import Figure, Outcome, median, ratio
from bench.hammer import Hammered, hammer, tool
from bench.proxies import (
    DUTIFUL,
    NGINX,
    NGINX_TUNED,
    PLAIN,
    both_nginx,
    dutiful_haproxy,
    plain_haproxy,
    quick_nodes,
)
from bench.rig import Daemon, Usage, until
from nodegate.lab.load import IRI_HEADERS
from nodegate.lab.process import LabProcess

NODES = 5
ROUNDS = 3
SECONDS = 2.0
MANY, FEW = 40, 2
"""Connections for the throughput, and for the latency: with few nothing queues."""
CPU_LIMIT = 1.5
ADDRESS = "NODEGATE9BENCH".ljust(81, "9")
BODIES = tuple(
    json.dumps(body, separators=(",", ":")).encode()
    for body in (
        {"command": "getNodeInfo"},
        {"command": "getBalances", "addresses": [ADDRESS], "threshold": 100},
        {"command": "wereAddressesSpentFrom", "addresses": [ADDRESS]},
    )
)
GENEROUS = """
[client]
max_connections = 100000
max_concurrent = 100000
[budget]
per_10s = 1000000000
per_1m = 1000000000
[classes.read]
concurrency = 1000
[classes.heavy]
concurrency = 1000
"""
"""The shipped policy with numbers that one client alone does not reach. Nothing of it is left out: trusted
clients would skip a part."""

GATEWAY, UNGUARDED, DIRECT = "nodegate", "nodegate with no policy", "the node itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What is asked of nodes of a kind: some calls in turns, and the simplest of them alone."""

    kind: str
    simplest: str
    bodies: Sequence[bytes]


IRI = Calls(kind="iri", simplest="getNodeInfo", bodies=BODIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is hammered, and the processes whose CPU counts. They are looked up each time: nginx listens
    before its workers run."""

    name: str
    url: str
    pids: Callable[[], Sequence[int]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of one target: CPU in seconds per request (of the mix, and of the simplest call alone), None where it
    is not counted."""

    busy: Hammered
    calm: Hammered
    cpu: float | None
    cpu_trivial: float | None


async def run() -> Outcome:
    """Raises NodegateError when a target does not answer every request."""
    return await measure(IRI)


async def measure(calls: Calls) -> Outcome:
    """All targets in front of nodes of one kind. Raises NodegateError when one does not answer every request."""
    async with AsyncExitStack() as stack:
        place = stack.enter_context(scratch())
        lab = await stack.enter_async_context(await LabProcess.start(1, calls.kind))
        ports = [free_port() for _ in range(NODES)]
        answer = await _answer(lab.nodes[0].url, calls.bodies[0])
        host = lab.nodes[0].url.removeprefix("http://")
        nodes = await stack.enter_async_context(quick_nodes(place, ports=ports, lab=host, answer=answer))
        targets = [Target(name=DIRECT, url=nodes.url)]
        for peer in (plain_haproxy(place, ports), dutiful_haproxy(place, ports), *both_nginx(place, ports)):
            await stack.enter_async_context(peer)
            targets.append(Target(name=peer.name, url=peer.url, pids=peer.own_processes))
        policy = place / "generous.toml"
        policy.write_text(f'kind = "{calls.kind}"\n{GENEROUS}')
        for name, folder, file in ((UNGUARDED, "off", "off"), (GATEWAY, "on", str(policy))):
            targets.append(await _gateway(stack, name, place / folder, _settings(file, ports, calls.kind)))
        turns: dict[str, list[Turn]] = {target.name: [] for target in targets}
        for _ in range(ROUNDS):
            for target in targets:
                turns[target.name].append(await _turn(target, calls.bodies, place))
    return _outcome(turns, calls)


async def _answer(url: str, body: bytes) -> bytes:
    """What a lab's node says of itself."""
    async with (
        aiohttp.ClientSession(headers=IRI_HEADERS) as session,
        session.post(url, data=body) as response,
    ):
        return await response.read()


async def _gateway(stack: AsyncExitStack, name: str, place: Path, settings: str) -> Target:
    daemon = await stack.enter_async_context(Daemon(place, settings))
    await until(lambda: _all_up(daemon), what="all nodes are up")
    worker = await daemon.haproxy_pid()
    return Target(name=name, url=daemon.url, pids=lambda: [worker])


def _settings(policy: str, ports: Sequence[int], kind: str) -> str:
    nodes = "".join(
        f'[[nodes]]\nid = "node-{port}"\nkind = "{kind}"\nurl = "http://127.0.0.1:{port}"\n' for port in ports
    )
    return f'[gateway]\nmaxconn = 2000\n[pools.main]\nkind = "{kind}"\npolicy = "{policy}"\n{nodes}'


async def _all_up(daemon: Daemon) -> bool:
    status = await daemon.status()
    return all(pool["up"] == NODES for pool in status["pools"]) and bool(status["pools"])


async def _turn(target: Target, bodies: Sequence[bytes], place: Path) -> Turn:
    calm = await hammer(target.url, bodies, connections=FEW, seconds=SECONDS, place=place)
    busy, cpu = await _busy(target, bodies, place)
    trivial = (await _busy(target, bodies[:1], place))[1] if target.pids else None
    return Turn(busy=busy, calm=calm, cpu=cpu, cpu_trivial=trivial)


async def _busy(target: Target, bodies: Sequence[bytes], place: Path) -> tuple[Hammered, float | None]:
    """As many requests as the target takes, and its CPU seconds for one."""
    pids = target.pids() if target.pids else ()
    before = Usage.of(*pids)
    found = await hammer(target.url, bodies, connections=MANY, seconds=SECONDS, place=place)
    used = Usage.of(*pids).cpu - before.cpu
    return found, used / found.requests if pids else None


def _outcome(turns: Mapping[str, Sequence[Turn]], calls: Calls) -> Outcome:
    rate = {
        name: median(turn.busy.requests / turn.busy.seconds for turn in each) for name, each in turns.items()
    }
    figures = [
        *_cpu("CPU of a request", {name: [turn.cpu for turn in each] for name, each in turns.items()}),
        *_cpu(
            f"CPU of {calls.simplest}",
            {name: [turn.cpu_trivial for turn in each] for name, each in turns.items()},
        ),
    ]
    for name, peer in (
        (GATEWAY, NGINX), (UNGUARDED, ""), (PLAIN, ""), (DUTIFUL, ""), (NGINX, ""), (NGINX_TUNED, ""), (DIRECT, ""),
    ):  # fmt: skip
        if name in turns:
            figures.append(
                Figure(
                    what=f"requests a second: {name}", value=rate[name], unit="/s",
                    at_least=rate.get(peer), ratio=ratio(rate[name], rate.get(peer)), peer=peer,
                    note=f"{MANY} connections, {tool()}",
                )
            )  # fmt: skip
    figures += [_added(turns, name, share) for share in ("p50", "p99") for name in turns if name != DIRECT]
    return Outcome(figures=tuple(figures), details={"bodies": len(calls.bodies), "turns": _details(turns)})


def _cpu(what: str, seconds: Mapping[str, Sequence[float | None]]) -> list[Figure]:
    """The CPU of one request by target, against plain HAProxy."""
    used = {
        name: median(value for value in values if value is not None) * 1e6
        for name, values in seconds.items()
        if None not in values
    }
    return [
        Figure(
            what=f"{what}: {name}", value=used.get(name), unit="µs",
            at_most=CPU_LIMIT * used[PLAIN] if name == GATEWAY else None,
            ratio=ratio(used.get(name), used[PLAIN]) if name != PLAIN else None, peer=PLAIN,
            note="" if name in used else "not installed",
        )
        for name in (GATEWAY, UNGUARDED, PLAIN, DUTIFUL, NGINX, NGINX_TUNED)
    ]  # fmt: skip


def _added(turns: Mapping[str, Sequence[Turn]], name: str, share: str) -> Figure:
    """What a target adds to the latency of the node, turn by turn against the node in the same round."""
    pairs = zip(turns[name], turns[DIRECT], strict=True)
    added = median(getattr(turn.calm, share) - getattr(straight.calm, share) for turn, straight in pairs)
    return Figure(
        what=f"added latency {share}: {name}", value=added * 1000, unit="ms", note=f"{FEW} connections"
    )


def _details(turns: Mapping[str, Sequence[Turn]]) -> dict[str, list[dict[str, float | None]]]:
    return {
        name: [
            {
                "cpu_us": _micro(turn.cpu),
                "cpu_trivial_us": _micro(turn.cpu_trivial),
                "per_second": turn.busy.requests / turn.busy.seconds,
                "p50_ms": turn.calm.p50 * 1000,
                "p99_ms": turn.calm.p99 * 1000,
                "busy_p99_ms": turn.busy.p99 * 1000,
            }
            for turn in each
        ]
        for name, each in turns.items()
    }


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6
