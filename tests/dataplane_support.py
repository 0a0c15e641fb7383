"""For tests of the data plane: nodes that speak HTTP from raw bytes, a raw client, and a driver to play with."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nodegate.dataplane.driver import HaproxyDriver
from nodegate.model import Change, ChangeKind, Plan, Routing, Server, ServerState, Traffic
from nodegate.settings import Settings
from support import free_port, until

IRI = Traffic(method_key="command", idempotent=frozenset({"getNodeInfo", "findTransactions"}))
EVM = Traffic(method_key="method", idempotent=frozenset({"eth_blockNumber"}))


@dataclass
class Request:
    """What reached a node."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request], "bytes | None"]


WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "=="}
"""Headers that ask for a WebSocket."""


def http(body: bytes = b'{"ok":true}', status: int = 200, headers: str = "") -> bytes:
    """A whole HTTP/1.1 response."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers.encode(), body)


@dataclass
class Node:
    """A node on the loopback. `answer` gives the response's bytes, None closes the connection instead."""

    name: str
    answer: Answer = field(default=lambda _: http())
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    tls: ssl.SSLContext | None = None
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> Node:
        self.gate.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close the listener and reset every connection: from now on connections are refused."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (request := await read_request(reader)) is not None:
                self.requests.append(request)
                await self.gate.wait()
                if "websocket" in request.headers.get("upgrade", "").lower():
                    await echo(reader, writer, request.headers["sec-websocket-key"])
                    return
                answer = self.answer(request)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection, None at its end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method=method, path=path, headers=headers, body=body)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    """Switch to WebSocket and send back whatever comes. The magic text is RFC 6455's."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()


@dataclass
class Response:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One HTTP/1.1 connection to the gateway, byte by byte."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def send(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        lines = {"Host": "gateway.example"} | ({"Content-Length": str(len(body))} if body else {})
        head = "".join(f"{name}: {value}\r\n" for name, value in (lines | dict(headers or {})).items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(20):
            return await self.response()

    async def response(self) -> Response:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Response(status=int(first.split(" ")[1]), headers=headers, body=body)


def call(command: str, **more: Any) -> bytes:
    """The body of an IRI call."""
    return json.dumps({"command": command, **more}).encode()


def server(node: Node, pool: str = "main", **more: Any) -> Server:
    """`node` as a ready server."""
    values = {
        "backend": f"pool_{pool}", "name": node.name, "address": "127.0.0.1", "port": node.port,
        "weight": 100, "state": ServerState.READY,
    }  # fmt: skip
    return Server(**(values | more))


class Rig:
    """A driver with a real HAProxy in a directory of its own."""

    def __init__(self, document: Mapping[str, Any] | None = None, **traffic: Traffic) -> None:
        self.port = free_port()
        self.state = Path(tempfile.mkdtemp(prefix="ng-"))
        data = dict(document or {})
        data["gateway"] = {"listen": [f"127.0.0.1:{self.port}"]} | dict(data.get("gateway", {}))
        self.settings = Settings.model_validate(data)
        self.traffic = traffic or {"main": IRI}
        self.wanted: dict[tuple[str, str], Server] = {}
        self.nodes: list[Node] = []
        self.driver = self.new_driver()

    def new_driver(self) -> HaproxyDriver:
        """A driver as a nodegate that starts now has it: it knows nothing but the files."""
        self.driver = HaproxyDriver(self.settings, self.state)
        self.shape = self.driver.shape(self.traffic, self.traffic)
        return self.driver

    async def __aenter__(self) -> Rig:
        try:
            await self.driver.ensure()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.stop(grace=0)
        for node in self.nodes:
            await node.stop()
        shutil.rmtree(self.state)

    async def node(self, name: str, answer: Answer | None = None, **more: Any) -> Node:
        node = Node(name=name, **more)
        if answer is not None:
            node.answer = answer
        self.nodes.append(node)
        return await node.start()

    def client(self) -> Client:
        return Client(self.port)

    async def do(self, kind: ChangeKind, *servers: Server) -> tuple[str, ...]:
        """Apply one kind of change to servers."""
        for item in servers:
            key = (item.backend, item.name)
            if kind is ChangeKind.DELETE:
                self.wanted.pop(key, None)
            else:
                self.wanted[key] = item
        return await self.apply(Change(kind=kind, why="test", server=item) for item in servers)

    async def apply(self, changes: Iterable[Change], shape: Routing | None = None) -> tuple[str, ...]:
        shape = shape or self.shape
        wanted = Routing(skeleton=shape.skeleton, maps=shape.maps, servers=self.wanted)
        return await self.driver.apply(Plan(changes=tuple(changes)), wanted)

    async def add(self, *servers: Server) -> None:
        assert await self.do(ChangeKind.ADD, *servers) == ()

    async def reload(self, shape: Routing | None = None) -> tuple[str, ...]:
        return await self.apply([Change(kind=ChangeKind.RELOAD, why="test")], shape)

    async def server(self, name: str, pool: str = "main") -> Server:
        """How HAProxy reports the server now."""
        running = await self.driver.running()
        return running.routing.servers[f"pool_{pool}", name]

    async def names(self) -> set[str]:
        """The servers HAProxy has now."""
        return {name for _, name in (await self.driver.running()).routing.servers}


def drained(item: Server) -> Server:
    return replace(item, state=ServerState.DRAIN)


def resting(item: Server) -> Server:
    return replace(item, state=ServerState.MAINT)


class Stream:
    """Clients that ask all the time, and what became of their requests."""

    def __init__(self, rig: Rig, connections: int = 4, body: bytes | None = None) -> None:
        self.ok = 0
        self.failed: list[str] = []
        self._rig, self._body = rig, body or call("getNodeInfo")
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run()) for _ in range(connections)]

    async def __aenter__(self) -> Stream:
        await until(lambda: self.ok > 10 or self.failed, what="the stream flows")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def more(self, count: int = 50) -> None:
        """Wait until `count` further requests are answered."""
        goal = self.ok + count
        await until(lambda: self.ok >= goal or self.failed, what="the stream goes on")

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                async with self._rig.client() as client:
                    closing = False
                    while not self._stop.is_set() and not closing:
                        response = await client.send("POST", "/", self._body)
                        if response.status != 200:
                            self.failed.append(f"{response.status} {response.body!r}")
                            return
                        self.ok += 1
                        closing = response.headers.get("connection", "").lower() == "close"
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failed.append(repr(error))
                return
