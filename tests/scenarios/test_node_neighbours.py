"""`nodegate neighbours watch` in a real terminal, and its metrics, against a lab whose neighbours fall silent."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import NODEGATE, Gateway
from nodegate.lab.hornet import HornetNode
from nodegate.lab.lab import Lab, LabOptions
from nodegate.model import Seconds
from support import free_port, until
from terminal import NEEDS_TMUX, Terminal

pytestmark = pytest.mark.scenario

KNOWN = " ".join(f"tcp://192.0.2.{n}:15600" for n in (1, 2, 3, 4))


def lab() -> Lab:
    return Lab(LabOptions(interval=Seconds(0.2), trust_loopback=True, neighbors=4))


@NEEDS_TMUX
async def test_a_neighbour_that_falls_silent_is_shown_dead_removed_and_stays_removed(tmp_path: Path) -> None:
    file = tmp_path / "iri"
    file.write_text(f'# neighbours of this node\nIRI_NEIGHBORS="{KNOWN}"\n')
    async with lab() as running:
        (node,) = await running.start(1)
        watch = ("neighbours", "watch", "--node", node.url, "-i", "0.5", "--grace", "4s")
        with Terminal(*watch, "--remove-dead", "--file", str(file), columns=80) as terminal:
            print(await terminal.until("4 live", "192.0.2.4:15600", "█"))
            await running.fault(node.id, "silent", neighbours=1)
            print(await terminal.until("1 quiet"))
            screen = await terminal.until("tcp://192.0.2.4:15600 is removed", "3 live")
            print(screen)
            assert all(len(line) <= 80 for line in screen.splitlines())
            await running.fault(node.id, "refuse")
            await terminal.until("no node answers")
            await running.heal(node.id)
            await until(lambda: "no node answers" not in terminal.screen(), within=60, what="it is back")
            assert "3 live" in terminal.screen()
            terminal.keys("C-c")
            await terminal.until("ended with 0")
    assert file.read_text() == (
        '# neighbours of this node\nIRI_NEIGHBORS="tcp://192.0.2.1:15600 tcp://192.0.2.2:15600 tcp://192.0.2.3:15600"\n'
    )


async def test_the_exporter_outlives_the_node_and_tells_of_the_dead() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with HornetNode(3) as node:
        process = await asyncio.create_subprocess_exec(
            *(*NODEGATE, "neighbours", "watch", "--node", node.url, "--kind", "hornet", "--serve", address),
            *("-i", "0.3", "--grace", "2s", "--timeout", "2"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with httpx.AsyncClient(trust_env=False) as client:

                async def has(*words: str) -> bool:
                    try:
                        text = (await client.get(f"http://{address}/metrics")).text
                    except httpx.HTTPError:
                        return False
                    return all(word in text for word in words)

                live = 'nodegate_neighbours{state="live"} 3.0'
                await until(lambda: has("nodegate_neighbours_up 1.0", live), within=60, what="three are live")
                node.silence([node.peers[1].id])
                dead = f'nodegate_neighbour_dead{{neighbour="{node.peers[1].id}"}} 1.0'
                await until(lambda: has(dead), within=60, what="the silent one is dead")
                await node.stop()
                await until(lambda: has("nodegate_neighbours_up 0.0"), within=60, what="the node is away")
                assert not await has("nodegate_neighbour_dead{")
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def test_the_gateway_is_told_who_dies_and_comes_back_also_when_it_was_away() -> None:
    async with lab() as running:
        (node,) = await running.start(1)
        async with Gateway([node]) as gateway:
            await gateway.until_serving(node.id)
            wrong = await gateway.cli(
                "neighbours", "watch", "--node", node.url, "--tell", "nobody", "--for", "1s"
            )
            assert wrong.code == 6
            assert "nobody" in wrong.err
            watch = ("neighbours", "watch", "--node", node.url, "-i", "0.3", "--grace", "3s")
            process = await asyncio.create_subprocess_exec(
                *(*NODEGATE, *watch, "--tell", node.id, "--state", str(gateway.state)),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip

            async def told(kind: str) -> list[dict[str, Any]]:
                found = await gateway.api("GET", f"/api/v1/events?kind={kind}&node={node.id}")
                return list(found["events"])

            try:
                await running.fault(node.id, "silent", neighbours=1)
                await until(lambda: told("neighbour-dead"), within=60, what="the event")
                (dead,) = await told("neighbour-dead")
                assert dead["data"]["neighbour"] == "tcp://192.0.2.4:15600"
                await gateway.kill()
                await running.heal(node.id)
                await gateway.start()
                await until(lambda: told("neighbour-back"), within=60, what="its return")
            finally:
                process.send_signal(signal.SIGTERM)
                await process.wait()
