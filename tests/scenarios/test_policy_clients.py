"""Honest clients through the shipped policies: what a wallet and a web application ask, with their libraries."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import AsyncHTTPProvider, AsyncWeb3

from anvil import CHAIN_ID, Anvil, needs_anvil
from gateway import Gateway, ids, quick_lab

SCRIPTS = Path(__file__).parents[1] / "js"
IRI = {"X-IOTA-API-Version": "1", "Content-Type": "application/json"}
BROWSER = {"Origin": "https://wallet.example", "Access-Control-Request-Method": "POST"}

# The first account of every anvil; its key is public and worth nothing.
SENDER: LocalAccount = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
# Emits an event without topics and returns 42, whatever it is called with.
RUNTIME = "602a60005260206000a060206000f3"
CONTRACT = "0x600f8060095f395ff3" + RUNTIME

pytestmark = [pytest.mark.scenario, pytest.mark.npm]

needs_iota = pytest.mark.skipif(
    not (SCRIPTS / "node_modules" / "@iota" / "core").exists(),
    reason="the npm package @iota/core is not installed",
)


async def wallet(url: str) -> dict[str, Any]:
    """What tests/js/wallet.cjs reports."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("node"), SCRIPTS / "wallet.cjs", url,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)  # type: ignore[no-any-return]


@needs_iota
async def test_a_wallet_that_does_its_own_proof_of_work_meets_no_refusal() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes, strict=True) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            told = await wallet(gateway.url)
    assert told["info"]["appName"] == "IRI"
    assert len(told["address"]) == 2
    assert told["account"]["balance"] == 0
    assert told["balances"]["balances"] == [0]
    assert told["spent"] == [False]
    assert len(told["sent"]) == told["bundle"] == told["objects"] == len(told["trytes"]) == 2
    for field in ("tags", "addresses", "bundles"):
        assert sorted(told["found"][field]) == sorted(told["sent"]), field
    assert told["found"]["approvees"] == told["sent"][:1]
    assert len(told["states"]) == 2
    assert told["consistent"] is True
    assert told["sent"][0] in told["referenced"].values()
    assert told["promoted"] == 1
    for name, command in (
        ("pow", "attachToTangle"),
        ("interrupt", "interruptAttachingToTangle"),
        ("neighbours", "getNeighbors"),
    ):
        assert f"{command} is not served here" in told["refused"][name]


async def preflight(url: str, headers: str) -> tuple[int, Mapping[str, str]]:
    """What a browser is told that wants to send these headers."""
    async with (
        aiohttp.ClientSession() as session,
        session.options(url, headers={**BROWSER, "Access-Control-Request-Headers": headers}) as response,
    ):
        return response.status, {name.lower(): value.lower() for name, value in response.headers.items()}


async def test_a_wallet_in_a_browser_may_ask() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes, strict=True) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            status, told = await preflight(gateway.url, "content-type,x-iota-api-version")
            assert status in {200, 204}
            assert told["access-control-allow-origin"] in {"*", BROWSER["Origin"]}
            assert {"content-type", "x-iota-api-version"} <= {
                name.strip() for name in told["access-control-allow-headers"].split(",")
            }
            async with (
                aiohttp.ClientSession(headers={**IRI, "Origin": BROWSER["Origin"]}) as session,
                session.post(gateway.url, json={"command": "getNodeInfo"}) as response,
            ):
                assert response.status == 200
                assert response.headers.getall("Access-Control-Allow-Origin") in [["*"], [BROWSER["Origin"]]]


@asynccontextmanager
async def anvils(count: int) -> AsyncIterator[list[Anvil]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Anvil(f"anvil-{place}")) for place in range(1, count + 1)]


@asynccontextmanager
async def web3(url: str) -> AsyncIterator[AsyncWeb3[AsyncHTTPProvider]]:
    provider = AsyncHTTPProvider(url)
    try:
        yield AsyncWeb3(provider)
    finally:
        await provider.disconnect()


async def sent(client: AsyncWeb3[AsyncHTTPProvider], **fields: Any) -> Any:
    """The receipt of a transaction that is signed here, as wallets do, with all its fields asked for."""
    tip = await client.eth.max_priority_fee
    block = await client.eth.get_block("latest")
    transaction = {
        "from": SENDER.address,
        "nonce": await client.eth.get_transaction_count(SENDER.address, "pending"),
        "chainId": await client.eth.chain_id,
        "maxPriorityFeePerGas": tip,
        "maxFeePerGas": 2 * block["baseFeePerGas"] + tip,
        **fields,
    }
    transaction["gas"] = await client.eth.estimate_gas(transaction)
    signed = SENDER.sign_transaction(transaction)
    name = await client.eth.send_raw_transaction(signed.raw_transaction)
    receipt = await client.eth.wait_for_transaction_receipt(name, timeout=15, poll_latency=0.2)
    assert receipt["status"] == 1
    return receipt


@needs_anvil
async def test_web3_pays_deploys_calls_and_reads_events_through_the_shipped_policy() -> None:
    async with anvils(1) as nodes, Gateway(nodes, strict=True) as gateway:  # each anvil is a chain of its own
        await gateway.until_serving(*ids(nodes))
        async with web3(gateway.url) as client:
            assert await client.is_connected()
            assert "anvil" in await client.client_version
            assert await client.net.version == str(CHAIN_ID)
            assert (await client.eth.syncing) is False
            receiver = Account.create().address
            paid = await sent(client, to=receiver, value=10**15)
            assert await client.eth.get_balance(receiver) == 10**15
            assert (await client.eth.get_transaction(paid["transactionHash"]))["value"] == 10**15
            deployed = await sent(client, data=CONTRACT)
            address = deployed["contractAddress"]
            assert (await client.eth.get_code(address)).hex() == RUNTIME
            assert int((await client.eth.call({"to": address})).hex(), 16) == 42
            assert await client.eth.get_storage_at(address, 0)
            called = await sent(client, to=address)
            logs = await client.eth.get_logs(
                {"address": address, "fromBlock": deployed["blockNumber"], "toBlock": called["blockNumber"]}
            )
            assert [log["transactionHash"] for log in logs] == [called["transactionHash"]]
            latest = await client.eth.get_logs(
                {"address": address, "fromBlock": deployed["blockNumber"], "toBlock": "latest"}
            )
            assert latest == logs
            block = await client.eth.get_block(called["blockNumber"], full_transactions=True)
            assert called["transactionHash"] in [each["hash"] for each in block["transactions"]]
            history = await client.eth.fee_history(4, "latest", [10, 90])
            assert history["baseFeePerGas"]
            assert await client.eth.gas_price > 0


@needs_anvil
async def test_web3_sends_batches_and_is_told_what_is_refused() -> None:
    async with anvils(2) as nodes, Gateway(nodes, strict=True) as gateway:
        await gateway.until_serving(*ids(nodes))
        async with web3(gateway.url) as client:
            async with client.batch_requests() as batch:
                for _ in range(10):
                    batch.add(client.eth.get_block("latest"))  # type: ignore[arg-type]
                blocks = await batch.async_execute()
            assert len(blocks) == 10
        for method in ("eth_newFilter", "eth_sendTransaction", "personal_unlockAccount", "evm_mine"):
            status, document = await raw(gateway.url, method)
            assert status == 403
            assert document["jsonrpc"] == "2.0"
            assert "is not served here" in document["error"]["message"]


async def raw(url: str, method: str) -> tuple[int, Any]:
    """Status and document of one call."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": []}
    async with aiohttp.ClientSession() as session, session.post(url, json=call) as response:
        return response.status, await response.json()
