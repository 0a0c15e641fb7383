"""A gateway in a child process, and how much CPU and memory processes take."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import psutil

from bench.environment import clean_environment, free_port
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.errors import NodegateError, Unavailable
from nodegate.haproxy import wire
from nodegate.haproxy.reports import read_info
from nodegate.wiring import shut_down

TRUSTING = """\
kind = "iri"
[client]
trusted = ["127.0.0.0/8"]
[methods.getNodeInfo]
cache = 0
"""
"""The default policy with its whole guard, but without limits for the one address that all requests of a
benchmark come from, and without answers from a cache, which no node would see."""

T = TypeVar("T")

NODEGATE = (sys.executable, "-m", "nodegate")


async def until(
    look: Callable[[], Awaitable[T]], *, what: str, within: float = 60.0, every: float = 0.05
) -> T:
    """Look until what is seen is true, and return it. Raises Unavailable after `within` seconds."""
    deadline = time.monotonic() + within
    while not (seen := await look()):
        if time.monotonic() > deadline:
            raise Unavailable(f"not within {within:g} s: {what}")
        await asyncio.sleep(every)
    return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a group of processes has used: CPU seconds (user and system) since their start, resident memory
    in bytes now, and when this was read (monotonic seconds)."""

    cpu: float
    memory: int
    at: float

    @classmethod
    def of(cls, *pids: int) -> Usage:
        """The usage of these processes now. Raises Unavailable when one has ended."""
        try:
            found = [psutil.Process(pid) for pid in pids]
            times = [process.cpu_times() for process in found]
            memory = sum(process.memory_info().rss for process in found)
        except psutil.NoSuchProcess as error:
            raise Unavailable(f"process {error.pid} has ended before it was measured") from error
        return cls(cpu=sum(each.user + each.system for each in times), memory=memory, at=time.monotonic())

    def cores_since(self, before: Usage) -> float:
        """CPU seconds per second since `before`."""
        return (self.cpu - before.cpu) / (self.at - before.at)


class Daemon:
    """`nodegate up` in a child process, with directory, ports and HAProxy of its own. Use it as an async
    context manager: whatever happens, nothing of it is left afterwards."""

    def __init__(self, directory: Path, settings: str) -> None:
        directory.mkdir(exist_ok=True)
        self.state = directory / "s"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._admin = f"127.0.0.1:{free_port()}"
        self._log = directory / "log"
        self._config = directory / "nodegate.toml"
        self._config.write_text(settings, encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """nodegate's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def admin_url(self) -> str:
        """Where its admin API and its dashboard are."""
        return f"http://{self._admin}"

    @property
    def runtime(self) -> RuntimeSocket:
        """The runtime socket of its HAProxy."""
        return RuntimeSocket(self.state / "haproxy" / "haproxy.sock")

    async def haproxy_pid(self) -> int:
        """The process that carries the traffic."""
        return await worker_pid(self.runtime)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            with suppress(NodegateError):
                await shut_down(self.state)
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()
            with suppress(NodegateError):
                await shut_down(self.state)

    async def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *NODEGATE, "up", "-c", str(self._config), "--state", str(self.state),
                "--listen", self.url.removeprefix("http://"), "--admin", self._admin,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment(),
            )  # fmt: skip
        await until(self._ready, what="nodegate is ready", every=0.2)

    async def _ready(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            last = self.said().strip().splitlines()[-1:]
            raise Unavailable(f"nodegate did not start: {last[0] if last else 'it said nothing'}")
        try:
            await self.get("/readyz")
        except Unavailable:
            return False
        return True

    def said(self) -> str:
        """What it has written to its log so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def get(self, path: str) -> bytes:
        """The body of an answer of the admin API. Raises Unavailable."""
        try:
            headers = {"Authorization": f"Bearer {(self.state / 'token').read_text().strip()}"}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"http://{self._admin}{path}") as response,
            ):
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{path}: {error}") from error
        if response.status != 200:
            raise Unavailable(f"{path}: status {response.status}")
        return body

    async def status(self) -> dict[str, Any]:
        """What `nodegate status --json` prints."""
        document: dict[str, Any] = json.loads(await self.get("/api/v1/status"))
        return document

    async def metrics(self) -> dict[str, float]:
        """The daemon's metrics, by name with labels as they are written."""
        text = (await self.get("/metrics")).decode()
        return {match[1]: float(match[2]) for match in re.finditer(r"^([^#\s].*) (\S+)$", text, re.MULTILINE)}


async def worker_pid(runtime: RuntimeSocket) -> int:
    """The process id of the HAProxy that listens there."""
    (reply,) = await runtime.send([wire.SHOW_INFO])
    return read_info(reply).pid
