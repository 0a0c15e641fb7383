"""What HAProxy says of its peers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support import until

LEARNED = 0x3
"""Both resynchronisations of a process are over, from its predecessor and from the others (PEERS_F_RESYNC_LOCAL
and PEERS_F_RESYNC_REMOTE in HAProxy's source). Before that it has nothing to hand over to a successor."""


async def show_peers(runtime_socket: Path) -> str:
    """The answer to `show peers`."""
    reader, writer = await asyncio.open_unix_connection(str(runtime_socket))
    try:
        writer.write(b"show peers\n")
        await writer.drain()
        return (await reader.read()).decode()
    finally:
        writer.close()


async def until_learned(runtime_socket: Path, *, within: float = 60.0) -> None:
    """HAProxy is connected to a peer and knows what the others know."""

    async def holds() -> bool:
        text = await show_peers(runtime_socket)
        flags = int(text.partition("flags=")[2].split()[0], 16)
        return "last_status=ESTA" in text and flags & LEARNED == LEARNED

    await until(holds, within=within, every=0.2, what="the peers have told each other what they know")
