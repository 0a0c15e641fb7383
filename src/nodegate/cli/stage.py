"""The stage of the demo: a lab, a gateway as a child process, and a stream of client requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nodegate.cli.client import AdminClient
from nodegate.cli.target import find_daemon
from nodegate.errors import NodegateError, Unavailable
from nodegate.lab.load import Load, LoadOptions
from nodegate.lab.process import LabProcess
from nodegate.lab.remote import LabNode
from nodegate.views import NodeRow, StatusDocument

T = TypeVar("T")

CLIENTS = 14267
ADMIN = 9780
POLL = 0.05
READY_WITHIN = 30.0
TURN_WITHIN = 30.0
"""Seconds that a chapter's turn may take before the demo calls it failed; each takes a few."""
END_WITHIN = 20.0
RATE = 100.0
CONNECTIONS = 8

SETTINGS = """\
# The demo's gateway: probes come faster than an operator would need them, so that the story is short.
[gateway]
listen = ["127.0.0.1:{clients}"]
admin = "127.0.0.1:{admin}"

[probe]
interval = 0.3
timeout = 1.0

[safety]
panic_threshold = 0.7
"""

SCALING = """
[pools.main.scaling]
size = {size}
start = {start}
stop = {stop}
cooldown = 1.0
replace_after = 10.0
idle_for = 10.0
timeout = 30.0
"""


def free_port(preferred: int) -> int:
    """`preferred` when nobody listens on it, else any free port of the loopback."""
    for port in (preferred, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise Unavailable("no free port on the loopback")


class Gateway:
    """`nodegate up` as a child process."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.config = directory / "nodegate.toml"
        self.log = directory / "nodegate.log"
        clients, admin = free_port(CLIENTS), free_port(ADMIN)
        self.url = f"http://127.0.0.1:{clients}"
        self.config.write_text(SETTINGS.format(clients=clients, admin=admin), encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until its first pass is applied. Raises Unavailable with its own last words."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "nodegate", "up", "-c", str(self.config), "--state", str(self.state),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=_environment(),
            )  # fmt: skip
        try:
            await until(self.status, lambda status: status.state == "ok", within=READY_WITHIN)
        except Unavailable as error:
            words = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"the gateway did not start: {words[0] if words else error}") from error

    async def kill(self) -> None:
        """SIGKILL nodegate; its HAProxy is not told."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Stop nodegate and HAProxy, whatever state they are in."""
        await self._end(signal.SIGINT)
        down = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nodegate", "down", "--state", str(self.state),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
        await down.wait()

    async def restart_with(self, settings: str) -> None:
        """Add to its nodegate.toml and restart nodegate alone, as after an upgrade. Raises as `start`."""
        with self.config.open("a", encoding="utf-8") as file:
            file.write(settings)
        await self._end(signal.SIGTERM)
        await self.start()

    async def _end(self, number: signal.Signals) -> None:
        """End nodegate in order; one that does not end is killed."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(number)
        try:
            async with asyncio.timeout(END_WITHIN):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def ask(self, question: Callable[[AdminClient], T]) -> T:
        """Call the admin API off the event loop, so that the clients' stream never waits for it."""

        def call() -> T:
            with AdminClient(find_daemon(self.state, None, None, environ={})) as client:
                return question(client)

        return await asyncio.to_thread(call)

    async def add(self, node: LabNode) -> None:
        """Declare a node of the lab."""
        await self.ask(lambda client: client.add({"id": node.id, "url": node.url, "kind": node.kind}))

    async def status(self) -> StatusDocument:
        """The gateway's own status."""
        return await self.ask(lambda client: client.status())

    async def nodes(self) -> dict[str, NodeRow]:
        """All nodes by id."""
        rows = await self.ask(lambda client: client.nodes().nodes)
        return {row.id: row for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a story plays on."""

    lab: LabProcess
    gateway: Gateway
    load: Load
    began: float

    def seconds(self) -> float:
        """Seconds since the curtain rose."""
        return time.monotonic() - self.began

    async def node(self, name: str, condition: Callable[[NodeRow], bool]) -> NodeRow:
        """Wait until the gateway says `condition` of node `name`; returns the row that met it."""
        return await until(lambda: self._row(name), condition)

    async def _row(self, name: str) -> NodeRow:
        return (await self.gateway.nodes())[name]


async def until(
    look: Callable[[], Awaitable[T]], condition: Callable[[T], bool], *, within: float = TURN_WITHIN
) -> T:
    """Look again and again until `condition` holds; returns what was seen.

    A look that raises NodegateError or KeyError counts as "not yet". Raises Unavailable after `within` s.
    """
    deadline = time.monotonic() + within
    last: object = "nothing seen"
    while time.monotonic() < deadline:
        try:
            seen = await look()
            if condition(seen):
                return seen
            last = seen
        except (NodegateError, KeyError) as error:
            last = error
        await asyncio.sleep(POLL)
    raise Unavailable(f"not within {within:g} s; last seen: {last}")


async def enter(directory: Path, *, nodes: int = 5) -> Stage:
    """Start everything. Raises Unavailable; what was started is stopped then."""
    lab = await LabProcess.start(nodes, arguments=("--interval", "1"))
    gateway = Gateway(directory)
    try:
        await gateway.start()
        for node in lab.nodes:
            await gateway.add(node)
        await until(gateway.nodes, lambda rows: all(row.serving for row in rows.values()))
    except BaseException:
        await gateway.stop()
        await lab.stop()
        raise
    load = Load(LoadOptions(url=gateway.url, rate=RATE, connections=CONNECTIONS))
    await load.start()
    return Stage(lab=lab, gateway=gateway, load=load, began=time.monotonic())


async def leave(stage: Stage) -> None:
    """Stop everything that `enter` started."""
    with suppress(NodegateError):
        await stage.load.stop()
    await stage.gateway.stop()
    await stage.lab.stop()


def scaled_by_the_lab(size: int, control: str) -> str:
    """Settings that keep the pool at `size` healthy nodes, with the lab at `control` as the provider."""
    provider = [sys.executable, "-m", "nodegate", "lab", "provider"]
    commands = {action: json.dumps([*provider, action, "--control", control]) for action in ("start", "stop")}
    return SCALING.format(size=size, **commands)


def haproxy_pid(status: StatusDocument) -> int | None:
    """The process id of the HAProxy that carries the traffic."""
    return status.haproxy.pid


def _environment() -> dict[str, str]:
    """Without NODEGATE_*: the demo must not meet the user's real gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NODEGATE_")}
