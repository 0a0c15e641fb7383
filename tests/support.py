"""What many tests need: free ports, waiting on a condition, builders of values."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
