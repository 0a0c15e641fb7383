"""For all tests."""

from __future__ import annotations

import os
import sys

import pytest

from order import long_first

RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """A library of web3's raises the limit for the whole process at its import, and far enough that a deeply
    nested text overflows the stack instead of being refused."""
    sys.setrecursionlimit(RECURSION_LIMIT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a parallel run nobody waits at the end for a long test that started last."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = long_first(items, workers)
