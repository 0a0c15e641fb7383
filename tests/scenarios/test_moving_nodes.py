"""Nodes come and go by command while traffic flows: no failed request, no reload, nothing forgotten."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from gateway import ONE_REQUEST, UNPROBED, Gateway, flowing, ids, quick_lab, served_by, unharmed
from support import until

pytestmark = pytest.mark.scenario


async def test_a_node_is_added_drained_and_removed_under_traffic_without_a_failed_request_or_a_reload() -> (
    None
):
    async with quick_lab() as lab:
        await lab.start(3)
        newcomer = lab.nodes[2]
        async with Gateway(lab.nodes[:2]) as gateway:
            await gateway.until_serving("iri-1", "iri-2")
            before = gateway.haproxy_pids
            async with gateway.load() as stream:
                await flowing(stream)
                added = await gateway.cli(
                    "nodes", "add", newcomer.url, "--kind", "iri", "--id", "new", "--wait"
                )
                assert added.code == 0, added
                await served_by(stream, "new", "iri-1", "iri-2")

                await gateway.intend("new", "drain")
                await gateway.until_node("new", lambda row: row["serving"] is False, "gets nothing new")
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert "new" not in stream.report().by_node

                await gateway.intend("new", "serve")
                await served_by(stream, "new")

                removed = await gateway.cli("nodes", "remove", "new", "--wait")
                assert removed.code == 0, removed
                assert set(await gateway.nodes()) == {"iri-1", "iri-2"}
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert set(stream.report().by_node) == {"iri-1", "iri-2"}
            unharmed(stream.report())
            assert gateway.haproxy_pids == before
            with sqlite3.connect(gateway.state / "registry.db") as db:
                assert db.execute("SELECT count(*) FROM nodes").fetchone() == (0,)
            db.close()


async def test_ten_nodes_come_and_go_under_traffic() -> None:
    async with quick_lab() as lab:
        await lab.start(12)
        async with Gateway(lab.nodes[:2]) as gateway:
            await gateway.until_serving("iri-1", "iri-2")
            before = gateway.haproxy_pids
            movers = lab.nodes[2:]
            async with gateway.load() as stream:
                for node in movers:
                    await gateway.api(
                        "POST", "/api/v1/nodes", {"id": node.id, "url": node.url, "kind": "iri"}
                    )
                await gateway.until_serving(*ids(movers))
                await served_by(stream, *ids(movers))
                for node in movers:
                    await gateway.api("DELETE", f"/api/v1/nodes/{node.id}")

                async def only_two() -> bool:
                    return set(await gateway.nodes()) == {"iri-1", "iri-2"}

                await until(only_two, what="the ten are gone")
                await flowing(stream)
            unharmed(stream.report())
            assert gateway.haproxy_pids == before


async def test_a_removed_node_finishes_its_requests_before_it_is_forgotten() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes[:1]) as gateway:
            leaving = lab.nodes[1]
            await gateway.api("POST", "/api/v1/nodes", {"id": "leaving", "url": leaving.url, "kind": "iri"})
            await gateway.until_serving("iri-1", "leaving")
            await gateway.intend("iri-1", "drain")
            await gateway.until_node("iri-1", lambda row: row["serving"] is False, "is drained")
            await lab.fault(leaving.id, "slow", seconds=0.9)  # within the pool's patience of 1 s
            async with gateway.load(**ONE_REQUEST) as stream:
                await until(lambda: lab.node(leaving.id).requests[UNPROBED], what="the node has the request")
                await gateway.intend("iri-1", "serve")
                await gateway.api("DELETE", "/api/v1/nodes/leaving")
                during = (await gateway.nodes())["leaving"]
                assert (during["intent"], stream.report().ok) == ("remove", 0)
                report = await stream.wait()
            unharmed(report)
            assert report.by_node == {"leaving": 1}
            await until(lambda: _gone(gateway, "leaving"), what="the record is gone")


async def _gone(gateway: Gateway, node: str) -> bool:
    return node not in await gateway.nodes()


async def test_what_was_wanted_survives_a_kill_of_nodegate_and_of_haproxy() -> None:
    async with quick_lab() as lab:
        await lab.start(4)
        async with Gateway(lab.nodes[:2]) as gateway:
            for node in lab.nodes[2:]:
                await gateway.api("POST", "/api/v1/nodes", {"id": node.id, "url": node.url, "kind": "iri"})
            await gateway.until_serving(*ids(lab.nodes))
            await gateway.intend("iri-2", "drain")  # declared in the file
            await gateway.intend("iri-3", "drain")  # of the registry
            await gateway.kill()
            gateway.kill_haproxy()
            await gateway.start()
            await gateway.until_serving("iri-1", "iri-4")
            rows = await gateway.nodes()
            assert {name: row["intent"] for name, row in rows.items()} == {
                "iri-1": "serve", "iri-2": "drain", "iri-3": "drain", "iri-4": "serve",
            }  # fmt: skip
            async with gateway.load() as stream:
                await flowing(stream, 60)
            unharmed(stream.report())
            assert set(stream.report().by_node) == {"iri-1", "iri-4"}


async def test_an_order_given_while_haproxy_is_gone_is_obeyed_when_it_is_back() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            gateway.kill_haproxy()
            await gateway.intend("iri-1", "drain")
            await gateway.until_node(
                "iri-1", lambda row: row["intent"] == "drain" and row["serving"] is False, "is drained"
            )
            await until(lambda: gateway.haproxy_pids, what="HAProxy is back")
            await gateway.until_serving("iri-2", "iri-3")
            async with gateway.load() as stream:
                await flowing(stream)
            assert set(stream.report().by_node) == {"iri-2", "iri-3"}


async def test_many_orders_at_once_all_come_through() -> None:
    async with quick_lab() as lab:
        await lab.start(6)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            chosen = ids(lab.nodes)[:3]
            async with gateway.load() as stream:
                await asyncio.gather(*(gateway.intend(node, "drain") for node in chosen))
                for node in chosen:
                    await gateway.until_node(node, lambda row: row["serving"] is False, "is drained")
                await asyncio.gather(*(gateway.intend(node, "serve") for node in chosen))
                await gateway.until_serving(*chosen)
                await served_by(stream, *chosen)
            unharmed(stream.report())
