"""What the gateway says of itself while it starts, and when the machine gives it no more than it has."""

from __future__ import annotations

import resource

import psutil
import pytest

from gateway import QUICK, Gateway, flowing, ids, quick_lab, unharmed
from support import until

pytestmark = pytest.mark.scenario


async def test_readyz_is_503_before_the_first_pass_and_200_after_it() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        await lab.fault("iri-2", "hang")  # its first probe lasts 2 s: as long nobody knows what is healthy
        async with Gateway(
            lab.nodes, toml=QUICK.replace("timeout = 0.5", "timeout = 2.0"), start=False
        ) as gateway:
            await gateway.start(ready=False)
            first = await until(gateway.readyz, what="/readyz answers")
            assert first == 503
            assert (await gateway.status())["state"] == "starting"

            async def ready() -> bool:
                return await gateway.readyz() == 200

            await until(ready, what="/readyz is 200")
            async with gateway.load(connections=1) as stream:
                await flowing(stream, 5)
            unharmed(stream.report())


async def test_a_gateway_without_nodes_is_ready_and_says_503_to_clients() -> None:
    async with Gateway() as gateway:
        async with gateway.load(connections=1, requests=1, rate=None) as stream:
            report = await stream.wait()
        assert report.failed == {"status 503": 1}
        assert (await gateway.status())["state"] == "ok"


async def test_a_nodegate_without_file_descriptors_concludes_nothing_and_recovers() -> None:
    async with quick_lab() as lab:
        await lab.start(4)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            assert gateway.process is not None
            daemon = psutil.Process(gateway.process.pid)
            soft, hard = daemon.rlimit(resource.RLIMIT_NOFILE)
            async with gateway.load() as stream:
                daemon.rlimit(resource.RLIMIT_NOFILE, (8, hard))  # fewer than are open: no new one at all
                await until(lambda: "Too many open files" in gateway.log or "no more files" in gateway.log)
                await flowing(stream, 300)
                daemon.rlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await gateway.until_status(lambda status: status["state"] == "ok", "all is well again")
                await gateway.until_serving(*ids(lab.nodes))
            unharmed(stream.report())
            assert gateway.log.count("event=verdict") == 4
