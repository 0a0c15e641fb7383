"""Each fault, seen by a raw client on a real connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from nodegate.lab.lab import Lab, LabOptions
from nodegate.lab.tangle import OLD_REFERENCE
from nodegate.lab.trytes import made_up
from nodegate.model import Seconds
from support import until

Connect = Callable[..., Any]
INFO = b'{"command":"getNodeInfo"}'
APPROVE = {"command": "getTransactionsToApprove", "depth": 3}
FIND = {"command": "findTransactions", "addresses": [made_up("x")]}
ATTACH = {
    "command": "attachToTangle",
    "trunkTransaction": made_up("t"),
    "branchTransaction": made_up("b"),
    "minWeightMagnitude": 9,
    "trytes": ["9" * 2673],
}


async def height(raw: Any) -> tuple[int, int]:
    _, info = await raw.ask(command="getNodeInfo")
    return info["latestMilestoneIndex"], info["latestSolidSubtangleMilestoneIndex"]


async def test_a_healthy_node_answers_again_and_again_on_one_connection(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    for _ in range(3):
        raw.send(INFO)
        status, headers, body = await raw.receive()
        assert (status, headers["Content-Type"], headers["Keep-Alive"]) == (
            200,
            "application/json",
            "timeout=500, max=100",
        )
        assert json.loads(body)["appName"] == "IRI"
    assert (node.requests["getNodeInfo"], node.open, node.max_open, node.accepted) == (3, 1, 1, 1)


async def test_lag_keeps_the_solid_milestone_behind_at_once_on_an_open_connection(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    latest, solid = await height(raw)
    assert latest - solid <= 1
    await lab.fault(node.id, "lag", milestones=20)
    latest, solid = await height(raw)
    assert latest - solid == 20
    await lab.heal(node.id)
    latest, solid = await height(raw)
    assert latest - solid <= 1


async def test_frozen_stands_still_while_the_others_go_on(lab: Lab, connect: Connect) -> None:
    one, two = await lab.start(2)
    await lab.fault(one.id, "frozen")
    frozen, healthy = await connect(one), await connect(two)
    before, start = await height(frozen), await height(healthy)

    async def moved() -> bool:
        return (await height(healthy))[1] > start[1] + 1

    await until(moved, what="the healthy node's height grows")
    assert await height(frozen) == before
    assert before[0] - before[1] <= 1


async def test_lie_claims_a_huge_height(lab: Lab, connect: Connect) -> None:
    one, two = await lab.start(2)
    await lab.fault(one.id, "lie", milestones=5000)
    liar, honest = await height(await connect(one)), await height(await connect(two))
    assert liar[0] == liar[1]
    assert 4990 <= liar[0] - honest[0] <= 5010


async def test_wrong_chain_has_another_coordinator(lab: Lab, connect: Connect) -> None:
    one, two = await lab.start(2)
    await lab.fault(one.id, "wrong-chain")
    coordinators = {
        (await (await connect(node)).ask(command="getNodeInfo"))[1]["coordinatorAddress"]
        for node in (one, two)
    }
    assert len(coordinators) == 2


async def test_slow_answers_late_and_healing_releases_what_waits(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await lab.fault(node.id, "slow", seconds=0.2)
    began = time.monotonic()
    status, document = await raw.ask(command="getNodeInfo")
    assert status == 200
    assert time.monotonic() - began >= 0.2
    assert document["duration"] >= 195
    await lab.fault(node.id, "slow", seconds=60.0)
    raw.send(INFO)
    await until(lambda: node.requests["getNodeInfo"] == 2)
    await lab.heal(node.id)
    assert (await raw.receive())[0] == 200


async def test_hang_accepts_and_never_answers_until_healed(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "hang")
    raw = await connect(node)
    raw.send(INFO)
    await until(lambda: node.requests["getNodeInfo"] == 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(raw.reader.read(1), 0.2)
    await lab.heal(node.id)
    assert (await raw.receive())[0] == 200


async def test_error_answers_everything_with_the_status_and_marks_it_as_simulated(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await lab.fault(node.id, "error", status=502)
    raw.send(INFO)
    status, headers, _ = await raw.receive()
    assert (status, headers["X-Lab-Fault"]) == (502, "error")
    await lab.heal(node.id)
    raw.send(INFO)
    status, headers, _ = await raw.receive()
    assert (status, "X-Lab-Fault" in headers) == (200, False)


async def test_garbage_in_the_body_is_good_http_and_no_json(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await lab.fault(node.id, "garbage")
    raw.send(INFO)
    status, _, body = await raw.receive()
    assert status == 200
    with pytest.raises(ValueError, match="decode"):
        json.loads(body)


async def test_garbage_on_the_wire_is_no_http_and_ends_the_connection(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await lab.fault(node.id, "garbage", layer="wire")
    raw.send(INFO)
    data = await raw.closed()
    assert data
    assert not data.startswith(b"HTTP/")


async def test_half_closes_in_the_middle_of_the_body(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await lab.fault(node.id, "half")
    raw.send(INFO)
    head, _, body = (await raw.closed()).partition(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) == promised // 2


async def test_refuse_resets_open_connections_and_refuses_new_ones_and_healing_brings_the_port_back(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    await raw.ask(command="getNodeInfo")
    port = node.port
    await lab.fault(node.id, "refuse")
    with pytest.raises(ConnectionResetError):
        await raw.closed()
    with pytest.raises(ConnectionRefusedError):
        await connect(node)
    await until(lambda: node.open == 0)
    await lab.heal(node.id)
    assert node.port == port
    assert (await (await connect(node)).ask(command="getNodeInfo"))[0] == 200


async def test_a_refusing_node_can_be_given_another_fault(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "refuse")
    await lab.fault(node.id, "refuse")
    await lab.fault(node.id, "error", status=500)
    assert (await (await connect(node)).ask(command="getNodeInfo"))[0] == 500


async def test_stall_holds_the_serialised_commands_while_node_info_is_answered(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "stall")
    waiting = [await connect(node) for _ in range(2)]
    waiting[0].send(json.dumps(APPROVE).encode())
    waiting[1].send(json.dumps(FIND).encode())
    await until(lambda: node.requests.total() == 2)
    free = await connect(node)
    assert (await free.ask(command="getNodeInfo"))[0] == 200
    assert (await free.ask(command="getBalances", addresses=[]))[0] == 200
    for raw in waiting:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.1)
    await lab.heal(node.id)
    for raw in waiting:
        assert (await raw.receive())[0] == 200


async def test_one_old_reference_stalls_all_serialised_commands_as_in_2018(connect: Connect) -> None:
    async with Lab(LabOptions(interval=Seconds(60.0), stall=Seconds(0.8))) as lab:
        (node,) = await lab.start(1)
        attacker, honest, other = [await connect(node) for _ in range(3)]
        assert (await honest.ask(**FIND))[0] == 200
        attacker.send(json.dumps({**APPROVE, "reference": OLD_REFERENCE}).encode())
        await until(node.lock.locked)
        honest.send(json.dumps(FIND).encode())
        await until(lambda: node.requests["findTransactions"] == 2)
        assert (await other.ask(command="getNodeInfo"))[0] == 200
        assert node.lock.locked()
        answered = []

        async def note(name: str, raw: Any) -> None:
            assert (await raw.receive())[0] == 200
            answered.append(name)

        await asyncio.gather(note("honest", honest), note("attacker", attacker))
        assert answered == ["attacker", "honest"]


async def test_a_client_that_leaves_does_not_end_its_request_and_its_socket_stays(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "stall")
    attacker, other = await connect(node), await connect(node)
    attacker.send(json.dumps(APPROVE).encode())
    await until(node.lock.locked)
    attacker.writer.close()
    await attacker.writer.wait_closed()
    for _ in range(20):
        await other.ask(command="getNodeInfo")
    assert node.lock.locked()
    assert node.open == 2
    await lab.heal(node.id)
    await until(lambda: node.open == 1, what="the left connection is closed once its request is done")


async def test_when_all_workers_wait_for_the_lock_the_node_answers_nothing(connect: Connect) -> None:
    options = LabOptions(interval=Seconds(60.0), workers=2)
    async with Lab(options) as lab:
        (node,) = await lab.start(1)
        await lab.fault(node.id, "stall")
        for _ in range(2):
            (await connect(node)).send(json.dumps(APPROVE).encode())
        await until(node.workers.locked)
        raw = await connect(node)
        raw.send(INFO)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.15)
        await lab.heal(node.id)
        assert (await raw.receive())[0] == 200


async def test_attaching_can_be_interrupted(connect: Connect) -> None:
    async with Lab(LabOptions(interval=Seconds(60.0), pow=True, work=Seconds(60.0))) as lab:
        (node,) = await lab.start(1)
        worker, other = await connect(node), await connect(node)
        worker.send(json.dumps(ATTACH).encode())
        await until(node.lock.locked)
        assert (await other.ask(command="interruptAttachingToTangle"))[0] == 200
        status, _, body = await worker.receive()
        assert (status, json.loads(body)["trytes"]) == (200, [])


async def test_an_interrupt_does_not_shorten_tip_selection(connect: Connect) -> None:
    async with Lab(LabOptions(interval=Seconds(60.0), pow=True, stall=Seconds(0.3))) as lab:
        (node,) = await lab.start(1)
        chooser, other = await connect(node), await connect(node)
        chooser.send(json.dumps({**APPROVE, "reference": OLD_REFERENCE}).encode())
        await until(node.lock.locked)
        assert (await other.ask(command="interruptAttachingToTangle"))[0] == 200
        assert json.loads((await chooser.receive())[2])["duration"] >= 290


@pytest.mark.parametrize("kind", ["error", "half", "garbage", "lag", "slow"])
async def test_faults_reach_evm_nodes_too(lab: Lab, connect: Connect, kind: str) -> None:
    (node,) = await lab.start(1, "evm")
    raw = await connect(node)
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_syncing"}'
    raw.send(body)
    status, _, good = await raw.receive()
    assert (status, json.loads(good)["result"]) == (200, False)
    await lab.fault(node.id, kind, **({"seconds": 0.1} if kind == "slow" else {}))
    began = time.monotonic()
    raw.send(body)
    if kind == "half":
        assert len((await raw.closed()).partition(b"\r\n\r\n")[2]) == len(good) // 2
        return
    status, _, answer = await raw.receive()
    assert (status != 200, answer != good, time.monotonic() - began >= 0.1) == (
        kind == "error",
        kind != "slow",
        kind == "slow",
    )


async def test_a_node_shows_itself(lab: Lab) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "lag", milestones=3)
    shown = node.document()
    assert shown["fault"] == {"fault": "lag", "milestones": 3}
    assert (shown["id"], shown["url"], shown["open"]) == ("iri-1", node.url, 0)
    assert "fault=lag" in repr(node)
