"""The client library of IRI's time, @iota/core, through the gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway, ids, quick_lab
from nodegate.lab.lab import Lab

SCRIPTS = Path(__file__).parents[1] / "js"

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.npm,
    pytest.mark.skipif(
        not (SCRIPTS / "node_modules" / "@iota" / "core").exists(),
        reason="the npm package @iota/core is not installed",
    ),
]


WITH_POW = """
kind = "iri"
[methods.attachToTangle]
deny = false
"""
"""The wallet leaves proof of work to the nodes, which the shipped policy does not open."""


async def wallet(url: str) -> dict[str, Any]:
    """What tests/js/iota.cjs reports."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("node"), SCRIPTS / "iota.cjs", url,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)  # type: ignore[no-any-return]


async def check_story(lab: Lab, gateway: Gateway) -> None:
    told = await wallet(gateway.url)
    assert told["info"]["appName"] == "IRI"
    assert told["balances"]["balances"] == [0]
    assert told["spent"] == [False]
    assert told["before"] == []
    assert len(told["attached"]) == len(told["prepared"]) == len(told["after"]) == 1
    assert told["trytes"] == told["attached"]
    (transaction,) = told["objects"]
    assert transaction["hash"] == told["after"][0]
    assert transaction["trunkTransaction"] == told["tips"]["trunkTransaction"]
    assert transaction["branchTransaction"] == told["tips"]["branchTransaction"]
    assert told["consistent"] is True
    assert len(told["states"]) == 1
    assert "getNeighbors" in told["refused"]
    assert lab.tangle is not None
    assert lab.tangle.get(told["after"][0]) is not None


async def test_a_wallet_reads_attaches_and_broadcasts_through_the_gateway() -> None:
    async with quick_lab(pow=True) as lab:
        await lab.start(3)
        async with Gateway(lab.nodes, policy=WITH_POW) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await check_story(lab, gateway)


async def test_a_wallet_does_not_notice_that_nodes_are_dead_and_lag() -> None:
    async with quick_lab(pow=True) as lab:
        await lab.start(5)
        async with Gateway(lab.nodes, policy=WITH_POW) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await lab.fault("iri-4", "lag", milestones=20)
            await gateway.until_out("iri-4")
            await lab.fault("iri-1", "refuse")  # not noticed by anybody when the wallet begins
            await check_story(lab, gateway)
