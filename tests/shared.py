"""Services that are dear to start: once per test run, used by all its worker processes, stopped by the last one.

State lies in a folder of the run; a lock file makes starting and stopping exclusive.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Facts = dict[str, Any]


def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` for this process alone; waits for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(folder: Path, start: Callable[[Path], Facts], stop: Callable[[Facts], None]) -> Iterator[Facts]:
    """The facts that `start(folder)` gave (JSON), in whichever process it ran; `stop(facts)` is called when the last
    user is gone. A start that failed is not tried again: everyone gets the same message."""
    me = os.getpid()
    book, lock = folder / ".users.json", folder / ".lock"
    with locked(lock):
        state = json.loads(book.read_text()) if book.exists() else {"users": [], "facts": None, "error": None}
        if state["facts"] is None and state["error"] is None:
            try:
                state["facts"] = start(folder)
            except Exception as error:
                state["error"] = f"{type(error).__name__}: {error}"
        state["users"].append(me)
        book.write_text(json.dumps(state))
    if state["error"] is not None:
        pytest.fail(f"{folder.name} did not start: {state['error']}")
    try:
        yield state["facts"]
    finally:
        with locked(lock):
            now = json.loads(book.read_text())
            now["users"] = [pid for pid in now["users"] if pid != me and Path(f"/proc/{pid}").exists()]
            if not now["users"] and now["facts"] is not None:
                stop(now["facts"])
                now["facts"] = None
            book.write_text(json.dumps(now))
