"""`nodegate lab hornet`: a simulated HORNET node with peers, to try `nodegate neighbours` on."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Annotated

import typer


def hornet(
    *,
    peers: Annotated[int, typer.Option(min=0, max=200, help="How many peers it has.")] = 3,
    silent: Annotated[int, typer.Option(min=0, max=200, help="So many of them bring nothing.")] = 0,
    generation: Annotated[int, typer.Option(min=1, max=2, help="HORNET 1 or HORNET 2.")] = 1,
    jwt: Annotated[str | None, typer.Option(help="The token that it wants; default: none.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback; 0: any free one.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a HORNET node's API for its peers on the loopback until Ctrl-C or SIGTERM."""
    from nodegate.lab.hornet import HornetNode

    async def run() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        node = HornetNode(peers, generation=2 if generation == 2 else 1, jwt=jwt)
        url = await node.start(port)
        node.silence([peer.id for peer in node.peers[len(node.peers) - min(silent, len(node.peers)) :]])
        print(
            json.dumps({"url": url}) if json_ else f"HORNET {generation} at {url}; Ctrl-C ends it.",
            flush=True,
        )
        try:
            await ended.wait()
        finally:
            await node.stop()

    asyncio.run(run())
