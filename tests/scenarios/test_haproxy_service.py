"""HAProxy as a service of its own: nodegate takes it over, and never starts or stops it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from gateway import NODEGATE, QUICK, Gateway, flowing, quick_lab, unharmed
from nodegate.lab.lab import Lab
from support import free_port, until

pytestmark = pytest.mark.scenario


class Service:
    """`nodegate haproxy`, as a unit with `Restart=always` would run it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self._gateway.home / "haproxy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *NODEGATE, "haproxy", "--config", str(self._gateway.config), "--state", str(self._gateway.state),
                env={**os.environ, "NODEGATE_GATEWAY__LISTEN": self._gateway.listen},
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    async def stop(self) -> int:
        """As `systemctl stop` does."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(60):
            return await self.process.wait()

    @property
    def log(self) -> str:
        return (self._gateway.home / "haproxy.log").read_text()


@asynccontextmanager
async def apart(lab: Lab, health: str = "") -> AsyncIterator[tuple[Gateway, Service]]:
    """A gateway that leaves HAProxy to a service; nothing runs yet."""
    toml = f"[gateway]\nstart_haproxy = false\n{health}" + QUICK
    async with Gateway(lab.nodes, toml=toml, start=False) as gateway:
        service = Service(gateway)
        try:
            yield gateway, service
        finally:
            if service.process is not None and service.process.returncode is None:
                service.process.kill()
                await service.process.wait()


async def ready(gateway: Gateway) -> bool:
    return await gateway.readyz() == 200


async def test_whoever_comes_first_the_gateway_serves_and_an_upgrade_of_nodegate_is_not_noticed() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with apart(lab) as (gateway, service):
            await gateway.start(ready=False)  # nodegate first: it waits for HAProxy
            await service.start()
            await until(lambda: ready(gateway), within=60, what="the gateway is ready")
            await gateway.until_serving("iri-1", "iri-2", within=60)
            assert service.process is not None
            assert service.process.pid in gateway.haproxy_pids
            load = gateway.load()
            await load.start()
            await flowing(load)
            before = gateway.haproxy_pids
            await gateway.restart()
            await gateway.kill()
            await gateway.start()
            await gateway.until_serving("iri-1", "iri-2", within=60)
            assert gateway.haproxy_pids == before
            await flowing(load)
            unharmed(await load.stop())
            assert '"status":200' in (gateway.state / "access.log").read_text().replace(" ", "")


async def test_a_haproxy_that_died_comes_back_with_its_nodes_and_is_taken_over() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with apart(lab) as (gateway, service):
            await service.start()
            await gateway.start()
            await gateway.until_serving("iri-1", "iri-2", within=60)
            gateway.kill_haproxy()
            assert service.process is not None
            await service.process.wait()
            await gateway.until_status(lambda status: not status["haproxy"]["ok"], "misses HAProxy", 60)
            assert gateway.haproxy_pids == []
            await service.start()
            await gateway.until_status(lambda status: status["haproxy"]["ok"], "has taken it over", 60)
            load = gateway.load()
            await load.start()
            await flowing(load)
            unharmed(await load.stop())


async def test_the_end_of_nodegate_is_not_that_of_haproxy_and_a_second_one_is_refused() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with apart(lab) as (gateway, service):
            await service.start()
            await gateway.start()
            assert await gateway.interrupt() == 0
            assert gateway.haproxy_pids
            second = Service(gateway)
            await second.start()
            assert second.process is not None
            assert await second.process.wait() == 7
            assert "HAProxy runs on" in second.log
            await service.stop()
            assert gateway.haproxy_pids == []


async def test_haproxy_itself_says_whether_it_has_ready_nodes() -> None:
    place = f"127.0.0.1:{free_port()}"
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes, toml=f'[gateway]\nhealth = "{place}"\n{QUICK}') as gateway:
            await gateway.until_serving("iri-1", "iri-2", within=60)
            await gateway.kill()

            async def says(path: str, method: str = "GET") -> tuple[int, str]:
                async with (
                    aiohttp.ClientSession() as session,
                    session.request(method, f"http://{place}{path}") as response,
                ):
                    return response.status, await response.text()

            assert await says("/") == (200, "2 ready, 1 wanted")
            assert await says("/main?ready=2") == (200, "2 ready, 2 wanted")
            assert await says("/main?ready=3") == (503, "2 ready, 3 wanted")
            assert await says("/?ready=x") == (200, "2 ready, 1 wanted")
            assert (await says("/other"))[0] == 404
            assert (await says("/", "DELETE"))[0] == 405
            gateway.kill_haproxy()
            with pytest.raises(aiohttp.ClientError):
                await until(lambda: says("/"), within=1)
