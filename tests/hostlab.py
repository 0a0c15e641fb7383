"""Debian hosts with systemd as PID 1, booted by systemd-nspawn on the network of `netlab`, reached over real SSH.

    with network(2) as net, host(net.hosts[0], tmp_path) as debian:
        debian.ssh("sudo", "systemctl", "is-system-running")
        debian.inside("nft", "list", "ruleset")     # past SSH and the network

The root file system is made once (see `hostimage`); a host is an overlay on it and up in about a second. Hosts have no
way out but for that of `wayout`.

What differs from a real host: hard limit of 20,000 descriptors for the whole machine here, no cgroup limits where
the outer system has cgroup v1, the clock is that of the machine outside. Ubuntu and SELinux hosts cannot be had.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import netlab
from hostimage import USER, base, overlay, run
from support import until_sync

TOOLS = ("mmdebstrap", "systemd-nspawn", "ssh", "ssh-keygen", "nsenter")
ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
BOOT = 90.0
"""Seconds for a boot: one when the machine is idle."""


@dataclass(frozen=True, kw_only=True)
class Debian:
    """A booted host. `root` is its file system seen from outside, `leader` its PID 1 seen from outside, `key` the
    private key that logs in as `ops`, who may become root by sudo without a password."""

    net: netlab.Host
    root: Path
    leader: int
    key: Path

    @property
    def address(self) -> str:
        """Its IPv4 address, reachable from the test process."""
        return self.net.address

    def ssh_options(self, port: int = 22) -> list[str]:
        """Options for ssh (and Ansible's `ssh_args`): the key, no questions, no known hosts."""
        return [
            "-i", str(self.key), "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20",
        ]  # fmt: skip

    def ssh(
        self, *command: str, user: str = USER, port: int = 22, text: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH, with `text` as its input."""
        return subprocess.run(
            ["ssh", *self.ssh_options(port), f"{user}@{self.address}", *command],
            input=text, stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip

    def inside(
        self, *command: str, text: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host as root, past SSH and network."""
        words = [f"{name}={value}" for name, value in ENVIRON.items()]
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "--", "env", "-i", *words, *command],
            input=text, stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip

    def must(self, *command: str, text: str | None = None) -> str:
        """`inside`, and the output; fails the test when the command fails."""
        done = self.inside(*command, text=text)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the host, root's."""
        self.must("install", "-D", f"-m{mode:o}", "/dev/stdin", path, text=text)

    def answers(self, port: int, within: float = 2.0) -> bool:
        """Whether a TCP connection from the test process is accepted."""
        try:
            socket.create_connection((self.address, port), timeout=within).close()
        except OSError:
            return False
        return True


@contextmanager
def host(net: netlab.Host, folder: Path, *, sudo: bool = True) -> Iterator[Debian]:
    """Boot a Debian host in the namespace `net`; `folder` takes its files until it is powered off.

    Without `sudo`, `ops` is an ordinary user. Skips the test, with the reason, where hosts cannot be had.
    """
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as stack:
        root = stack.enter_context(overlay(Path(folder) / f"host-{secrets.token_hex(3)}", base()))
        key = _prepare(root, net, sudo=sudo)
        leader = stack.enter_context(_booted(root, net))
        debian = Debian(net=net, root=root, leader=leader, key=key)
        until_sync(lambda: _greets(debian), within=BOOT, what=f"SSH of {net.name}")
        yield debian


@cache
def why_not() -> str:
    """Why no Debian host can be booted here, empty if one can."""
    if reason := netlab.why_not(TOOLS):
        return reason
    if not Path("/sys/fs/cgroup").is_dir():
        return "needs control groups for systemd"
    return ""


def _prepare(root: Path, net: netlab.Host, *, sudo: bool) -> Path:
    """Names, a key of its own, and what the user may do. Returns the private key's path."""
    name = net.name
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    key = root.parent / "id_ed25519"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hostlab", "-f", str(key))
    ssh = root / "home" / USER / ".ssh"
    ssh.mkdir(mode=0o700)
    shutil.copy(key.with_suffix(".pub"), ssh / "authorized_keys")
    (ssh / "authorized_keys").chmod(0o600)
    run("chroot", str(root), "chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh")
    if sudo:
        grant = root / "etc/sudoers.d" / USER
        grant.write_text(f"{USER} ALL=(ALL) NOPASSWD:ALL\n")
        grant.chmod(0o440)
    return key


@contextmanager
def _booted(root: Path, net: netlab.Host) -> Iterator[int]:
    """Boot `root` in the namespace; gives its PID 1, and powers it off."""
    console = (root.parent / "console.log").open("wb")
    process = subprocess.Popen(
        ["systemd-nspawn", "-q", "-D", str(root), "-M", net.name, "--register=no", "--keep-unit",
         f"--network-namespace-path=/run/netns/{net.name}", "--capability=CAP_NET_ADMIN", "--resolv-conf=off",
         "--console=pipe", "--boot"],
        stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
    )  # fmt: skip
    console.close()
    leader = 0
    try:
        leader = until_sync(lambda: _child(process), within=BOOT, what=f"PID 1 of {net.name}")
        yield leader
    finally:
        _power_off(process, leader)


def _child(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is not None:
        raise AssertionError(f"systemd-nspawn ended with {process.returncode}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next((int(pid) for pid in children if _is_init(pid)), 0)


def _is_init(pid: str) -> bool:
    """Whether it is PID 1 in a namespace of its own; nspawn has short-lived helpers before."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())


def _power_off(process: subprocess.Popen[bytes], leader: int) -> None:
    with suppress(ProcessLookupError):
        if leader:
            os.kill(leader, signal.SIGRTMIN + 4)  # systemd: power off
    try:
        process.wait(10 if leader else 0)  # whatever does not stop by then is thrown away with the host
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.kill(leader or process.pid, signal.SIGKILL)
        process.wait(30)


def _greets(debian: Debian) -> bool:
    try:
        with socket.create_connection((debian.address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
