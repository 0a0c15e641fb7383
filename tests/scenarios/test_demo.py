"""The demo tells its whole story without a lost request, and leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import psutil
import pytest

from gateway import run

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

STORY = [
    "five nodes serve",
    "a node dies",
    "it is mended",
    "a node lags",
    "it is mended",
    "a node lies about its height",
    "it is mended",
    "a node is added",
    "a node is drained",
    "nodegate is killed (-9)",
    "nodegate is back",
    "the pool is given a size",
    "a node dies for good",
]


@pytest.fixture
def folder() -> Iterator[str]:
    """Where the demo keeps its files; pytest's own folders are too long for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="ngd-") as made:
        yield made


async def test_the_demo_goes_well_and_ends_with_a_pool_that_heals_itself(folder: str) -> None:
    said = await run("demo", "--json", environ={"TMPDIR": folder}, within=240)
    assert said.code == 0, said
    assert said.json["ok"], said.json
    assert said.json["fault"] is None
    assert [event["event"] for event in said.json["events"]] == STORY
    assert said.json["requests"]["failed"] == 0
    healer, _, rest = said.json["events"][-1]["text"].partition(" ")
    assert healer.startswith("main-auto-")
    assert rest.startswith("was started instead of iri-5")
    assert said.json["requests"]["by_node"][healer] > 0
    assert os.listdir(folder) == []
    left = [process for process in psutil.process_iter(["cmdline"]) if _mentions(process, folder)]
    assert left == []


def _mentions(process: psutil.Process, text: str) -> bool:
    return any(text in word for word in process.info["cmdline"] or ())
