"""A lab as a provider keeps the contract that every provider keeps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from gateway import run
from nodegate.lab.control import Control
from nodegate.lab.lab import Lab


@pytest.fixture
async def control(lab: Lab) -> AsyncIterator[str]:
    port = Control(lab)
    yield await port.start()
    await port.stop()


async def call(action: str, control: str, **environ: str) -> tuple[int, str, str]:
    said = await run(
        "lab", "provider", action, "--control", control, environ={"NODEGATE_KIND": "iri"} | environ
    )
    return said.code, said.out, said.err


async def test_a_start_that_is_called_twice_gives_the_same_node(lab: Lab, control: str) -> None:
    first = await call("start", control, NODEGATE_NODE="main-auto-abc123")
    assert first[0] == 0, first
    assert await call("start", control, NODEGATE_NODE="main-auto-abc123") == first
    (node,) = lab.nodes
    assert node.id == "main-auto-abc123"
    assert json.loads(first[1]) == {"url": node.url}


async def test_a_stop_that_is_called_twice_is_no_error(lab: Lab, control: str) -> None:
    await lab.add("iri", name="main-auto-abc123")
    for _ in range(2):
        assert (await call("stop", control, NODEGATE_NODE="main-auto-abc123"))[0] == 0
        assert lab.nodes == ()


async def test_without_a_node_to_be_named_nothing_is_started(lab: Lab, control: str) -> None:
    code, _, words = await call("start", control)
    assert code == 3
    assert "NODEGATE_NODE: is not set" in words
    assert lab.nodes == ()


@pytest.mark.parametrize("name", ["a b", "../x", "x" * 64])
async def test_a_name_that_no_node_may_have_is_refused(lab: Lab, control: str, name: str) -> None:
    code, _, words = await call("start", control, NODEGATE_NODE=name)
    assert code != 0
    assert words
    assert lab.nodes == ()
