"""Plain requests take a short way through HAProxy's rules. Nobody can tell from what comes out of it: not from the
answer, not from the log, not from the counters, and every limit holds to the unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from dataplane_support import Response, call, server
from nodegate.haproxy.pools import backend_name
from policy_rig import BEHIND, VERSION, PolicyRig, rule

pytestmark = pytest.mark.scenario

ME = "127.0.0.1"
ADDRESS = "NODEGATE9".ljust(81, "9")
SHORT, LONG = "", BEHIND
"""Without a trusted proxy the short way is open; with one it is not there at all."""

PLAIN_INFO = b'{"command":"getNodeInfo"}'
COMMANDS: tuple[tuple[bytes, Mapping[str, str]], ...] = (
    (PLAIN_INFO, {}),
    (call("getNodeInfo"), {"User-Agent": "wallet"}),
    (PLAIN_INFO, {"Origin": "https://wallet.example"}),
    (PLAIN_INFO, {"X_Api_Key": "nobodys"}),
    (PLAIN_INFO, {"X_IOTA_API_Version": ""}),
    (PLAIN_INFO, {"X_IOTA_API_Version": "2"}),
    (PLAIN_INFO, {"Content_Encoding": "gzip"}),
    (PLAIN_INFO, {"Upgrade": "h2c", "Connection": "Upgrade"}),
    (PLAIN_INFO + b" ", {}),
    (PLAIN_INFO + b"\0", {}),
    (call("getBalances", addresses=[ADDRESS, ADDRESS], threshold=100), {}),
    (call("getBalances", addresses=[ADDRESS[:80]], threshold=100), {}),
    (call("getBalances", addresses=["@"], threshold=100), {}),
    (b'{"command":~"getNodeInfo"}', {}),
    (call("getTransactionsToApprove", depth=3), {}),
    (call("getTips"), {}),
    (call("getNeighbors"), {}),
    (b"", {}),
)


def rpc(method: str, *params: object, **more: object) -> bytes:
    """A JSON-RPC call as viem writes it."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} | more
    return json.dumps(body, separators=(",", ":")).encode()


CONTRACT = "0x" + "Ab" * 20
VIEW = {"to": CONTRACT, "data": "0x70a08231" + "00" * 32}
BLOCK = rpc("eth_blockNumber")
RPC_CALLS: tuple[tuple[bytes, Mapping[str, str]], ...] = (
    (BLOCK, {}),
    (BLOCK, {"path": "/v1/chain/evm"}),
    (BLOCK, {"path": "/v1/chain/evm/"}),
    (BLOCK, {"path": "/?x"}),
    (BLOCK, {"Origin": "https://wallet.example"}),
    (BLOCK, {"Cookie": "x" * 3000}),
    (BLOCK, {"X_Api_Key": "nobodys"}),
    (BLOCK + b"\0", {}),
    (rpc("eth_call", VIEW, "latest"), {}),
    (rpc("eth_call", {"data": "0x18160ddd", "to": CONTRACT}, "0x10"), {"path": "/v1/chain/evm"}),
    (rpc("eth_call", VIEW, "latest", {CONTRACT: {"balance": "0x1"}}), {}),
    (rpc("eth_getBalance", CONTRACT, "latest", id="6c3a-01"), {}),
    (rpc("eth_getBalance", CONTRACT[:41], "latest"), {}),
    (rpc("eth_getTransactionReceipt", "0x" + "0f" * 32), {}),
    (rpc("eth_sendRawTransaction", "0x02"), {}),
    (rpc("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x2"}), {}),
    (rpc("eth_accounts", id=10**16), {}),
    (rpc("eth_newFilter"), {}),
    (rpc("admin_peers"), {}),
    (b'{"jsonrpc":"2.0",!,"method":"eth_chainId"}', {}),
    (b'{"jsonrpc":"2.0","id":01,"method":"eth_chainId"}', {}),
    (b"[" + BLOCK + b"," + BLOCK + b"]", {}),
)
CALLS = {"iri": COMMANDS, "evm": RPC_CALLS}
SEEN = (
    "client", "key", "pool", "kind", "http", "path", "method", "class", "lane", "cost", "verdict", "rule",
    "reason", "status", "node", "retries",
)  # fmt: skip


async def heard(rig: PolicyRig) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]], Any]:
    """Answers, log and counters after all calls of the rig's kind."""
    await rig.serve()
    answers = []
    for body, headers in CALLS[rig.kind]:
        response = await rig.ask(body, ME, **headers)
        answers.append((response.status, rule(response), response.headers.get("access-control-allow-origin")))
    await rig.last_line()
    lines = [{name: line[name] for name in SEEN} for line in rig.lines()]
    tables = await rig.driver.firewall.tables()
    counters = (
        sorted((row.kind, row.client, row.requests, row.cost_10s, row.cost_1m) for row in tables.clients),
        sorted((row.kind, row.method, row.requests) for row in tables.methods),
        sorted((row.kind, row.rule, row.refused) for row in tables.rules),
    )
    return answers, lines, counters


