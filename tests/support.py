"""What many tests need: free ports, waiting on a condition, builders of values."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_LOWEST = 10_000
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on now.

    It lies below those that the kernel gives to outgoing connections: one of them could take it before whoever
    asked for it listens.
    """
    for _ in range(100):
        # Not by the tests' own seed, which is the same in all processes of a parallel run.
        port = _LOWEST + secrets.randbelow(_first_outgoing() - _LOWEST)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def _first_outgoing() -> int:
    try:
        return max(_LOWEST + 1000, int(_OUTGOING.read_text().split()[0]))
    except OSError:
        return 32_768


async def until(
    condition: Callable[[], Any | Awaitable[Any]],
    *,
    within: float = 20.0,
    what: str = "",
    every: float = 0.02,
) -> Any:
    """Wait until `condition()` (plain or async) is true and return its value; fail with `what` after `within` s."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}")
        await asyncio.sleep(every)


def until_sync(
    condition: Callable[[], Any], *, within: float = 20.0, what: str = "", every: float = 0.02
) -> Any:
    """`until` for tests without an event loop."""
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}")
        time.sleep(every)
