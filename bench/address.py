"""A shared address: how long clients that know nothing else go without an answer when a gateway dies.

Two gateways with keepalived in network namespaces, with the files that `nodegate render keepalived` writes; a
request on a new connection every 20 ms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.environment import scratch
from bench.figures import Figure, Outcome
from bench.testbed import (
    CLIENTS,
    HostGateway,
    HostLab,
    Keepalived,
    Missing,
    Net,
    Watching,
    flows,
    holder,
    network,
    said,
    watching,
)

LIMIT = 2.0


async def run() -> Outcome:
    """The figures, or the reason why they cannot be had here."""
    try:
        with said():
            return await _measure()
    except Missing as error:
        return Outcome(figures=(Figure(what="shared address", value=None, note=str(error)),))


async def _measure() -> Outcome:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    with network(2, needs=("keepalived",)) as net:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(scratch()))
            gateways = [await _machine(stack, net, place, folder) for place in range(2)]
            parts = [
                stack.enter_context(Keepalived(net, host, priority=150 - 10 * place))
                for place, host in enumerate(net.hosts)
            ]
            await holder(parts)
            url = f"http://{net.shared}:{CLIENTS}"
            for what, die, mend in _DEATHS:
                holding = await holder(parts)
                gateway = gateways[parts.index(holding)]
                async with watching(url) as seen:
                    await flows(seen, 50)
                    seen.longest = 0.0
                    await die(holding, gateway)
                    await holder([part for part in parts if part is not holding])
                    await flows(seen, 50)
                    figures += _figures(what, seen)
                    details[what] = {"longest_s": round(seen.longest, 3), "failed": seen.kinds()}
                await mend(holding, gateway)
    return Outcome(figures=tuple(figures), details=details)


def _figures(what: str, seen: Watching) -> tuple[Figure, ...]:
    return (
        Figure(what=f"{what}: without an answer", value=seen.longest, unit="s", at_most=LIMIT),
        Figure(what=f"{what}: failed requests at 50/s", value=float(len(seen.failed))),
    )


async def _machine(stack: AsyncExitStack, net: Net, place: int, folder: Path) -> HostGateway:
    host = net.hosts[place]
    lab = HostLab(host, 2, folder)
    await lab.ready()
    gateway = await stack.enter_async_context(HostGateway(host, net.address))
    await gateway.start()
    for number, node in enumerate(lab.urls, start=1):
        await gateway.api("POST", "/api/v1/nodes", {"id": f"n{number}", "url": node, "kind": "iri"})
    await gateway.until_serving("n1", "n2", within=60)
    return gateway


async def _cut(holding: Keepalived, gateway: HostGateway) -> None:
    holding.host.cut()


async def _heal(holding: Keepalived, gateway: HostGateway) -> None:
    holding.host.heal()


async def _kill(holding: Keepalived, gateway: HostGateway) -> None:
    await gateway.kill()
    gateway.kill_haproxy()


async def _start(holding: Keepalived, gateway: HostGateway) -> None:
    await gateway.start()
    await gateway.until_serving("n1", "n2", within=60)


Step = Callable[[Keepalived, HostGateway], Awaitable[None]]
_DEATHS: tuple[tuple[str, Step, Step], ...] = (
    ("the host's cable is pulled", _cut, _heal),
    ("nodegate and HAProxy are killed", _kill, _start),
)