@pytest.mark.parametrize("kind", sorted(CALLS))
async def test_nothing_tells_the_short_way_from_the_long_one(kind: str) -> None:
    async with PolicyRig(SHORT, kind) as short:
        assert "set-var(sess.account)" in short.driver_text()
        found = await heard(short)
    async with PolicyRig(LONG, kind) as long:
        assert "set-var(sess.account)" not in long.driver_text()
        assert await heard(long) == found
    answers, lines, _ = found
    method = {"iri": "getNodeInfo", "evm": "eth_blockNumber"}[kind]
    assert [status for status, *_ in answers[:2]] == [200, 200]
    assert "*" in [origin for _, _, origin in answers]
    assert lines[0] == {
        "client": ME, "key": "-", "pool": "main", "kind": kind, "http": "POST", "path": "/",
        "method": method, "class": "read", "lane": "read", "cost": 1, "verdict": "served", "rule": "-",
        "reason": "-", "status": 200, "node": "one", "retries": "0",
    }  # fmt: skip


async def test_a_dear_call_takes_the_short_way_into_its_own_lane() -> None:
    async with PolicyRig(SHORT, "evm") as rig:
        for lane in ("read", "heavy"):
            await rig.add(server(await rig.node(lane), backend=backend_name("main", lane)))
        assert (await rig.ask(BLOCK, ME)).status == 200
        assert (await rig.last_line())["node"] == "read"
        assert (await rig.ask(rpc("eth_call", VIEW, "latest"), ME, path="/v1/chain/evm")).status == 200
        line = await rig.last_line()
        assert [line[name] for name in ("path", "class", "cost", "node")] == [
            "/v1/chain/evm",
            "heavy",
            20,
            "heavy",
        ]


@pytest.mark.parametrize(
    ("budget", "name"), [("per_10s = 350\nper_1m = 9000", "budget-10s"), ("per_10s = 350\nper_1m = 350", "")]
)
async def test_a_budget_holds_to_the_unit(budget: str, name: str) -> None:
    priced = "[methods.getNodeInfo]\ncost = 100\n"
    async with PolicyRig(f"{priced}[budget]\n{budget}\n") as rig:
        node = await rig.serve()
        statuses = [(await rig.ask(PLAIN_INFO, ME)).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        spent = await rig.ask(PLAIN_INFO, ME)
        assert rule(spent).startswith(name or "budget-")
        assert len(node.requests) == 3
        (count,) = (await rig.driver.firewall.tables()).clients
        assert (count.requests, count.cost_10s) == (6, 300)


async def test_what_changes_at_run_time_holds_for_the_next_request_of_an_open_connection() -> None:
    async with PolicyRig(SHORT) as rig:
        await rig.serve()
        async with rig.client() as client:

            async def ask(**more: str) -> Response:
                return await client.send("POST", "/", PLAIN_INFO, VERSION | more)

            assert (await ask()).status == 200
            await rig.driver.firewall.ban(ME, 60)
            assert rule(await ask()) == "banned"
            assert await rig.driver.firewall.unban(ME)
            assert (await ask()).status == 200
            for toml, expected in (
                ('[client]\ndenied = ["127.0.0.0/8"]\n', "network-denied"),
                ('[client]\nallowed = ["192.0.2.0/24"]\n', "network-not-allowed"),
                (f'[client]\nkey_required = true\n[keys.app]\nhash = "{"ab" * 32}"\n', "key-required"),
                ("[methods.getNodeInfo]\ndeny = true\n", "method-denied"),
                ('[methods.getNodeInfo]\nrate = "1/1m"\n', ""),
            ):
                assert (await rig.put(toml)).reload == ""
                assert rule(await ask()) == expected, toml
            assert rule(await ask()) == "rate"
            assert (await rig.put("")).reload == ""
            assert (await ask()).status == 200


async def test_who_leaves_in_the_middle_of_a_body_has_a_line_too() -> None:
    async with PolicyRig(SHORT) as rig:
        await rig.serve()
        async with rig.client() as client:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            await client.writer.drain()
        rig.asked += 1
        line = await rig.last_line()
        assert [line[name] for name in ("pool", "method", "cost", "verdict")] == ["main", "-", 0, "refused"]


async def test_an_answer_that_no_node_gave_names_its_rule_there_and_in_the_log() -> None:
    async with PolicyRig(SHORT) as rig:
        node = await rig.serve()
        assert (await rig.ask(PLAIN_INFO, ME)).status == 200
        await node.stop()
        lost = await rig.ask(PLAIN_INFO, ME)
        line = await rig.last_line()
        assert lost.status in {502, 503}
        assert rule(lost) == line["rule"] in {"node-failed", "no-node", "queue"}
        assert line["verdict"] == "failed"
        assert json.loads(lost.body)["error"]
