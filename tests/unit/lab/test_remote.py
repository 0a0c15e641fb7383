from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from nodegate.errors import BadDocument, Malformed, NotFound, Unavailable
from nodegate.lab.control import Control
from nodegate.lab.lab import Lab
from nodegate.lab.remote import RemoteLab
from support import free_port


@pytest.fixture
async def remote(lab: Lab) -> AsyncIterator[RemoteLab]:
    await lab.start(1)
    control = Control(lab)
    yield RemoteLab(await control.start())
    await control.stop()


async def test_everything_that_a_lab_does_can_be_done_from_afar(remote: RemoteLab, lab: Lab) -> None:
    assert [node["id"] for node in await remote.nodes()] == ["iri-1"]
    assert (await remote.fault("iri-1", "slow", seconds=1.5))["fault"] == {"fault": "slow", "seconds": 1.5}
    assert (await remote.heal("iri-1"))["fault"] is None
    added = await remote.add("evm")
    assert (added.id, added.kind) == ("evm-2", "evm")
    assert (await remote.node(added.id))["url"] == added.url
    await remote.remove(added.id)
    assert len(lab.nodes) == 1


async def test_errors_come_back_as_they_were_raised(remote: RemoteLab) -> None:
    with pytest.raises(NotFound, match="no node 'x'"):
        await remote.heal("x")
    with pytest.raises(BadDocument):
        await remote.fault("iri-1", "lag", milestones=-1)


async def test_a_lab_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no lab answers at"):
        await RemoteLab(f"http://127.0.0.1:{free_port()}").nodes()


@pytest.mark.parametrize("body", ["hello", "[]"])
async def test_something_else_on_the_port_is_told_apart(body: str) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text=body, content_type="text/html" if body == "hello" else "application/json")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with pytest.raises(Malformed, match="not a lab's control port"):
        await RemoteLab(f"http://127.0.0.1:{runner.addresses[0][1]}").nodes()
    await runner.cleanup()
