"""Hosts as network namespaces on one bridge, for tests of what happens between machines.

    with network(3) as net:
        net.hosts[0].spawn("consul", "agent", …)
        net.hosts[1].cut()                       # its cable is pulled
        net.hosts[1].heal()
        net.split([net.hosts[0]], net.hosts[1:])  # these no longer hear each other
        net.join()

The test process is on the same network, at `net.address`. Names are random, and whatever was started in a namespace
is killed with it. Skips the test, with the reason, where namespaces cannot be made.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from support import until_sync

PREFIX = 24
TOOL = "ip"
NOBODY = "02:00:00:00:00:01"


@dataclass
class Host:
    """One namespace with `eth0`, its `address` there, and the loopback."""

    name: str
    address: str
    switch: str
    port: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command in the host to its end."""
        return subprocess.run(
            [TOOL, "netns", "exec", self.name, *command], capture_output=True, text=True, check=False, timeout=60, **options
        )  # type: ignore[call-overload,no-any-return]  # fmt: skip

    def spawn(
        self, *command: str | Path, log: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in the host; it ends with the network at the latest."""
        output = subprocess.DEVNULL if log is None else log.open("ab")
        process = subprocess.Popen(
            [TOOL, "netns", "exec", self.name, *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, **(environ or {})},
        )  # fmt: skip
        if not isinstance(output, int):
            output.close()
        self.started.append(process)
        return process

    def pids(self) -> list[int]:
        """All processes in the host."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).stdout.split()]

    def addresses(self) -> set[str]:
        """The IPv4 addresses of eth0 now."""
        words = _ip("-n", self.name, "-4", "-o", "addr", "show", "dev", "eth0").stdout.split()
        return {words[place + 1].partition("/")[0] for place, word in enumerate(words) if word == "inet"}

    def cut(self) -> None:
        """Pull the cable: for everybody else the host is dead."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Plug it in again."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def deafen(self, other: str) -> None:
        """Send nothing to the address any more."""
        _ip("-n", self.name, "route", "replace", "unreachable", f"{other}/32")
        # Whoever is bound to the interface, as keepalived is, may send without a route: to nobody's address, then.
        _ip("-n", self.name, "neigh", "replace", other, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def hear(self, other: str) -> None:
        """Undo `deafen`; no error if there is nothing to undo."""
        for undo in (("route", "del", "unreachable", f"{other}/32"), ("neigh", "del", other, "dev", "eth0")):
            subprocess.run([TOOL, "-n", self.name, *undo], capture_output=True, check=False)

    def kill_all(self) -> None:
        """SIGKILL for everything in the host: its power is cut."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(30)
        until_sync(lambda: not self.pids(), what=f"{self.name} is empty")
        self.started.clear()


@dataclass
class Net:
    """The hosts, the test's own address among them, and a free address that could be a shared one."""

    hosts: tuple[Host, ...]
    address: str
    shared: str

    def split(self, one: Sequence[Host], other: Sequence[Host]) -> None:
        """Nothing passes between hosts of the two groups; the test still reaches all."""
        for left in one:
            for right in other:
                left.deafen(right.address)
                right.deafen(left.address)

    def join(self) -> None:
        """Undo every split, and plug in every cable."""
        for host in self.hosts:
            host.heal()
            for other in self.hosts:
                if other is not host:
                    host.hear(other.address)


@contextmanager
def network(count: int, *, needs: Sequence[str] = ()) -> Iterator[Net]:
    """`count` hosts. `needs` are programs without which the test is skipped."""
    if reason := why_not(tuple(needs)):
        pytest.skip(reason)
    tag = secrets.token_hex(3)
    subnet = _free_subnet()
    addresses = [str(address) for address in subnet.hosts()]
    switch, outside = f"ng-{tag}-sw", f"ng{tag}o"
    hosts = tuple(
        Host(name=f"ng-{tag}-{place + 1}", address=addresses[place], switch=switch, port=f"p{place + 1}")
        for place in range(count)
    )
    try:
        _lay(switch, outside, hosts, test=addresses[-1])
        yield Net(hosts=hosts, address=addresses[-1], shared=addresses[99])
    finally:
        for host in hosts:
            _remove(host)
        subprocess.run([TOOL, "netns", "del", switch], capture_output=True, check=False)
        subprocess.run([TOOL, "link", "del", outside], capture_output=True, check=False)


@cache
def why_not(needs: tuple[str, ...]) -> str:
    """Why there can be no network here, empty if there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if missing := [name for name in (TOOL, *needs) if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}: Debian packages iproute2 and of the same names"
    name = f"ng-{secrets.token_hex(3)}-try"
    made = subprocess.run([TOOL, "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network namespaces here: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


def _lay(switch: str, outside: str, hosts: Sequence[Host], *, test: str) -> None:
    """Make the bridge, plug every host in, and the test itself."""
    _ip("netns", "add", switch)
    _ip("-n", switch, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    _ip("-n", switch, "link", "set", "br0", "up")
    _ip("link", "add", outside, "type", "veth", "peer", "name", "p0", "netns", switch)
    _ip("-n", switch, "link", "set", "p0", "master", "br0", "up")
    _ip("addr", "add", f"{test}/{PREFIX}", "dev", outside)
    _ip("link", "set", outside, "up")
    for host in hosts:
        _ip("netns", "add", host.name)
        _ip("-n", host.name, "link", "set", "lo", "up")
        _ip(
            "-n", switch, "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.name
        )
        _ip("-n", switch, "link", "set", host.port, "master", "br0", "up")
        _ip("-n", host.name, "addr", "add", f"{host.address}/{PREFIX}", "dev", "eth0")
        _ip("-n", host.name, "link", "set", "eth0", "up")


def _remove(host: Host) -> None:
    with suppress(AssertionError):
        host.kill_all()
    subprocess.run([TOOL, "netns", "del", host.name], capture_output=True, check=False)


def _free_subnet() -> ipaddress.IPv4Network:
    """A network of 254 addresses that nothing here routes to."""
    taken = [
        ipaddress.ip_network(word, strict=False)
        for word in _ip("-4", "route", "show", "table", "all").stdout.split()
        if "/" in word and word[0].isdigit()
    ]
    while True:
        subnet = ipaddress.IPv4Network((0x0A000000 | secrets.randbelow(1 << 16) << 8, PREFIX))
        if not any(subnet.overlaps(other) for other in taken):
            return subnet


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([TOOL, *arguments], capture_output=True, text=True, check=True, timeout=30)
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
