"""A pool keeps its size: what dies is replaced, what is too much goes, and nothing that was started is forgotten."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway import QUICK, Gateway, flowing, quick_lab, unharmed
from nodegate.lab.control import Control
from nodegate.lab.lab import Lab
from support import until

pytestmark = pytest.mark.scenario

EAGER = "cooldown = 0.2\nreplace_after = 1.0\nidle_for = 0.5\ntimeout = 20.0\n"


@dataclass(frozen=True)
class Scene:
    lab: Lab
    gateway: Gateway

    async def rows(self) -> list[dict[str, Any]]:
        """Nodes that nodegate started."""
        return [row for name, row in (await self.gateway.nodes()).items() if "-auto-" in name]

    async def scaling(self) -> dict[str, Any]:
        document = await self.gateway.api("GET", "/api/v1/scaling")
        pool: dict[str, Any] = document["pools"][0]
        return pool

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """What was told of the kind, the oldest first."""
        document = await self.gateway.api("GET", f"/api/v1/events?kind={kind}")
        events: list[dict[str, Any]] = document["events"]
        return events

    async def until_started(self, count: int = 1) -> list[str]:
        async def serving() -> list[str]:
            found = [row["id"] for row in await self.rows() if row["serving"] and row["status"] == "up"]
            return found if len(found) == count else []

        names: list[str] = await until(serving, what=f"{count} started nodes serve", every=0.05)
        return names

    def of_its_own(self) -> list[str]:
        return [node.id for node in self.lab.nodes if "-auto-" in node.id]


@asynccontextmanager
async def scene(*, scaling: str = "size = 3\n", start: str = "", **options: Any) -> AsyncIterator[Scene]:
    """Three lab nodes behind a gateway whose pool the lab itself scales."""
    async with quick_lab() as lab:
        control = Control(lab)
        url = await control.start()
        provider = [sys.executable, "-m", "nodegate", "lab", "provider"]
        table = f"\n[pools.main.scaling]\n{scaling}{EAGER}"
        table += f"start = {start or json.dumps([*provider, 'start', '--control', url])}\n"
        table += f"stop = {json.dumps([*provider, 'stop', '--control', url])}\n"
        try:
            await lab.start(3)
            async with Gateway(lab.nodes, toml=QUICK + table, **options) as gateway:
                await gateway.until_serving("iri-1", "iri-2", "iri-3")
                yield Scene(lab, gateway)
        finally:
            await control.stop()


async def test_a_dead_node_is_replaced_and_the_replacement_goes_when_it_is_back() -> None:
    async with scene() as stage:
        load = stage.gateway.load()
        await load.start()
        await stage.lab.fault("iri-2", "refuse")
        (name,) = await stage.until_started()
        assert stage.of_its_own() == [name]
        await flowing(load)
        await stage.lab.heal("iri-2")
        await until(lambda: not stage.of_its_own(), what="the replacement is stopped")
        await until(stage_is_settled(stage), what="nothing is owed any more")
        unharmed(await load.stop())
        said = await stage.gateway.cli("scale", "status")
        assert said.code == 0
        assert "3 healthy, 3 wanted" in said.out
        told = await stage.events("scaled")
        assert [(row["data"]["action"], row["data"]["node"]) for row in told] == [
            ("start", name), ("drain", name), ("stop", name),
        ]  # fmt: skip
        assert {row["subject"] for row in told} == {"pool/main"}
        # Two, unless the machine was so busy that the first probes of the others took too long.
        assert re.fullmatch(f"pool main: {name} was started: [012] healthy nodes?, 3 wanted", told[0]["text"])


def stage_is_settled(stage: Scene) -> Any:
    async def settled() -> bool:
        return not (await stage.scaling())["own"] and not await stage.rows()

    return settled


async def test_a_node_that_was_started_is_not_forgotten_over_a_restart_and_goes_when_it_is_removed() -> None:
    async with scene(scaling="size = 4\n") as stage:
        (name,) = await stage.until_started()
        await stage.gateway.kill()
        await stage.gateway.start()
        assert [own["id"] for own in (await stage.scaling())["own"]] == [name]
        assert (await stage.gateway.cli("nodes", "remove", name)).code == 0
        await until(lambda: name not in stage.of_its_own(), what="the node itself is stopped")
        (other,) = await stage.until_started()
        assert other != name


async def test_a_provider_that_fails_is_told_in_its_own_words_and_asked_again_for_the_same_node(
    tmp_path: Path,
) -> None:
    calls = tmp_path / "calls"
    script = f"read -r line; echo $NODEGATE_NODE >> {calls}; echo 'no quota left' >&2; exit 4"
    async with scene(scaling="size = 4\n", start=json.dumps(["/bin/sh", "-c", script])) as stage:
        await until(
            lambda: calls.exists() and len(calls.read_text().split()) > 1, what="it is asked again", within=30
        )
        assert len(set(calls.read_text().split())) == 1
        said = await stage.gateway.cli("scale", "status", "--json")
        assert said.code == 1
        (pool,) = said.json["pools"]
        assert "ended with exit code 4: no quota left" in pool["failure"]
        assert [own["phase"] for own in pool["own"]] == ["starting"]
        told = await stage.events("scaling-failed")
        assert len(told) > 1
        assert told[0]["text"].endswith("ended with exit code 4: no quota left")
        assert told[0]["severity"] == "warning"

        async def fires() -> bool:
            alerts = await stage.gateway.api("GET", "/api/v1/alerts")
            return any(row["rule"] == "scaling-failed" for row in alerts["alerts"])

        await until(fires, what="somebody is told of it", within=30)


async def test_a_dry_run_shows_the_very_call_and_makes_none() -> None:
    async with scene(scaling="size = 4\ndry_run = true\n") as stage:
        await until(
            lambda: "dry run: would start a node" in stage.gateway.log, what="it says what it would do"
        )
        said = await stage.gateway.cli("scale", "status", "--dry-run")
        assert "would call:" in said.out
        assert "NODEGATE_ACTION=start" in said.out
        assert '"healthy": 3, "wanted": 4' in said.out
        assert stage.of_its_own() == []
        assert stage.gateway.log.count("dry run: would start") == 1


async def test_more_load_brings_nodes_up_to_the_limit() -> None:
    async with scene(scaling="size = 3\nmax_size = 4\nload_per_node = 20.0\n") as stage:
        load = stage.gateway.load(rate=120.0)
        await load.start()
        await stage.until_started(1)
        pool = await stage.scaling()
        assert pool["wanted"] == 4
        assert pool["rate"] > 60
        unharmed(await load.stop())
