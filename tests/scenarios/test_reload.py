"""What does need a reload of HAProxy: it says why, nobody notices, and a bad one changes nothing."""

from __future__ import annotations

import pytest

from gateway import Gateway, flowing, ids, quick_lab, served_by, unharmed
from nodegate.lab.load import Load, LoadOptions
from support import free_port, until

pytestmark = pytest.mark.scenario


async def test_the_first_node_of_a_new_pool_reloads_haproxy_with_the_reason_and_without_a_failed_request() -> (
    None
):
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes[:1]) as gateway:
            await gateway.until_serving("iri-1")
            master, worker = gateway.haproxy_pids
            async with gateway.load() as stream:
                await flowing(stream)
                node = {"id": "other", "url": lab.nodes[1].url, "kind": "iri", "pool": "second"}
                await gateway.api("POST", "/api/v1/nodes", node)
                await gateway.until_serving("other")
                await flowing(stream, 100)
                second = Load(LoadOptions(url=f"{gateway.url}/second", connections=1, requests=20))
                await second.start()
                answered = await second.wait()
            unharmed(stream.report())
            unharmed(answered)
            assert set(stream.report().by_node) == {"iri-1"}
            assert set(answered.by_node) == {"other"}
            assert gateway.haproxy_pids[0] == master
            assert gateway.haproxy_pids[1] != worker
            (told,) = [line for line in gateway.log.splitlines() if "reloading HAProxy: " in line]
            assert "the shape of the gateway changed" in told


async def test_changed_settings_are_taken_over_at_a_restart_and_nobody_notices() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            master, worker = gateway.haproxy_pids
            async with gateway.load() as stream:
                await flowing(stream)
                await gateway.terminate()
                text = gateway.config.read_text()
                gateway.config.write_text(text.replace("[pools.main]", '[pools.main]\nbalance = "first"'))
                await gateway.start()
                await until(lambda: worker not in gateway.haproxy_pids, what="the old worker is gone")
                await gateway.until_serving(*ids(lab.nodes))
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert set(stream.report().by_node) == {"iri-1"}
            unharmed(stream.report())
            assert gateway.haproxy_pids[0] == master


async def test_an_address_that_is_taken_is_told_and_the_old_one_serves_on() -> None:
    async with quick_lab() as lab, Gateway() as stranger:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            pids = gateway.haproxy_pids
            async with gateway.load() as stream:
                await gateway.terminate()
                old, gateway.listen = gateway.listen, stranger.listen
                await gateway.start()
                status = await gateway.until_status(lambda status: status["faults"], "the fault is told")
                assert status["state"] == "impaired"
                assert f"{stranger.listen} is in use" in status["faults"][0]
                assert "the last good configuration stays in force" in status["faults"][0]
                await lab.fault("iri-1", "refuse")  # all else goes on
                await gateway.until_out("iri-1")
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert set(stream.report().by_node) == {"iri-2"}
                await gateway.terminate()
                gateway.listen = old
                await gateway.start()
                await gateway.until_status(lambda status: status["state"] == "ok", "all is well again")
            unharmed(stream.report())
            assert gateway.haproxy_pids == pids


async def test_a_second_address_is_added_at_a_restart() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1")
            async with gateway.load() as stream:
                await flowing(stream)
                await gateway.terminate()
                first, second = gateway.listen, f"127.0.0.1:{free_port()}"
                text = gateway.config.read_text()
                gateway.config.write_text(f"[gateway]\nlisten = ['{first}', '{second}']\n{text}")
                gateway.listen = ""
                await gateway.start()
                await gateway.until_serving("iri-1")
                async with Load(LoadOptions(url=f"http://{second}", connections=1, rate=50.0)) as other:
                    await served_by(other, "iri-1")
                unharmed(other.report())
                await flowing(stream)
            unharmed(stream.report())
