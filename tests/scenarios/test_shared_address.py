"""A shared address in front of two gateways, by a real keepalived with the files that nodegate renders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from machines import CLIENTS, HostGateway, HostLab, Keepalived, flows, holder, watching
from netlab import Net, network

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]


@dataclass
class Pair:
    net: Net
    gateways: list[HostGateway]
    labs: list[HostLab]
    addresses: list[Keepalived]

    @property
    def url(self) -> str:
        return f"http://{self.net.shared}:{CLIENTS}"

    def part_of(self, holding: Keepalived) -> tuple[HostGateway, HostLab]:
        place = self.addresses.index(holding)
        return self.gateways[place], self.labs[place]


@asynccontextmanager
async def pair(folder: Path, *, preempt: bool = False) -> AsyncIterator[Pair]:
    """Two hosts, each with two lab nodes, a gateway for them, and keepalived. The first has priority."""
    with network(2, needs=("keepalived",)) as net:
        async with AsyncExitStack() as stack:
            labs = [HostLab(host, 2, folder) for host in net.hosts]
            gateways = []
            for host, lab in zip(net.hosts, labs, strict=True):
                await lab.ready()
                gateway = await stack.enter_async_context(HostGateway(host, net.address))
                gateways.append(gateway)
                await gateway.start()
                for number, url in enumerate(lab.urls, start=1):
                    await gateway.api(
                        "POST", "/api/v1/nodes", {"id": f"n{number}", "url": url, "kind": "iri"}
                    )
                await gateway.until_serving("n1", "n2")
            parts = [
                stack.enter_context(Keepalived(net, host, priority=150 - 10 * place, preempt=preempt))
                for place, host in enumerate(net.hosts)
            ]
            yield Pair(net, gateways, labs, parts)


async def test_the_address_moves_when_a_gateway_dies_in_any_way_and_the_clients_go_on(tmp_path: Path) -> None:
    async with pair(tmp_path) as both:
        first = await holder(both.addresses)
        gateway, _ = both.part_of(first)
        async with watching(both.url, timeout=3.0) as seen:
            await flows(seen)

            # nodegate alone dies: HAProxy serves on, and nothing moves.
            await gateway.kill()
            await flows(seen, 60)
            assert first.holds()
            assert not seen.failed

            # HAProxy dies with it.
            gateway.kill_haproxy()
            second = await holder(both.addresses, lambda part: part is not first)
            await flows(seen)

            # It comes back: the address stays where it is.
            await gateway.start()
            await gateway.until_serving("n1", "n2")
            before = len(seen.failed)
            await flows(seen, 60)
            assert second.holds()
            assert len(seen.failed) == before

            # The other host loses its network: for everybody else it is dead.
            second.host.cut()
            await holder([first])
            await flows(seen)
            second.host.heal()
            await holder(both.addresses)
            await flows(seen)


async def test_a_gateway_without_ready_nodes_gives_the_address_away(tmp_path: Path) -> None:
    async with pair(tmp_path) as both:
        first = await holder(both.addresses)
        _, lab = both.part_of(first)
        async with watching(both.url) as seen:
            await flows(seen)
            lab.kill()
            await holder(both.addresses, lambda part: part is not first)
            await flows(seen)


async def test_a_killed_keepalived_that_is_started_again_leaves_the_address_on_one_host(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path) as both:
        first = await holder(both.addresses)
        first.process.kill()
        first.process.wait()
        first.start()  # what the drop-in for its unit does
        await holder(both.addresses)
        async with watching(both.url) as seen:
            await flows(seen, 60)
