"""Provider commands are bounded, and what goes wrong with them is told in their own words."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from nodegate.daemon import provider
from nodegate.errors import Unavailable
from support import until


async def call(
    script: str, tmp_path: Path, *, timeout: float = 30.0, stdin: bytes = b"", limit: int = 100
) -> bytes:
    return await provider.call(
        [sys.executable, "-c", script], environ={**os.environ, "WORD": "hello"}, stdin=stdin, timeout=timeout,
        limit=limit, directory=tmp_path,
    )  # fmt: skip


async def test_a_command_gets_input_environment_and_directory_and_gives_its_output(tmp_path: Path) -> None:
    script = "import os,sys; print(os.environ['WORD'], sys.stdin.read(), os.getcwd())"
    assert await call(script, tmp_path, stdin=b"there", limit=10_000) == f"hello there {tmp_path}\n".encode()


async def test_a_failure_is_told_in_the_last_line_of_standard_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"ended with exit code 3: no quota left$"):
        await call("import sys; sys.stderr.write('trace\\nno quota left\\n\\n'); sys.exit(3)", tmp_path)


async def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="/nowhere cannot be started: No such file"):
        await provider.call(["/nowhere"], environ={}, stdin=b"", timeout=5, limit=9, directory=tmp_path)


async def test_a_command_may_ignore_what_it_is_told(tmp_path: Path) -> None:
    assert await call("import os; os.close(0); print(1)", tmp_path, stdin=b"x" * 1_000_000) == b"1\n"


async def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    output = await call("print('x' * 3_000_000)", tmp_path, limit=1000)
    assert output == b"x" * 1001


async def test_what_a_command_leaves_in_the_background_does_not_hold_it_up(tmp_path: Path) -> None:
    script = "import subprocess as s, sys; p = s.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print(p.pid)"
    left = int(await call(script, tmp_path))
    try:
        assert psutil.pid_exists(left)
    finally:
        psutil.Process(left).kill()


SLOW = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("pids", "w").write(f"{os.getpid()} {child.pid}")
os.rename("pids", "started")
time.sleep(600)
"""


def living(tmp_path: Path) -> list[int]:
    found = []
    for pid in map(int, (tmp_path / "started").read_text().split()):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


async def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"took longer than 2 s"):
        await call(SLOW, tmp_path, timeout=2.0)
    await until(lambda: not living(tmp_path), what="the command and its child are gone")


async def test_who_is_cancelled_ends_the_command(tmp_path: Path) -> None:
    running = asyncio.create_task(call(SLOW, tmp_path))
    await until((tmp_path / "started").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not living(tmp_path), what="the command and its child are gone")
