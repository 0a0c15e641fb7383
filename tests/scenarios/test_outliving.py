"""HAProxy and nodegate are killed, stopped and started in all orders; traffic is what must go on."""

from __future__ import annotations

import os
import time

import pytest

from gateway import ONE_REQUEST, UNPROBED, Gateway, flowing, ids, quick_lab, served_by, unharmed
from support import free_port, until

pytestmark = pytest.mark.scenario


async def haproxy_is_back(gateway: Gateway, before: list[int]) -> None:
    """HAProxy runs anew and answers clients."""
    await until(
        lambda: gateway.haproxy_pids and not set(gateway.haproxy_pids) & set(before), what="HAProxy is back"
    )
    async with gateway.load(connections=1, rate=50.0) as stream:
        await flowing(stream, 1)


async def test_a_killed_haproxy_is_started_again_with_the_same_servers() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            gateway.kill_haproxy()
            began = time.monotonic()
            await haproxy_is_back(gateway, before)
            assert time.monotonic() - began < 6
            async with gateway.load() as stream:
                await served_by(stream, *ids(lab.nodes))
            unharmed(stream.report())
            status = await gateway.until_status(lambda status: status["state"] == "ok", "all is well")
            assert status["haproxy"]["ok"]
            assert gateway.log.count("add pool_main/") == 3  # at the first start only: the file had them


async def test_ctrl_c_before_nodegate_is_up_stops_the_haproxy_that_it_has_started_too() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes, start=False) as gateway:
            await gateway.start(ready=False)
            await until(lambda: "  state " in gateway.log, what="the banner is there")
            assert gateway.haproxy_pids
            await gateway.interrupt()
            assert gateway.haproxy_pids == []
            assert not (gateway.state / "admin").exists()


async def test_an_ipv6_admin_address_is_found_by_commands() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes, start=False) as gateway:
            for host in ("[::1]", "[::]"):
                gateway.admin = f"{host}:{free_port()}"
                await gateway.start(ready=False)
                await until(lambda: gateway.log.count("  state ") and (gateway.state / "admin").exists())
                told = await gateway.cli("status", "--json")
                assert told.json["version"], told.err
                assert gateway.admin.replace("[::]", "[::1]") in (gateway.state / "admin").read_text()
                await gateway.terminate()


async def test_a_killed_worker_of_haproxy_is_replaced() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            _, worker = gateway.haproxies()
            worker.kill()
            await until(
                lambda: len(gateway.haproxy_pids) == 2 and worker.pid not in gateway.haproxy_pids,
                what="another worker serves",
            )
            async with gateway.load() as stream:
                await until(lambda: set(stream.report().by_node) == {"iri-1", "iri-2"})


async def test_a_killed_master_of_haproxy_is_replaced_whoever_is_there() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            gateway.haproxies()[0].kill()
            await haproxy_is_back(gateway, before)
            before = gateway.haproxy_pids
            await gateway.kill()
            gateway.haproxies()[0].kill()
            await gateway.start()
            await haproxy_is_back(gateway, before)
            assert len(gateway.haproxy_pids) == 2


async def test_a_frozen_haproxy_is_told_and_taken_up_again_when_it_thaws() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            worker = gateway.haproxies()[1]
            worker.suspend()
            # Two conversations of ten seconds each have to fail.
            status = await gateway.until_status(
                lambda status: not status["haproxy"]["ok"], "the silence is told", within=35
            )
            assert "does not answer" in status["haproxy"]["text"]
            worker.resume()
            await gateway.until_status(lambda status: status["state"] == "ok", "all is well again", within=8)
            assert gateway.haproxy_pids == before


async def test_nodegate_killed_at_any_moment_of_its_start_harms_nobody() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            moments = {
                "it holds the lock": lambda: (gateway.state / "lock").read_text().strip(),
                "it has adopted HAProxy": lambda: gateway.log.count("adopted") == 1,
                "it judges": lambda: gateway.log.count("iri-1 is up") == 2,
            }
            async with gateway.load() as stream:
                await gateway.kill()
                (gateway.state / "lock").write_text("")
                for what, has_come in moments.items():
                    await gateway.start(ready=False)
                    await until(has_come, what=what)
                    await gateway.kill()
                    await flowing(stream, 20)
                await gateway.start()
                await gateway.until_serving(*ids(lab.nodes))
                await flowing(stream)
            unharmed(stream.report())
            assert gateway.haproxy_pids == before


async def test_nodegate_killed_at_any_moment_of_its_very_first_start_leaves_nothing_in_the_way() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes, start=False) as gateway:
            moments = {
                "the directory is there": gateway.state.exists,
                "the registry is there": (gateway.state / "registry.db").exists,
                "HAProxy is there": gateway.haproxies,
            }
            for what, has_come in moments.items():
                await gateway.start(ready=False)
                await until(has_come, what=what, every=0.002)
                await gateway.kill()
            await gateway.start()
            await gateway.until_serving(*ids(lab.nodes))
            assert len(gateway.haproxy_pids) == 2
            async with gateway.load() as stream:
                await flowing(stream)
            unharmed(stream.report())


