"""When too many nodes fall ill at once, doubt the probes before emptying the pool."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import Gateway, flowing, ids, quick_lab, unharmed

pytestmark = pytest.mark.scenario


async def until_all(gateway: Gateway, status: str, nodes: list[str]) -> dict[str, Any]:
    for node in nodes:
        await gateway.until_node(node, lambda row: row["status"] == status, f"is {status}")
    return await gateway.nodes()


async def test_when_three_of_five_fall_ill_the_floor_is_kept_and_the_plan_says_why() -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                ill = ["iri-1", "iri-3", "iri-5"]
                for node in ill:
                    await lab.fault(node, "lag", milestones=20)
                await until_all(gateway, "down", ill)
                await gateway.until_status(lambda status: status["withheld"] == 1, "one change is withheld")
                (withheld,) = (await gateway.plan())["withheld"]
                assert withheld["rule"] == "panic threshold"
                assert "3 of 5 nodes (60%) would be out, the limit is 50%" in withheld["why"]
                status = await gateway.until_status(
                    lambda status: status["pools"][0]["serving"] == 3, "three of five serve"
                )
                assert status["pools"][0]["down"] == 3
                shown = await gateway.cli("plan")
                assert "panic threshold" in shown.out
                kept = withheld["change"]["node"]
                assert kept in ill
                for node in ill:
                    await lab.heal(node)
                await gateway.until_serving(*ids(lab.nodes))
                assert (await gateway.plan())["withheld"] == []
                await flowing(stream)
            unharmed(stream.report())


async def test_the_last_ready_server_stays_although_it_is_ill_and_leaves_when_another_is_back() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1", "iri-2")
            async with gateway.load() as stream:
                await lab.fault("iri-1", "lag", milestones=20)
                await gateway.until_out("iri-1")
                await lab.fault("iri-2", "lag", milestones=20)
                row = await gateway.until_node("iri-2", lambda row: row["status"] == "down", "is down")
                assert row["serving"]
                await gateway.until_status(lambda status: status["withheld"] == 1, "that is withheld")
                (withheld,) = (await gateway.plan())["withheld"]
                assert withheld["change"]["node"] == "iri-2"
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert set(stream.report().by_node) == {"iri-2"}
                await lab.heal("iri-1")
                await gateway.until_serving("iri-1")
                await gateway.until_out("iri-2")
            unharmed(stream.report())


async def test_a_pool_whose_nodes_are_all_ill_still_answers() -> None:
    async with quick_lab() as lab:
        await lab.start(4)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                for node in lab.nodes:
                    await lab.fault(node.id, "lag", milestones=20)
                await until_all(gateway, "down", ids(lab.nodes))
                await gateway.until_status(
                    lambda status: status["pools"][0]["serving"] == 2, "half of them serve"
                )
                await flowing(stream)
            unharmed(stream.report())


async def test_panic_never_brings_back_a_node_of_another_network() -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            strangers, laggards = ["iri-1", "iri-2"], ["iri-3", "iri-4"]
            async with gateway.load() as stream:
                for node in strangers:
                    await lab.fault(node, "wrong-chain")
                    await gateway.until_out(node)
                for node in laggards:
                    await lab.fault(node, "lag", milestones=20)
                await until_all(gateway, "down", laggards)
                await gateway.until_status(lambda status: status["withheld"] == 2, "two changes are withheld")
                rows = await gateway.nodes()
                assert [name for name, row in rows.items() if row["serving"]] == ["iri-3", "iri-4", "iri-5"]
                assert "chain" in rows["iri-1"]["reasons"][0]
                unharmed(stream.restart_counts())
                await flowing(stream)
            unharmed(stream.report())
            assert not set(strangers) & set(stream.report().by_node)


async def test_the_operators_drain_of_everything_is_obeyed() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving("iri-1", "iri-2")
            for node in ids(lab.nodes):
                await gateway.intend(node, "drain")
                await gateway.until_node(node, lambda row: row["serving"] is False, "is drained")
            async with gateway.load(connections=1, requests=1, rate=None) as stream:
                report = await stream.wait()
            assert report.failed == {"status 503": 1}
            assert '"error"' in report.samples[0]
