"""One client's connection to a node of a lab, and the sockets that connections come from."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from nodegate.errors import Unavailable
from nodegate.lab import http1
from nodegate.lab.faults import FaultName
from nodegate.lab.http1 import Request, RequestReader
from nodegate.lab.server import NodeServer

_QUEUED_REQUESTS: Final = 64  # read ahead of one connection before its reading is paused
_BACKLOG: Final = 1024
_RESET: Final = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One client's connection: requests are answered one after the other, in order."""

    def __init__(self, find: Callable[[str], NodeServer | None]) -> None:
        self._find = find
        self._node: NodeServer | None = None
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._full = False
        self._paused = False
        self._left = False
        self.committed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport and not its type.
        self._transport = cast(asyncio.Transport, transport)
        local = transport.get_extra_info("sockname")
        # A port shared by many nodes is bound to all addresses: whatever is not for a node is dropped.
        node = self._find(local[0]) if local else None
        if node is None:
            self.reset()
            return
        self._node = node
        node.connections.add(self)
        node.accepted += 1
        node.max_open = max(node.max_open, len(node.connections))
        if node.fault is not None and node.fault.name is FaultName.REFUSE:
            self.reset()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._node is not None:
            self._node.connections.discard(self)
        if self._task is not None and not self.committed:
            self._task.cancel()
        self._transport = None
        self._waiting.clear()

    def eof_received(self) -> bool:
        # A client that leaves while its request is being worked on keeps the node's socket open until then.
        self._left = True
        return self._task is not None and self.committed

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._waiting.extend(self._reader.feed(data))
        if permission := self._reader.continue_wanted():
            self._transport.write(permission)
        self._pump()
        self._balance()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._pump()
        self._balance()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        if self._transport is None:
            return
        held = self._transport.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def answer(self, request: Request, response: bytes) -> None:
        """Write a response, and close when the request or the node's fault asks for it."""
        if self._transport is None or self._node is None:
            return
        self._transport.write(response)
        if not request.keep_alive or self._node.closes:
            self._waiting.clear()
            self._transport.close()

    def _pump(self) -> None:
        node = self._node
        while self._waiting and self._task is None and not self._full and node is not None:
            request = self._waiting.popleft()
            outcome = node.quick(request)
            if isinstance(outcome, bytes):
                self.answer(request, outcome)
                continue
            self.committed = False
            task = asyncio.get_running_loop().create_task(node.slow(request, outcome, self))
            self._task = task
            node.tasks.add(task)
            task.add_done_callback(self._finished)
        if self._reader.malformed is not None and self._task is None and not self._waiting:
            self._refuse_stream()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if self._node is not None:
            self._node.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.reset()
            raise error
        if self._transport is None:
            return
        if self._left:
            self._transport.close()
            return
        self._pump()
        self._balance()

    def _balance(self) -> None:
        """Read on only while few requests wait for their turn."""
        if self._transport is None or self._transport.is_closing():
            return
        too_many = len(self._waiting) > _QUEUED_REQUESTS
        if too_many and not self._paused:
            self._transport.pause_reading()
        elif self._paused and not too_many:
            self._transport.resume_reading()
        self._paused = too_many

    def _refuse_stream(self) -> None:
        """Answer bytes that are not HTTP as Undertow does: 400 without a body, and close."""
        if self._transport is not None:
            self._transport.write(http1.head(400, {}, 0, keep_alive=False))
            self._transport.close()


class Listener:
    """A listening socket that can stop and start again on the same port."""

    def __init__(self, find: Callable[[str], NodeServer | None], *, host: str) -> None:
        self._find = find
        self._host = host
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on `port` (0: one the system chooses). Raises Unavailable when the port is taken."""
        self._held = _bound(self._host, port)
        self.port = self._held.getsockname()[1]
        await self.resume()

    async def resume(self) -> None:
        """Listen on the port that is held."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._find), sock=held, backlog=_BACKLOG
        )

    async def pause(self) -> None:
        """Refuse connections but keep the port, so that nobody else takes it."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        # A bound socket that does not listen makes the system refuse connections.
        self._held = await _bound_again(self._host, self.port)

    def close(self) -> None:
        """Stop listening and give the port back."""
        if self._server is not None:
            self._server.close()
        if self._held is not None:
            self._held.close()
        self._server = self._held = None


def _bound(host: str, port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setblocking(False)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if not host.startswith("127."):
            _keep_to_loopback(held)
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --base-port"
        ) from error
    return held


def _keep_to_loopback(held: socket.socket) -> None:
    """Let only the loopback interface reach a socket that is bound to all addresses, where the system allows
    it; each connection's own address is checked besides."""
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    except (AttributeError, OSError):
        return


async def _bound_again(host: str, port: int) -> socket.socket:
    """Bind the port of a listener that was closed a moment ago: the loop may need a turn to let go of it."""
    for _ in range(100):
        try:
            return _bound(host, port)
        except Unavailable:
            await asyncio.sleep(0.01)
    return _bound(host, port)
