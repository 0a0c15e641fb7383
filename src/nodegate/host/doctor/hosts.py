"""Running a script on this host, or on another one by the system's own ssh. The only I/O of the audit."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from nodegate.errors import Malformed, Unavailable

CONNECT = 10
"""Seconds that ssh has for a connection."""
GATHER = 60.0
"""Seconds for all facts of a host; two are usual."""
MAX_OUTPUT = 32_000_000
LOCAL = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host to audit. `name` is what ssh is told (`user@host`, or a name of ~/.ssh/config), LOCAL for this one.
    `options` are further words for ssh, `sudo` asks for root by `sudo -n`."""

    name: str = LOCAL
    port: int | None = None
    options: tuple[str, ...] = ()
    sudo: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        return self.name == LOCAL

    def command(self) -> list[str]:
        """What to start; it reads a Python program."""
        python = ["python3" if not self.is_local else sys.executable, "-IS", "-"]
        words = ["sudo", "-n", "--", *python] if self.sudo else python
        return words if self.is_local else [*self.ssh(), "--", *words]

    def ssh(self, *more: str) -> list[str]:
        """ssh that asks nothing."""
        port = [] if self.port is None else ["-p", str(self.port)]
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT}", *self.options, *port, *more]
        return ["ssh", *options, self.name]


async def run_script(host: Host, text: str, *, within: float = GATHER) -> dict[str, Any]:
    """What the script printed.

    Raises Unavailable when the host cannot be reached, has no Python, refuses sudo, or takes longer than `within`
    seconds; Malformed when it prints no JSON object.
    """
    status, output, said = await _run(host.command(), text.encode(), within, host.name)
    if status != 0:
        raise Unavailable(f"{host.name}: {_why(host, status, said)}")
    try:
        found = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{host.name}: its answer is not JSON: {output[:80]!r}") from error
    if not isinstance(found, dict):
        raise Malformed(f"{host.name}: its answer is no object")
    return found


async def address_of(host: Host) -> str:
    """The name or address that ssh would connect to. Raises Unavailable."""
    status, output, said = await _run([*host.ssh("-G")], b"", CONNECT, host.name)
    lines = dict(line.split(" ", 1) for line in output.decode("utf-8", "replace").splitlines() if " " in line)
    if status != 0 or "hostname" not in lines:
        raise Unavailable(f"{host.name}: {_why(host, status, said)}")
    return lines["hostname"]


async def offered_methods(host: Host) -> list[str]:
    """How the running SSH daemon lets somebody in who shows no key: the words of its refusal.

    Raises Unavailable when it does not say.
    """
    target = Host(name="127.0.0.1") if host.is_local else host
    command = target.ssh(
        "-o", "PreferredAuthentications=none", "-o", "PubkeyAuthentication=no", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "ControlPath=none", "-o", "LogLevel=ERROR",
    )  # fmt: skip
    _, _, said = await _run([*command, "true"], b"", CONNECT + 5.0, host.name)
    text = said.decode("utf-8", "replace")
    if "Permission denied (" not in text:
        raise Unavailable(f"the daemon did not say which methods it offers: {_last(text)}")
    return sorted(text.rpartition("Permission denied (")[2].partition(")")[0].split(","))


async def _run(command: list[str], text: bytes, within: float, name: str) -> tuple[int, bytes, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"{name}: {command[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(within):
            output, said = await process.communicate(text)
    except TimeoutError as error:
        raise Unavailable(f"{name}: no answer within {within:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if len(output) > MAX_OUTPUT:
        raise Malformed(f"{name}: it printed more than {MAX_OUTPUT:,} bytes")
    return process.returncode or 0, output, said


def _why(host: Host, status: int, said: bytes) -> str:
    """A failure in words for who has to mend it."""
    text = said.decode("utf-8", "replace").strip()
    if host.sudo and ("sudo:" in text or "password is required" in text):
        return f"sudo refused ({_last(text)}); allow it without a password, or leave --sudo away"
    if status == 127:
        return "python3 is not installed there"
    if status == 255 and not host.is_local:
        return f"SSH failed: {_last(text)}"
    return _last(text) or f"ended with status {status}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
