"""Nodes fall ill in all the ways they can; clients must not notice, and operators must read why."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import QUICK, Gateway, flowing, ids, quick_lab, served_by, unharmed
from nodegate.lab.lab import Lab

pytestmark = pytest.mark.scenario

NOTICED = 8.0
"""Seconds: three probes of at most 0.75 s each, two milestones of the lab, and room for a busy machine."""


async def fall_ill(lab: Lab, gateway: Gateway, fault: str, **parameters: Any) -> dict[str, Any]:
    """Give iri-2 the fault; its row once it is out of rotation."""
    await lab.fault("iri-2", fault, **parameters)
    return await gateway.until_out("iri-2", within=NOTICED)


@pytest.mark.parametrize(
    ("fault", "parameters", "words"),
    [
        ("refuse", {}, "refused"),
        ("hang", {}, "0.5 s"),
        ("slow", {"seconds": 5.0}, "0.5 s"),
        ("lag", {"milestones": 20}, "behind"),
        ("lie", {"milestones": 1000}, "ahead"),
        ("frozen", {}, "behind"),
        ("wrong-chain", {}, "chain"),
        ("error", {"status": 503}, "503"),
        ("garbage", {"layer": "wire"}, "HTTP"),
    ],
)
async def test_a_sick_node_is_out_with_the_reason_and_back_when_healed_and_no_client_notices(
    fault: str, parameters: dict[str, Any], words: str
) -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await served_by(stream, "iri-2")
                row = await fall_ill(lab, gateway, fault, **parameters)
                assert words in "; ".join(row["reasons"])
                unharmed(stream.restart_counts())
                await flowing(stream)
                assert "iri-2" not in stream.report().by_node
                await lab.heal("iri-2")
                await gateway.until_serving("iri-2", within=NOTICED)
                await served_by(stream, "iri-2")
            unharmed(stream.report())


@pytest.mark.parametrize(
    ("fault", "parameters", "words"),
    [
        ("garbage", {"layer": "body"}, "JSON"),
        ("error", {"status": 500}, "500"),
        ("half", {}, "close"),
    ],
)
async def test_clients_may_meet_a_fault_that_looks_like_an_answer_but_not_for_long(
    fault: str, parameters: dict[str, Any], words: str
) -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await served_by(stream, "iri-2")
                row = await fall_ill(lab, gateway, fault, **parameters)
                assert words in "; ".join(row["reasons"])
                stream.restart_counts()
                await flowing(stream)
                assert "iri-2" not in stream.report().by_node
                await lab.heal("iri-2")
                await gateway.until_serving("iri-2", within=NOTICED)
                await served_by(stream, "iri-2")
            unharmed(stream.report())


async def test_a_node_that_is_slow_under_load_is_degraded_and_gets_a_small_share() -> None:
    toml = QUICK + "max_latency = 0.1\n"
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes, toml=toml) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                await served_by(stream, "iri-2")
                await lab.fault("iri-2", "slow", seconds=0.3)
                row = await gateway.until_node(
                    "iri-2", lambda row: row["status"] == "degraded", "is degraded", NOTICED
                )
                assert "answers in 0.3" in row["reasons"][0]
                assert row["serving"]
                stream.restart_counts()
                await flowing(stream, 100)
                shares = stream.report().by_node
                assert shares.get("iri-2", 0) < 0.15 * sum(shares.values())
            unharmed(stream.report())


async def test_two_of_five_nodes_that_die_at_once_cost_no_request_and_are_out_within_a_second() -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load(connections=50, rate=400.0) as stream:
                await flowing(stream, 200)
                await lab.fault("iri-1", "refuse")
                await lab.fault("iri-4", "refuse")
                for node in ("iri-1", "iri-4"):
                    await gateway.until_node(node, lambda row: row["serving"] is False, "is out", 3.0)
                stream.restart_counts() if not stream.report().failures else None
                await flowing(stream, 200)
                assert set(stream.report().by_node) == {"iri-2", "iri-3", "iri-5"}
            unharmed(stream.report())


async def test_nodes_list_shows_the_reason_in_words_and_in_json() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await fall_ill(lab, gateway, "refuse")
            table = await gateway.cli("nodes", "list")
            assert table.code == 0
            line = next(line for line in table.out.splitlines() if line.startswith("iri-2"))
            assert "down" in line
            listed = await gateway.cli("nodes", "list", "--json")
            (row,) = [row for row in listed.json["nodes"] if row["id"] == "iri-2"]
            assert row["status"] == "down"
            assert any("refused" in reason for reason in row["reasons"])
            documented = "id url kind pool intent status reasons height lag latency_ms since source"
            assert set(documented.split()) <= set(row)
