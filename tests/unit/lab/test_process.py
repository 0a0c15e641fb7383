from __future__ import annotations

import os

import aiohttp
import pytest

from nodegate.errors import Unavailable
from nodegate.lab.load import GET_NODE_INFO, IRI_HEADERS
from nodegate.lab.process import LabProcess


async def test_a_lab_in_a_child_serves_is_switched_and_ends() -> None:
    async with (
        await LabProcess.start(2, arguments=["--interval", "0.2", "--seed", "child"]) as child,
        aiohttp.ClientSession(headers=IRI_HEADERS) as session,
    ):
        assert [node.id for node in child.nodes] == ["iri-1", "iri-2"]
        async with session.post(child.nodes[0].url, data=GET_NODE_INFO) as response:
            assert (await response.json(content_type=None))["appName"] == "IRI"
        await child.remote.fault("iri-2", "refuse")
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(child.nodes[1].url, data=GET_NODE_INFO)
        await child.remote.heal("iri-2")
        async with session.post(child.nodes[1].url, data=GET_NODE_INFO) as response:
            assert response.status == 200
        assert (await child.remote.node("iri-1"))["requests"] == {"getNodeInfo": 1}
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await child.stop()


async def test_a_child_that_cannot_start_says_why() -> None:
    with pytest.raises(Unavailable, match=r"release '9'"):
        await LabProcess.start(1, arguments=["--release", "9"])
