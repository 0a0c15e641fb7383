"""Real EVM nodes behind the gateway, with web3 as the client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import TransactionNotFound

from anvil import CHAIN_ID, Anvil, needs_anvil
from gateway import QUICK, Gateway, declared, flowing, ids, quick_lab, served_by, unharmed
from nodegate.lab.load import Load

pytestmark = [pytest.mark.scenario, pytest.mark.npm, needs_anvil]

CHANGES_NOTHING = ("eth_blockNumber", "eth_chainId", "eth_gasPrice")


@asynccontextmanager
async def anvils(*chains: int) -> AsyncIterator[list[Anvil]]:
    """Anvils named anvil-1, anvil-2 and so on, one for each chain id."""
    async with AsyncExitStack() as stack:
        made = [Anvil(f"anvil-{place}", chain_id=chain) for place, chain in enumerate(chains, 1)]
        for anvil in made:
            await stack.enter_async_context(anvil)
        yield made


@asynccontextmanager
async def web3(url: str) -> AsyncIterator[AsyncWeb3[AsyncHTTPProvider]]:
    provider = AsyncHTTPProvider(url)
    try:
        yield AsyncWeb3(provider)
    finally:
        await provider.disconnect()


def reads(gateway: Gateway) -> Load:
    """Clients that read: what may be asked twice."""
    bodies = tuple(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
        for method in CHANGES_NOTHING
    )
    return gateway.load(bodies=bodies, headers={"Content-Type": "application/json"}, expect=b'"result"')


UNLOCKED = """
kind = "evm"
[methods.eth_sendTransaction]
class = "write"
deny = false
unknown_args = "allow"
"""
"""anvil signs for its own accounts, which no public node does and no shipped policy opens."""


async def test_web3_reads_the_chain_and_sends_a_transaction_through_the_gateway() -> None:
    # Three anvils are three chains: who reads what it wrote must come back to the same node.
    toml = QUICK + 'balance = "source"\n'
    async with anvils(*[CHAIN_ID] * 3) as nodes, Gateway(nodes, toml=toml, policy=UNLOCKED) as gateway:
        await gateway.until_serving(*ids(nodes))
        async with web3(gateway.url) as client:
            assert await client.eth.chain_id == CHAIN_ID
            first = await client.eth.block_number
            sender, receiver = (await client.eth.accounts)[:2]
            before = await client.eth.get_balance(receiver)
            sent = await client.eth.send_transaction({"from": sender, "to": receiver, "value": 10**18})
            receipt = await client.eth.wait_for_transaction_receipt(sent, timeout=10, poll_latency=0.1)
            assert receipt["status"] == 1
            assert receipt["blockNumber"] >= first
            assert await client.eth.get_balance(receiver) == before + 10**18
            block = await client.eth.get_block(receipt["blockNumber"])
            assert sent in block["transactions"]
        serving = 0
        for node in nodes:
            async with web3(node.url) as direct:
                try:
                    await direct.eth.get_transaction_receipt(sent)
                    serving += 1
                except TransactionNotFound:
                    pass
        assert serving == 1  # it was sent once, to one node


async def test_nodes_list_shows_anvil_nodes_with_their_heights() -> None:
    async with anvils(CHAIN_ID, CHAIN_ID) as nodes, Gateway(nodes) as gateway:
        await gateway.until_serving(*ids(nodes))
        rows = (await gateway.cli("nodes", "list", "--json")).json["nodes"]
        assert [(row["id"], row["kind"], row["status"]) for row in rows] == [
            ("anvil-1", "evm", "up"),
            ("anvil-2", "evm", "up"),
        ]
        assert all(row["height"] is not None and row["latency_ms"] > 0 for row in rows)
        assert all(row["software_version"] for row in rows)
        table = (await gateway.cli("nodes", "list")).out
        assert "anvil-1" in table
        height = rows[0]["height"]
        await gateway.until_node("anvil-1", lambda row: row["height"] > height, "makes blocks")


async def test_a_killed_anvil_costs_no_read_and_is_back_when_it_is_started_again() -> None:
    toml = QUICK + "max_lag = 1000\n"  # a chain of its own that begins again will never catch up
    async with anvils(*[CHAIN_ID] * 3) as nodes, Gateway(nodes, toml=toml) as gateway:
        await gateway.until_serving(*ids(nodes))
        async with reads(gateway) as stream:
            await served_by(stream, *ids(nodes))
            await nodes[1].kill()
            row = await gateway.until_out("anvil-2")
            assert "refused" in row["reasons"][0]
            unharmed(stream.restart_counts())
            await flowing(stream)
            assert "anvil-2" not in stream.report().by_node
            await nodes[1].start()
            await gateway.until_serving("anvil-2")
            await served_by(stream, "anvil-2")
        unharmed(stream.report())


async def test_a_frozen_anvil_costs_no_read() -> None:
    async with anvils(*[CHAIN_ID] * 3) as nodes, Gateway(nodes) as gateway:
        await gateway.until_serving(*ids(nodes))
        async with reads(gateway) as stream:
            await served_by(stream, *ids(nodes))
            nodes[2].freeze()
            row = await gateway.until_out("anvil-3")
            assert "0.5 s" in row["reasons"][0]
            await flowing(stream)
            nodes[2].thaw()
            await gateway.until_serving("anvil-3")
            await served_by(stream, "anvil-3")
        unharmed(stream.report())


async def test_an_anvil_on_another_chain_never_serves_and_the_reason_is_told() -> None:
    async with anvils(CHAIN_ID, CHAIN_ID, CHAIN_ID, 999) as nodes, Gateway(nodes[:3]) as gateway:
        await gateway.until_serving(*ids(nodes[:3]))
        async with reads(gateway) as stream:
            await gateway.api("POST", "/api/v1/nodes", {"id": "odd", "url": nodes[3].url, "kind": "evm"})
            row = await gateway.until_node("odd", lambda row: row["status"] != "unknown", "is judged")
            assert row["status"] == "down"
            assert "999" in row["reasons"][0]
            assert str(CHAIN_ID) in row["reasons"][0]
            await flowing(stream)
        unharmed(stream.report())
        assert "odd" not in stream.report().by_node
        assert "add pool_main/odd" not in gateway.log


async def test_evm_and_iri_nodes_stand_behind_one_address() -> None:
    async with quick_lab() as lab, anvils(CHAIN_ID) as nodes:
        await lab.start(1)
        toml = QUICK + declared(lab.nodes) + declared(nodes, pool="evm")
        async with Gateway(toml=toml) as gateway:
            await gateway.until_serving("iri-1", "anvil-1")
            async with web3(f"{gateway.url}/evm") as client:
                assert await client.eth.chain_id == CHAIN_ID
            async with gateway.load() as stream:
                await served_by(stream, "iri-1")
            unharmed(stream.report())
