"""`nodegate sockets` as it is typed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodegate.cli import run
from support import free_port, until_sync


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_quiet_node_is_fine(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sockets", "--port", str(port)]) == 0
    told = capsys.readouterr().out
    assert "CLOSE_WAIT" in told
    assert " ok" in told


def test_the_exit_code_is_that_of_the_worst(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sockets", "--port", str(port), "--files", "0,1"]) == 1
    assert run(["sockets", "--port", str(port), "--files", "0,0", "--json"]) == 2
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["ports"][0]["level"] == "critical"
    assert document["ports"][0]["sockets"]["listening"] == 1


@pytest.mark.parametrize("bounds", ["many", "5", "9,1", "-1,2"])
def test_wrong_bounds_are_told(bounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sockets", f"--owed={bounds}"]) == 3
    assert "two numbers" in capsys.readouterr().err


def test_metrics_are_printed_and_written(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sockets", "--port", str(port), "--prometheus"]) == 0
    assert f'nodegate_host_listening{{port="{port}"}} 1.0' in capsys.readouterr().out
    assert run(["sockets", "--port", str(port), "--textfile", str(tmp_path / "node.prom")]) == 0
    assert "nodegate_host_backlog" in (tmp_path / "node.prom").read_text()
    assert run(["sockets", "--port", str(port), "--textfile", str(tmp_path / "none" / "x")]) == 4


def test_metrics_are_served(port: int) -> None:
    address = f"127.0.0.1:{free_port()}"
    child = subprocess.Popen(
        [sys.executable, "-m", "nodegate", "sockets", "--port", str(port), "--serve", address],
        stderr=subprocess.PIPE,
    )
    try:
        text = until_sync(lambda: _get(f"http://{address}/metrics"), within=60, what="it serves")
        assert f'nodegate_host_listening{{port="{port}"}} 1.0' in text
    finally:
        child.terminate()
        child.communicate(timeout=30)


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return None
