from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from nodegate.errors import BadDocument, Conflict, NotFound, Refused, Unavailable
from nodegate.lab.lab import Lab, LabOptions, ready_document, remote_limited
from nodegate.model import Seconds
from support import until

Connect = Callable[..., Any]
QUIET = LabOptions(interval=Seconds(60.0), spread=Seconds(0.0))


async def info(connect: Connect, node: Any) -> dict[str, Any]:
    _, document = await (await connect(node)).ask(command="getNodeInfo")
    return dict(document)


async def test_nodes_share_one_growing_milestone(lab: Lab, connect: Connect) -> None:
    nodes = await lab.start(3)
    assert [node.id for node in nodes] == ["iri-1", "iri-2", "iri-3"]
    start = (await info(connect, nodes[0]))["latestMilestoneIndex"]
    raws = [await connect(node) for node in nodes]

    async def all_moved() -> bool:
        answers = [(await raw.ask(command="getNodeInfo"))[1] for raw in raws]
        return min(answer["latestSolidSubtangleMilestoneIndex"] for answer in answers) > start + 1

    await until(all_moved)


async def test_a_transaction_given_to_one_node_is_known_to_all(lab: Lab, connect: Connect) -> None:
    one, two = [await connect(node) for node in await lab.start(2)]
    _, tips = await one.ask(command="getTransactionsToApprove", depth=3)
    _, attached = await one.ask(
        command="attachToTangle", minWeightMagnitude=9, trytes=["A" * 2268 + "9" * 405], **{
            key: tips[key] for key in ("trunkTransaction", "branchTransaction")
        },
    )  # fmt: skip
    await one.ask(command="broadcastTransactions", trytes=attached["trytes"])
    _, found = await two.ask(command="findTransactions", addresses=["A" * 81])
    assert len(found["hashes"]) == 1

    async def confirmed() -> bool:
        return bool(
            (await two.ask(command="getInclusionStates", transactions=found["hashes"]))[1]["states"] == [True]
        )

    await until(confirmed)


async def test_kinds_mix_in_one_lab_and_nodes_come_and_go(lab: Lab, connect: Connect) -> None:
    await lab.start(1)
    await lab.start(1, "evm")
    added = await lab.add("iri")
    assert [(node.id, node.kind) for node in lab.nodes] == [
        ("iri-1", "iri"),
        ("evm-2", "evm"),
        ("iri-3", "iri"),
    ]
    await info(connect, added)
    await lab.remove(added.id)
    with pytest.raises(ConnectionRefusedError):
        await connect(added)
    assert len(lab.nodes) == 2
    with pytest.raises(Conflict):
        await lab.add("iri", name="iri-1")


def two_ports() -> tuple[socket.socket, int]:
    """A socket that holds a port, and the port before it, which is free."""
    for _ in range(100):
        rival = socket.socket()
        rival.bind(("127.0.0.1", 0))
        base = rival.getsockname()[1] - 1
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", base))
            return rival, base
        rival.close()
    raise AssertionError("no two ports in a row are free")


async def test_ports_count_up_from_the_base_and_a_taken_one_leaves_nothing_started() -> None:
    rival, base = two_ports()
    with rival:
        async with Lab(QUIET) as lab:
            with pytest.raises(Unavailable, match=f":{base + 1}"):
                await lab.start(2, base_port=base)
            assert lab.nodes == ()
            rival.close()
            nodes = await lab.start(2, base_port=base)
            assert [node.port for node in nodes] == [base, base + 1]


async def test_nodes_on_addresses_share_one_port_and_are_told_apart(connect: Connect) -> None:
    async with Lab(QUIET) as lab:
        nodes = await lab.start(600, addresses=True)
        assert len({node.port for node in nodes}) == 1
        assert len({node.host for node in nodes}) == 600
        assert {node.host for node in nodes[:2]} == {"127.1.0.1", "127.1.0.2"}
        await lab.fault(nodes[599].id, "lag", milestones=9)
        last, first = await info(connect, nodes[599]), await info(connect, nodes[0])
        assert last["latestMilestoneIndex"] - last["latestSolidSubtangleMilestoneIndex"] == 9
        assert first["latestMilestoneIndex"] == first["latestSolidSubtangleMilestoneIndex"]
        assert [node.requests.total() for node in nodes].count(1) == 2


async def test_an_address_that_is_nobodys_is_dropped() -> None:
    async with Lab(QUIET) as lab:
        (node,) = await lab.start(1, addresses=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert node.accepted == 0


async def test_refusing_on_a_shared_port_resets_at_once_and_spares_the_others(connect: Connect) -> None:
    async with Lab(QUIET) as lab:
        one, two = await lab.start(2, addresses=True)
        await lab.fault(one.id, "refuse")
        raw = await connect(one)
        with pytest.raises(ConnectionResetError):
            await raw.closed()
        assert (await info(connect, two))["appName"] == "IRI"
        await lab.heal(one.id)
        assert (await info(connect, one))["appName"] == "IRI"


async def test_stopping_ends_everything_and_twice_is_harmless(connect: Connect) -> None:
    lab = Lab(QUIET)
    (node,) = await lab.start(1)
    await lab.fault(node.id, "hang")
    raw = await connect(node)
    raw.send(b'{"command":"getNodeInfo"}')
    await until(lambda: node.tasks)
    await lab.stop()
    await lab.stop()
    assert not node.tasks
    with pytest.raises(ConnectionRefusedError):
        await connect(node)


async def test_unknown_nodes_and_faults_are_named(lab: Lab) -> None:
    await lab.start(6)
    with pytest.raises(NotFound, match=r"no node 'x'.*iri-1.*and 1 more"):
        lab.node("x")
    with pytest.raises(NotFound):
        await lab.fault("x", "lag")
    with pytest.raises(BadDocument, match="not one of"):
        await lab.fault("iri-1", "melt")
    assert lab.node("iri-1").fault is None


def test_impossible_options_are_refused() -> None:
    with pytest.raises(Refused, match=r"release '9'.*1\.8\.6"):
        Lab(LabOptions(release="9"))
    with pytest.raises(Refused, match="interval"):
        Lab(LabOptions(interval=Seconds(0.001)))


def test_the_loopback_is_limited_unless_it_is_trusted() -> None:
    assert "attachToTangle" in remote_limited(LabOptions())
    assert remote_limited(LabOptions(pow=True)) == {"getNeighbors", "addNeighbors", "removeNeighbors"}
    assert remote_limited(LabOptions(trust_loopback=True)) == frozenset()


async def test_the_ready_document_names_every_node(lab: Lab) -> None:
    (node,) = await lab.start(1)
    assert ready_document(lab, "http://c") == {
        "nodes": [{"id": "iri-1", "url": node.url, "kind": "iri"}],
        "control": "http://c",
    }
    assert "nodes=1" in repr(lab)
