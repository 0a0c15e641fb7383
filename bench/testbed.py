"""The tests' real Consul and network, for benchmarks: the same components that tests start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.environment import use_tests

use_tests()

import pytest  # noqa: E402 -- the test bed says with it what is missing

from consul import ConsulAgent  # noqa: E402
from machines import (  # noqa: E402
    CLIENTS,
    HostGateway,
    HostLab,
    Keepalived,
    Watching,
    flows,
    holder,
    watching,
)
from netlab import Net, network  # noqa: E402

__all__ = [
    "CLIENTS", "ConsulAgent", "HostGateway", "HostLab", "Keepalived", "Missing", "Net", "Watching", "flows",
    "holder", "network", "said", "watching",
]  # fmt: skip


class Missing(Exception):
    """What a benchmark needs is not on this machine."""


@contextmanager
def said() -> Iterator[None]:
    """Raise Missing with the reason where a test would be skipped."""
    try:
        yield
    except pytest.skip.Exception as error:
        raise Missing(str(error)) from error
