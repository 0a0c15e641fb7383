"""What the gateway costs a request without a policy: added latency and CPU, beside plain HAProxy and nginx, all in
front of one node and in one run. `firewall` has the same with a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from bench.environment import free_port, scratch
from bench.figures import Figure, Outcome, median, ratio
from bench.hammer import hammer, tool
from bench.proxies import NGINX, NGINX_TUNED, PLAIN, both_nginx, plain_haproxy, quick_nodes
from bench.rig import Daemon, Usage, until
from nodegate.lab.load import GET_NODE_INFO, IRI_HEADERS
from nodegate.lab.process import LabProcess

ROUNDS = 5
ALONE_SECONDS = 1.0
BUSY_SECONDS = 2.0
CONNECTIONS = 50

NODE, GATEWAY = "the node itself", "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something to send requests to, and the processes whose CPU counts (looked up anew each time)."""

    name: str
    url: str
    pids: Callable[[], Sequence[int]] = list


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round at one place: latencies in µs of one request at a time; under many connections the CPU of a
    request in µs, and requests per second."""

    p50: float
    p99: float
    cpu: float
    per_second: float


Rounds = Mapping[str, Sequence[Round]]


async def run() -> Outcome:
    """Raises NodegateError when something does not start, or when a request fails."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch())
        places = await _places(stack, directory)
        rounds: dict[str, list[Round]] = {place.name: [] for place in places}
        for _ in range(
            ROUNDS
        ):  # every place in every round, so that other work on the machine hits all alike
            for place in places:
                rounds[place.name].append(await _round(place, directory))
    return _outcome(rounds)


async def _places(stack: AsyncExitStack, directory: Path) -> list[Place]:
    """The node and all that stands in front of it; nginx only where it is installed."""
    lab = await stack.enter_async_context(await LabProcess.start(1))
    url, port = lab.nodes[0].url, free_port()
    node = quick_nodes(directory, ports=[port], lab=url.removeprefix("http://"), answer=await _answer(url))
    await stack.enter_async_context(node)
    places = [Place(name=NODE, url=node.url)]
    for peer in (plain_haproxy(directory, [port]), *both_nginx(directory, [port])):
        await stack.enter_async_context(peer)
        places.append(Place(name=peer.name, url=peer.url, pids=peer.own_processes))
    settings = (
        '[pools.main]\npolicy = "off"\n'
        f'[[nodes]]\nid = "node"\nkind = "iri"\nurl = "http://127.0.0.1:{port}"\n'
    )
    daemon = await stack.enter_async_context(Daemon(directory, settings))
    await until(lambda: _serves(daemon), what="the gateway serves")
    worker = await daemon.haproxy_pid()
    return [*places, Place(name=GATEWAY, url=daemon.url, pids=lambda: [worker])]


async def _answer(url: str) -> bytes:
    """What a lab's node says of itself."""
    async with (
        aiohttp.ClientSession(headers=IRI_HEADERS) as session,
        session.post(url, data=GET_NODE_INFO) as response,
    ):
        return await response.read()


async def _serves(daemon: Daemon) -> bool:
    return any(pool["up"] for pool in (await daemon.status())["pools"])


async def _round(place: Place, directory: Path) -> Round:
    alone = await hammer(place.url, [GET_NODE_INFO], connections=1, seconds=ALONE_SECONDS, place=directory)
    before = Usage.of(*place.pids())
    busy = await hammer(
        place.url, [GET_NODE_INFO], connections=CONNECTIONS, seconds=BUSY_SECONDS, place=directory
    )
    used = Usage.of(*place.pids()).cpu - before.cpu
    return Round(
        p50=alone.p50 * 1e6,
        p99=alone.p99 * 1e6,
        cpu=used / busy.requests * 1e6,
        per_second=busy.requests / busy.seconds,
    )


def _outcome(rounds: Rounds) -> Outcome:
    middle = {
        name: Round(
            p50=median(each.p50 for each in found),
            p99=median(each.p99 for each in found),
            cpu=median(each.cpu for each in found),
            per_second=median(each.per_second for each in found),
        )
        for name, found in rounds.items()
    }
    direct = middle[NODE]
    added = {name: (each.p50 - direct.p50, each.p99 - direct.p99) for name, each in middle.items()}
    many = f"{CONNECTIONS} connections, {tool()}"
    figures = [
        *_compared("added latency p50", {name: p50 for name, (p50, _) in added.items()}, "µs",
                   f"one at a time; the node itself takes {direct.p50:.0f} µs"),
        *_compared("added latency p99", {name: p99 for name, (_, p99) in added.items()}, "µs",
                   f"the node itself takes {direct.p99:.0f} µs"),
        *_compared("CPU of a request", {name: each.cpu for name, each in middle.items()}, "µs", many),
        *_compared("requests a second", {name: each.per_second for name, each in middle.items()}, "", many),
    ]  # fmt: skip
    details = {name: [asdict(each) for each in found] for name, found in rounds.items()}
    return Outcome(figures=tuple(figures), details={"tool": tool(), "rounds": details})


def _compared(what: str, values: Mapping[str, float], unit: str, note: str) -> list[Figure]:
    """One figure for the gateway and each peer, the others beside plain HAProxy."""
    return [
        Figure(
            what=f"{what}: {name}", value=values.get(name), unit=unit,
            ratio=None if name == PLAIN else ratio(values.get(name), values[PLAIN]),
            peer="" if name == PLAIN else PLAIN,
            note="not installed" if name not in values else note if name == PLAIN else "",
        )
        for name in (PLAIN, GATEWAY, NGINX, NGINX_TUNED)
    ]  # fmt: skip
