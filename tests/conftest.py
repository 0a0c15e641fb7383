"""For all tests."""

from __future__ import annotations

import sys

RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """A library of web3's raises the limit for the whole process at its import, and far enough that a deeply
    nested text overflows the stack instead of being refused."""
    sys.setrecursionlimit(RECURSION_LIMIT)
