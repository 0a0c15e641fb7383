"""What an open page is told whose session is over, as after a restart of nodegate: to load itself anew.

A refused WebSocket would tell it nothing: it would try again for ever, and show what it knew last. So it gets the
answer that NiceGUI itself gives to a page it does not know, in the frames of Engine.IO 4 and Socket.IO 5.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from starlette.types import Receive, Send

WITHIN = 10.0
"""Seconds that the page has for its part."""
_OPEN = "0" + json.dumps({"sid": "over", "upgrades": [], "pingInterval": 25_000, "pingTimeout": 20_000})
_CONNECTS = "40"
_FAILED = "44" + json.dumps({"message": "Implicit handshake failed"})


async def say_farewell(receive: Receive, send: Send) -> None:
    """Take the WebSocket, refuse what it asks for in words that the page understands, and close it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WITHIN):
            await receive()  # websocket.connect
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": _OPEN})
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            if (message.get("text") or "").startswith(_CONNECTS):
                await send({"type": "websocket.send", "text": _FAILED})
    await send({"type": "websocket.close", "code": 1008})
