"""`nodegate up` in a child process, with a state directory, ports and an HAProxy of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import aiohttp
import psutil

from nodegate.lab.lab import Lab, LabOptions
from nodegate.lab.load import Load, LoadOptions, LoadReport
from nodegate.model import Seconds
from support import free_port, until, until_sync

QUICK = """
[probe]
interval = 0.25
timeout = 0.5

[pools.main]
server_timeout = 1.0
"""
"""A nodegate.toml for tests: everything is noticed within a second or two."""

UNPROBED = "getNodeAPIConfiguration"
"""A command that clients may send and probes never do: what a lab node counts of it came from clients."""

ONE_REQUEST: dict[str, Any] = {
    "connections": 1,
    "requests": 1,
    "rate": None,
    "bodies": (json.dumps({"command": UNPROBED}).encode(),),
    "expect": b"maxRequestsList",
}

NODEGATE = (sys.executable, "-m", "nodegate")
PATIENCE = 45.0
"""Seconds within which things must have happened, also on a busy machine."""


TRUSTING = 'kind = "{kind}"\n[client]\ntrusted = ["127.0.0.1/32"]\n'
"""The shipped policy with its whole guard, but without limits for the one address that tests ask from."""


class Declared(Protocol):
    """A node as a lab or a test has it."""

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def run(*arguments: str, environ: Mapping[str, str] | None = None, within: float = 90.0) -> Said:
    """One `nodegate` command line from start to end."""
    process = await asyncio.create_subprocess_exec(
        *NODEGATE, *arguments,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"{arguments} does not end: {out.decode()} {err.decode()}") from None
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


def declared(nodes: Iterable[Declared], pool: str = "main") -> str:
    """The nodes as tables of nodegate.toml."""
    return "".join(
        f'\n[[nodes]]\nid = "{node.id}"\nkind = "{node.kind}"\nurl = "{node.url}"\npool = "{pool}"\n'
        for node in nodes
    )


class Gateway:
    """One gateway. Use it as an async context manager: whatever happens, nothing of it is left afterwards.

    `nodes` are declared in its nodegate.toml behind `toml`. With `start=False` nothing runs yet. Without a
    `listen` the file's addresses count. `policy` is a document over the shipped policy of pool `main`. The tests'
    own address is trusted unless `strict` is set.
    """

    def __init__(
        self,
        nodes: Iterable[Declared] = (),
        *,
        toml: str = QUICK,
        start: bool = True,
        tls: bool = False,
        policy: str | None = None,
        strict: bool = False,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ngs-"))
        self.state = self.home / "s"
        self.config = self.home / "nodegate.toml"
        if policy is not None:
            (self.home / "policy.toml").write_text(policy)
            toml = toml.replace("[pools.main]\n", '[pools.main]\npolicy = "policy.toml"\n')
        self.config.write_text(toml + declared(nodes))
        self.listen = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.url = f"{'https' if tls else 'http'}://{self.listen}"
        self.process: asyncio.subprocess.Process | None = None
        self.prefix: tuple[str, ...] = ()  # what stands before the program, such as `ip netns exec NAME`
        self._log = self.home / "log"
        self._start = start
        self._strict = strict

    async def __aenter__(self) -> Self:
        try:
            if self._start:
                await self.start()
        except BaseException as error:
            await self.__aexit__(type(error))
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.log)
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for haproxy in self.haproxies():
            with suppress(psutil.NoSuchProcess):
                haproxy.kill()
        shutil.rmtree(self.home)

    # The process

    @property
    def command(self) -> tuple[str, ...]:
        """The options of `nodegate up`."""
        return (
            *("up", "--config", str(self.config), "--state", str(self.state), "--admin", self.admin),
            *(("--listen", self.listen) if self.listen else ()),
        )

    @property
    def log(self) -> str:
        """All that its nodegates have said so far."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, *, ready: bool = True) -> None:
        """`nodegate up`; with `ready` wait for /readyz."""
        if not self._strict and not self.state.exists():
            policies = self.state / "policies"
            policies.mkdir(parents=True, mode=0o700)
            for kind in ("iri", "evm"):
                (policies / f"{kind}.toml").write_text(TRUSTING.format(kind=kind))
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                *NODEGATE,
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            await until(self._ready_or_ended, what="the gateway is ready", within=60)
            assert self.alive, self.log

    async def _ready_or_ended(self) -> bool:
        return not self.alive or await self.readyz() == 200

    async def ended(self) -> int:
        """The exit code, once nodegate has ended."""
        assert self.process is not None
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await self.ended()

    async def kill(self) -> int:
        """SIGKILL for nodegate alone."""
        return await self.signal(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, as a service manager sends it."""
        return await self.signal(signal.SIGTERM)

    async def interrupt(self) -> int:
        """SIGINT, as Ctrl-C sends it."""
        return await self.signal(signal.SIGINT)

    async def restart(self) -> None:
        """SIGTERM and a new start."""
        await self.terminate()
        await self.start()

    async def down(self) -> Said:
        """`nodegate down`."""
        return await self.cli("down")

    async def cli(self, *arguments: str) -> Said:
        """A command for this gateway."""
        return await run(*arguments, "--state", str(self.state))

    # HAProxy

    def haproxies(self) -> list[psutil.Process]:
        """Master and workers of this gateway's HAProxy, masters first."""
        mine = str(self.state / "haproxy" / "haproxy.cfg")
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if mine in process.cmdline() and _lives(process):
                    found.append(process)
        pids = {process.pid for process in found}
        return sorted(found, key=lambda process: _parent(process) in pids)

    @property
    def haproxy_pids(self) -> list[int]:
        return [process.pid for process in self.haproxies()]

    def kill_haproxy(self) -> None:
        """SIGKILL for master and workers; they are gone when this returns."""
        doomed = self.haproxies()
        for process in doomed:
            process.kill()
        until_sync(lambda: not any(map(_lives, doomed)), what="HAProxy is dead")

    # The admin API

    async def api(self, method: str, path: str, document: object = None, *, expect: int | None = None) -> Any:
        """One call with the token of the state directory; the document it answers with."""
        headers = {"Authorization": f"Bearer {(self.state / 'token').read_text().strip()}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"http://{self.admin}{path}", json=document) as response,
        ):
            body = await response.read()
            good = response.status == expect if expect else response.status < 300
            assert good, f"{method} {path}: {response.status} {body!r}"
            return json.loads(body) if body else None

    async def readyz(self) -> int | None:
        """The status of /readyz, None while nobody answers."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{self.admin}/readyz") as response,
            ):
                return response.status
        except aiohttp.ClientError:
            return None

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """The rows of `nodegate nodes list --json`, by id."""
        return {row["id"]: row for row in (await self.api("GET", "/api/v1/nodes"))["nodes"]}

    async def status(self) -> dict[str, Any]:
        document: dict[str, Any] = await self.api("GET", "/api/v1/status")
        return document

    async def plan(self) -> dict[str, Any]:
        document: dict[str, Any] = await self.api("GET", "/api/v1/plan")
        return document

    async def intend(self, node: str, intent: str) -> None:
        """`nodes drain` and `nodes serve`."""
        await self.api("PATCH", f"/api/v1/nodes/{node}", {"intent": intent})

    async def until_node(
        self, node: str, condition: Callable[[dict[str, Any]], object], what: str, within: float = PATIENCE
    ) -> dict[str, Any]:
        """The node's row, once `condition` holds of it."""
        row: dict[str, Any] = {}

        async def holds() -> bool:
            row.clear()
            row.update((await self.nodes()).get(node, {}))
            return bool(row and condition(row))

        try:
            await until(holds, within=within, every=0.05)
        except AssertionError:
            raise AssertionError(f"not within {within} s: {node} {what}; it is {row}") from None
        return row

    async def until_serving(self, *nodes: str, within: float = PATIENCE) -> None:
        """All these nodes are up and get requests."""
        for node in nodes:
            await self.until_node(
                node, lambda row: row["status"] == "up" and row["serving"], "is up and serves", within
            )

    async def until_out(self, node: str, within: float = PATIENCE) -> dict[str, Any]:
        """The node is down and gets no more requests."""
        return await self.until_node(
            node, lambda row: row["status"] == "down" and row["serving"] is False, "is down and out", within
        )

    async def until_status(
        self, condition: Callable[[dict[str, Any]], object], what: str, within: float = PATIENCE
    ) -> dict[str, Any]:
        """The status document, once `condition` holds of it."""
        document: dict[str, Any] = {}

        async def holds() -> bool:
            document.clear()
            document.update(await self.status())
            return bool(condition(document))

        try:
            await until(holds, within=within, every=0.05)
        except AssertionError:
            raise AssertionError(f"not within {within} s: {what}; status is {document}") from None
        return document

    # Clients

    def load(self, **options: Any) -> Load:
        """A stream of requests through the gateway: modest, so that tests can share the machine."""
        chosen: dict[str, Any] = {"url": self.url, "connections": 6, "rate": 150.0, "expect": b'"appName"'}
        return Load(LoadOptions(**(chosen | options)))


async def flowing(load: Load, count: int = 40) -> None:
    """Wait until `count` further requests are answered."""
    goal = load.report().ok + count
    await until(lambda: load.report().ok >= goal, what="the stream of requests goes on")


async def served_by(load: Load, *nodes: str) -> None:
    """Wait until each of these nodes has answered a further request."""
    before = dict(load.report().by_node)

    def all_have() -> bool:
        now = load.report().by_node
        return all(now.get(node, 0) > before.get(node, 0) for node in nodes)

    await until(all_have, what=f"{nodes} answer requests")


def unharmed(report: LoadReport) -> None:
    """Requests were made, and not one failed."""
    assert report.ok > 0
    assert report.failures == 0, report.document()


def quick_lab(**options: Any) -> Lab:
    """A lab in this process whose network moves fast enough for a test."""
    return Lab(LabOptions(interval=Seconds(0.3), spread=Seconds(0.05), **options))


def ids(nodes: Sequence[Declared]) -> list[str]:
    return [node.id for node in nodes]


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    return False


def _parent(process: psutil.Process) -> int | None:
    with suppress(psutil.NoSuchProcess):
        return process.ppid()
    return None
