"""What child processes inherit, and where they may work."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"


def use_tests() -> None:
    """Let the tests' own beds be imported: benchmarks start the same components."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))


def clean_environment() -> dict[str, str]:
    """Without NODEGATE_*: a benchmark must not meet the user's real gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NODEGATE_")}


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards; its name is short, since sockets lie in it."""
    path = Path(tempfile.mkdtemp(prefix="ngb-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