async def test_haproxy_killed_while_nodegate_is_dead_starts_with_the_servers_it_had() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await gateway.kill()
            gateway.kill_haproxy()
            assert gateway.haproxies() == []
            await gateway.start()
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await served_by(stream, *ids(lab.nodes))
            unharmed(stream.report())
            assert gateway.log.count("add pool_main/") == 3
            assert gateway.log.count("started HAProxy") == 2


async def test_a_killed_nodegate_leaves_traffic_flowing_and_a_restart_adopts_haproxy_unnoticed() -> None:
    async with quick_lab() as lab:
        await lab.start(4)
        async with Gateway(lab.nodes[:3]) as gateway:
            extra = lab.nodes[3]
            await gateway.api("POST", "/api/v1/nodes", {"id": extra.id, "url": extra.url, "kind": "iri"})
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            async with gateway.load() as stream:
                await flowing(stream)
                await gateway.kill()
                await served_by(stream, *ids(lab.nodes))
                await gateway.start()
                await gateway.until_serving(*ids(lab.nodes))
                await served_by(stream, *ids(lab.nodes))
            unharmed(stream.report())
            assert gateway.haproxy_pids == before
            assert "adopted" in gateway.log
            assert gateway.log.count("add pool_main/") == 4


async def test_a_node_that_dies_while_nodegate_is_dead_costs_no_request() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await flowing(stream)
                await gateway.kill()
                await lab.fault("iri-2", "refuse")
                await flowing(stream, 60)
                unharmed(stream.restart_counts())
                await flowing(stream, 60)
                assert "iri-2" not in stream.report().by_node
                await lab.heal("iri-2")
                await served_by(stream, "iri-2")  # HAProxy's own check brings it back
                await lab.fault("iri-2", "refuse")
                await gateway.start()
                row = await gateway.until_out("iri-2")
                assert "refused" in row["reasons"][0]
            unharmed(stream.report())


async def test_a_node_that_fell_ill_while_nodegate_was_dead_is_taken_out_after_the_restart() -> None:
    async with quick_lab() as lab:
        await lab.start(4)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await gateway.kill()
            await lab.fault("iri-3", "lag", milestones=20)
            async with gateway.load() as stream:
                await gateway.start()
                await gateway.until_out("iri-3")
                unharmed(stream.restart_counts())
                await flowing(stream)
            unharmed(stream.report())
            assert "iri-3" not in stream.report().by_node


async def test_sigterm_stops_nodegate_alone_and_says_that_haproxy_serves_on() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            async with gateway.load() as stream:
                await flowing(stream)
                assert await gateway.terminate() == 0
                await flowing(stream)
                await gateway.start()
                await flowing(stream)
            unharmed(stream.report())
            assert gateway.haproxy_pids == before
            assert "HAProxy serves on" in gateway.log
            assert "Traceback" not in gateway.log


async def test_ctrl_c_stops_both_and_requests_under_way_are_answered() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1")
            await lab.fault("iri-1", "slow", seconds=0.4)
            async with gateway.load(**ONE_REQUEST) as stream:
                await until(lambda: lab.node("iri-1").requests[UNPROBED], what="the node has the request")
                assert await gateway.interrupt() == 0
                unharmed(await stream.wait())
            assert gateway.haproxies() == []
            assert not (gateway.state / "admin").exists()
            assert "Traceback" not in gateway.log
            async with gateway.load(**ONE_REQUEST) as late:
                report = await late.wait()
            assert report.failed == {"refused": 1}


async def test_down_stops_what_runs_and_says_what_it_did() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            both = await gateway.down()
            assert (both.code, both.out.strip()) == (0, "nodegate and its HAProxy are stopped")
            assert await gateway.ended() == 0
            assert gateway.haproxies() == []

            await gateway.start()
            await gateway.kill()
            assert gateway.haproxies()
            haproxy_only = await gateway.down()
            assert (haproxy_only.code, haproxy_only.out.strip()) == (
                0,
                "HAProxy is stopped; nodegate was not running",
            )
            assert gateway.haproxies() == []

            nothing = await gateway.down()
            assert nothing.code == 0
            assert nothing.out.strip() == f"nothing runs on {gateway.state}"

            await gateway.start()
            await gateway.until_serving(*ids(lab.nodes))


async def test_commands_say_that_nothing_runs_when_nodegate_is_dead() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            await gateway.kill()
            killed = await gateway.cli("nodes", "list")
            assert killed.code == 4
            assert "nodegate up" in killed.err
            assert len(killed.err.splitlines()) == 1


async def test_haproxy_is_in_a_session_of_its_own() -> None:
    async with Gateway() as gateway:
        assert gateway.process is not None
        master = gateway.haproxies()[0]
        assert os.getsid(master.pid) == master.pid != gateway.process.pid
