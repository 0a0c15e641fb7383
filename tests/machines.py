"""Machines for tests of a cluster: each a network namespace with lab nodes, a gateway and what else it needs."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, Self

import aiohttp

from gateway import QUICK, TRUSTING, UNPROBED, Gateway
from netlab import Host, Net
from nodegate.render.keepalived import Vrrp, render_keepalived
from support import until

CLIENTS = 14267
ADMIN = 9780
HEALTH = 9781
NODES = 14265
BODY = json.dumps({"command": UNPROBED}).encode()
HEADERS = {"Content-Type": "application/json", "X-IOTA-API-Version": "1"}


class HostGateway(Gateway):
    """`nodegate up` in a namespace; its admin API answers on the host's own address."""

    def __init__(self, host: Host, clients: str, toml: str = QUICK, **options: Any) -> None:
        gateway = f'[gateway]\nhealth = "127.0.0.1:{HEALTH}"\n'
        super().__init__(toml=gateway + toml, start=False, **options)
        self.host = host
        self.prefix = ("ip", "netns", "exec", host.name)
        self.listen = f"0.0.0.0:{CLIENTS}"
        self.admin = f"{host.address}:{ADMIN}"
        self.url = f"http://{host.address}:{CLIENTS}"
        policies = self.state / "policies"
        policies.mkdir(parents=True, mode=0o700)
        for kind in ("iri", "evm"):
            text = TRUSTING.format(kind=kind).replace("127.0.0.1/32", f"{clients}/32")
            (policies / f"{kind}.toml").write_text(text)

    async def start(self, *, ready: bool = True) -> None:
        """`nodegate up`; several start at once on a machine that tests share, so they have a minute."""
        await super().start(ready=False)
        if ready:
            await until(self._ready_or_ended, within=60, what=f"the gateway in {self.host.name}")
            assert self.alive, self.log


class HostLab:
    """Lab nodes in a namespace. They keep to the loopback; with `public` the others reach them by relays at
    `NODES` and the ports after it."""

    def __init__(self, host: Host, count: int, folder: Path, *, public: bool = False) -> None:
        self.host = host
        self._log = folder / f"{host.name}-lab.log"
        base = 24265 if public else NODES
        self._process = host.spawn(
            sys.executable, "-m", "nodegate", "lab", "nodes", "--count", str(count), "--base-port", str(base),
            "--interval", "0.5", "--control", "0", "--json", log=self._log,
        )  # fmt: skip
        place = host.address if public else "127.0.0.1"
        self.urls = [f"http://{place}:{NODES + number}" for number in range(count)]
        self.relays = [self._relay(number) for number in range(count)] if public else []

    def _relay(self, number: int) -> Popen[bytes]:
        here = f"TCP-LISTEN:{NODES + number},bind={self.host.address},fork,reuseaddr"
        return self.host.spawn("socat", here, f"TCP:127.0.0.1:{24265 + number}")

    async def ready(self) -> None:
        """Wait until it has said that all nodes listen."""
        await until(lambda: '"control"' in self._log.read_text(), what=f"the lab in {self.host.name}")

    def kill(self) -> None:
        """The nodes die."""
        for process in (self._process, *self.relays):
            process.kill()
            process.wait()


@dataclass
class Watching:
    """A stream of requests to one address: how many were answered, which failed, and when. Times are monotonic."""

    answered: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    last_ok: float = 0.0
    longest: float = 0.0
    """Seconds between two answers that followed each other, at most."""

    def kinds(self) -> dict[str, int]:
        return dict(Counter(words for _, words in self.failed))


@asynccontextmanager
async def watching(url: str, *, every: float = 0.02, timeout: float = 0.4) -> AsyncIterator[Watching]:
    """Ask `url` again and again, each time on a new connection, as a client that knows only one address."""
    seen = Watching()

    async def ask(session: aiohttp.ClientSession) -> None:
        try:
            async with session.post(url, data=BODY, headers=HEADERS) as response:
                await response.read()
                good, words = response.status == 200, str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            good, words = False, type(error).__name__
        now = time.monotonic()
        if not good:
            seen.failed.append((now, words))
            return
        if seen.last_ok:
            seen.longest = max(seen.longest, now - seen.last_ok)
        seen.answered, seen.last_ok = seen.answered + 1, now

    async def stream() -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        limits = aiohttp.ClientTimeout(total=timeout)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limits, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                group.create_task(ask(session))
                await asyncio.sleep(every)

    task = asyncio.create_task(stream())
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await task


async def flows(seen: Watching, count: int = 20, *, within: float = 20.0) -> None:
    """Wait until `count` further requests are answered, none of them failing in between."""
    while True:
        goal, failed = seen.answered + count, len(seen.failed)
        await until(
            lambda: seen.answered >= goal or len(seen.failed) > failed,  # noqa: B023 -- asked at once
            within=within, what=f"{count} answers in a row; {seen.kinds()}",
        )  # fmt: skip
        if len(seen.failed) == failed:
            return


class Keepalived:
    """keepalived in a namespace, with the files that nodegate renders. They lie in a directory of root's, as it
    demands of scripts."""

    def __init__(self, net: Net, host: Host, priority: int, **options: Any) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="nodegate-test-", dir="/run"))
        self.home.chmod(0o755)
        self.host = host
        self._shared = net.shared
        vrrp = Vrrp(
            addresses=(f"{net.shared}/24",), interface="eth0", own=host.address, priority=priority,
            peers=tuple(other.address for other in net.hosts if other is not host),
            health=f"127.0.0.1:{HEALTH}", **options,
        )  # fmt: skip
        for file in render_keepalived(vrrp, directory=str(self.home)):
            path = self.home / Path(file.path).name
            path.write_text(file.text)
            path.chmod(file.mode)
        self.process = self.start()

    def start(self) -> Popen[bytes]:
        """keepalived, as its unit would start it."""
        self.process = self.host.spawn(
            "keepalived", "--dont-fork", "--log-console", "--log-detail", "--use-file", self.home / "keepalived.conf",
            "--pid", self.home / "pid", "--vrrp_pid", self.home / "vrrp.pid", log=self.home / "log",
        )  # fmt: skip
        return self.process

    def holds(self) -> bool:
        """Whether the shared address is on this host."""
        return self._shared in self.host.addresses()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


async def holder(
    parts: list[Keepalived], condition: Callable[[Keepalived], bool] = lambda part: True
) -> Keepalived:
    """The one that holds the shared address, once exactly one does and `condition` holds of it."""

    def one() -> Keepalived | None:
        holding = [part for part in parts if part.holds()]
        return holding[0] if len(holding) == 1 and condition(holding[0]) else None

    try:
        found: Keepalived = await until(one, within=30, what="one host has the shared address")
    except AssertionError as error:
        said = "\n".join(f"{part.host.name}: {part.holds()}\n{part.log}" for part in parts)
        raise AssertionError(f"{error}\n{said}") from None
    return found
