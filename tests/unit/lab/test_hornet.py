"""`nodegate lab hornet` as a child process, and the API of its peers in both generations."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Literal

import httpx
import pytest

from nodegate.errors import Unavailable
from nodegate.lab.hornet import PATHS, HornetNode
from support import until


async def test_the_command_serves_peers_some_of_them_silent_and_ends_in_order() -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "nodegate",
            "lab",
            "hornet",
            "--peers",
            "2",
            "--silent",
            "1",
            "--jwt",
            "w",
            "--json",
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            url = json.loads(await process.stdout.readline())["url"]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get(PATHS[1])).status_code == 401

            async def new() -> list[int]:
                found = (await client.get(PATHS[1], headers={"Authorization": "Bearer w"})).json()["data"]
                return [peer["gossip"]["metrics"]["newMessages"] for peer in found]

            first = await new()

            async def one_moves() -> bool:
                now = await new()
                assert now[1] == first[1]
                return now[0] > first[0]

            await until(one_moves, what="the first peer brings something")
    finally:
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.parametrize(("generation", "unit"), [(1, "Messages"), (2, "Blocks")])
async def test_each_generation_has_its_own_words(generation: Literal[1, 2], unit: str) -> None:
    async with (
        HornetNode(1, generation=generation) as node,
        httpx.AsyncClient(base_url=node.url, trust_env=False) as client,
    ):
        document: Any = (await client.get(PATHS[generation])).json()
        (peer,) = document["data"] if generation == 1 else document
        assert f"new{unit}" in peer["gossip"]["metrics"]
        assert (await client.get(PATHS[3 - generation])).status_code == 404
        assert (await client.post(PATHS[generation], json={"multiAddress": 5})).status_code == 400
        assert (await client.post(PATHS[generation], content=b"{")).status_code == 400
        assert (await client.delete(f"{PATHS[generation]}/nobody")).status_code == 404
        assert (await client.delete(f"{PATHS[generation]}/{peer['id']}")).status_code == 204
        assert node.peers == ()


async def test_a_port_that_is_taken_is_said() -> None:
    async with HornetNode() as node:
        port = int(node.url.rpartition(":")[2])
        with pytest.raises(Unavailable, match=f"port {port} cannot be used"):
            await HornetNode().start(port)
