"""`nodegate top` in a real terminal of 80 columns, before a real gateway."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from gateway import NODEGATE, Gateway, ids, quick_lab
from support import until
from terminal import NEEDS_TMUX, Terminal

pytestmark = pytest.mark.scenario


@NEEDS_TMUX
async def test_a_fleet_is_watched_drained_and_found_again_in_80_columns() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway, gateway.load():
            await gateway.until_serving(*ids(lab.nodes))
            with Terminal("top", "--state", str(gateway.state), "-i", "0.5") as terminal:
                screen = await terminal.until("3 nodes: 3 up", "iri-3", "requests/s")
                print(screen)
                assert all(len(line) <= 80 for line in screen.splitlines())
                await lab.fault("iri-2", "refuse")
                await terminal.until("2 up", "1 down")
                await lab.heal("iri-2")
                await terminal.until("3 up")
                terminal.keys("/", "iri-1")
                await terminal.until("2 hidden")
                terminal.keys("Escape")
                await terminal.until("3 rows")
                terminal.keys("?")
                await terminal.until("before you say yes")
                terminal.keys("q")
                await until(lambda: "before you" not in terminal.screen(), within=60, what="help is closed")
                terminal.keys("d")
                await terminal.until("Drain iri-1?")
                terminal.keys("y")
                await terminal.until("up (drain)")
                assert (await gateway.nodes())["iri-1"]["intent"] == "drain"
                terminal.keys("2")
                print(await terminal.until("METHOD", "getNodeInfo"))
                terminal.keys("3")
                print(await terminal.until("COST/MIN"))
                terminal.keys("4")
                print(await terminal.until("node-down", "rows by time"))
                await gateway.terminate()
                print(await terminal.until("connection lost"))
                await gateway.start()
                await terminal.until("3 nodes:")
                terminal.keys("q")
                await terminal.until("ended with 0")


@NEEDS_TMUX
async def test_a_remote_gateway_is_reached_by_address_and_token() -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            token = (gateway.state / "token").read_text().strip()
            elsewhere = {"NODEGATE_ADMIN": f"http://{gateway.admin}", "NODEGATE_TOKEN": token}
            with Terminal("top", environ=elsewhere) as terminal:
                await terminal.until("1 nodes:", "iri-1")
            with Terminal("top", environ=elsewhere | {"NODEGATE_TOKEN": "wrong"}) as terminal:
                await terminal.until("token", "ended with 5")


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    done = subprocess.run(
        [*NODEGATE, "top"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "nodes list --json" in done.stderr


def test_without_textual_it_says_how_to_install_it() -> None:
    hidden = "import sys, importlib.abc\n" \
        "class Hide(importlib.abc.MetaPathFinder):\n" \
        "    def find_spec(self, name, path=None, target=None):\n" \
        "        if name.split('.')[0] == 'textual': raise ModuleNotFoundError(name=name)\n" \
        "sys.meta_path.insert(0, Hide())\n" \
        "from nodegate.cli import main\n" \
        "sys.argv[1:] = ['top']\n" \
        "main()\n"  # fmt: skip
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [NODEGATE[0], "-c", hidden],
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == 1
    assert b'pip install "nodegate[top]"' in done.stderr
