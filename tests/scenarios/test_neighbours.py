"""Two gateways on one machine do not know each other, and two cannot share a state directory."""

from __future__ import annotations

import pytest

from gateway import Gateway, flowing, ids, quick_lab, run, served_by, unharmed
from support import free_port

pytestmark = pytest.mark.scenario


async def test_two_gateways_serve_the_same_nodes_side_by_side() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as one, Gateway(lab.nodes) as other:
            await one.until_serving(*ids(lab.nodes))
            await other.until_serving(*ids(lab.nodes))
            async with one.load() as first, other.load() as second:
                await served_by(first, *ids(lab.nodes))
                await served_by(second, *ids(lab.nodes))
                await one.intend("iri-1", "drain")
                await one.until_node("iri-1", lambda row: row["serving"] is False, "is drained")
                assert (await other.nodes())["iri-1"]["serving"]
                await served_by(second, "iri-1")
                await lab.fault("iri-2", "refuse")
                await one.until_out("iri-2")
                await other.until_out("iri-2")
                unharmed(first.report())
                pids = other.haproxy_pids
                await first.stop()
                assert await one.interrupt() == 0
                await flowing(second)
            unharmed(second.report())
            assert other.haproxy_pids == pids
            assert one.haproxies() == []


async def test_a_second_nodegate_on_the_same_state_directory_refuses_in_words() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1")
            assert gateway.process is not None
            address = (gateway.state / "admin").read_text()
            pids = gateway.haproxy_pids
            second = await run(
                *("up", "--state", str(gateway.state)),
                *("--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}"),
            )
            assert second.code == 7
            (message,) = second.err.splitlines()
            assert f"process {gateway.process.pid}" in message
            assert str(gateway.state) in message
            assert "--state" in message
            assert (gateway.state / "admin").read_text() == address
            assert gateway.haproxy_pids == pids
            async with gateway.load() as stream:
                await flowing(stream)
            unharmed(stream.report())
