"""Two kinds under two policies and a pool without one, behind one listener."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from dataplane_support import Client, Node, Response, Rig, call, server
from nodegate.daemon.enforcement import lanes_of
from nodegate.daemon.policies import Policies
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.haproxy.pools import backend_name
from nodegate.protocols import adapters
from policy_rig import VERSION, rule

pytestmark = pytest.mark.scenario

KINDS = {"main": "iri", "evm": "evm", "web": "http"}
BLOCK = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}


class Mixed(Rig):
    """Pools `main` (iri), `evm` and `web` (no policy)."""

    def __init__(self) -> None:
        super().__init__({"pools": {name: {"kind": kind} for name, kind in KINDS.items()}})

    def new_driver(self) -> HaproxyDriver:
        self.driver = HaproxyDriver(self.settings, self.state)
        self.policies = Policies(self.settings, self.state / "policies", self.driver)
        guarded = self.policies.guarded(KINDS)
        self.lanes = lanes_of(guarded)
        traffic = {name: adapters()[kind].traffic for name, kind in KINDS.items()}
        self.shape = self.driver.shape(KINDS, traffic, guarded)
        return self.driver

    async def post(self, path: str, body: bytes, **headers: str) -> Response:
        async with Client(self.port) as client:
            return await client.send("POST", path, body, headers)


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Mixed, dict[str, Node]]]:
    async with Mixed() as rig:
        nodes = {}
        for pool in KINDS:
            nodes[pool] = node = await rig.node(pool)
            for lane in rig.lanes.get(pool, {"read": None}):
                await rig.add(server(node, backend=backend_name(pool, lane)))
        yield rig, nodes


async def test_each_pool_has_its_own_policy_and_one_has_none(rig: tuple[Mixed, dict[str, Node]]) -> None:
    gateway, nodes = rig
    block = json.dumps(BLOCK).encode()
    assert (await gateway.post("/", call("getNodeInfo"), **VERSION)).status == 200
    assert (await gateway.post("/evm", block)).status == 200
    assert (await gateway.post("/web/anything", b"\x00 not json")).status == 200
    wrong = await gateway.post("/", block, **VERSION)
    assert (wrong.status, rule(wrong)) == (400, "method-missing")
    assert "error" in wrong.json
    swapped = await gateway.post("/evm", call("getNodeInfo"))
    assert swapped.status == 400
    assert swapped.json["jsonrpc"] == "2.0"
    assert {name: len(node.requests) for name, node in nodes.items()} == {"main": 1, "evm": 1, "web": 1}
    counted = {(row.kind, row.method) for row in (await gateway.driver.firewall.tables()).methods}
    assert counted == {("iri", "getNodeInfo"), ("evm", "eth_blockNumber")}


async def test_bans_hold_for_all_kinds_and_not_for_a_pool_without_a_policy(
    rig: tuple[Mixed, dict[str, Node]],
) -> None:
    gateway, _ = rig
    await gateway.driver.firewall.ban("127.0.0.1", 60)
    assert rule(await gateway.post("/", call("getNodeInfo"), **VERSION)) == "banned"
    assert rule(await gateway.post("/evm", json.dumps(BLOCK).encode())) == "banned"
    assert (await gateway.post("/web", b"x")).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/evm", b'{"jsonrpc":"2.0",!,"method":"eth_blockNumber","params":[]}'),
        ("/evm", b'{"jsonrpc":"2.0","method":"eth_getBalance","params":[' + b"A" * 81 + b',"latest"],!}'),
        ("/", b'{"command":"getTrytes","hashes":[""0x' + b"ab" * 20 + b'""]}'),
    ],
)
async def test_the_marks_of_one_kind_mean_nothing_in_another(
    rig: tuple[Mixed, dict[str, Node]], path: str, body: bytes
) -> None:
    gateway, nodes = rig
    answer = await gateway.post(path, body, **VERSION)
    assert (answer.status, rule(answer)) == (400, "json-syntax")
    assert not any(node.requests for node in nodes.values())
