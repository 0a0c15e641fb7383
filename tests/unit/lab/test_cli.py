"""`nodegate lab` from the outside, as a user and a service manager see it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from nodegate import cli
from support import free_port, until_sync

NODEGATE = [sys.executable, "-m", "nodegate", "lab"]


@dataclass
class Done:
    """A command line that has run."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """`run("list", "--json")` runs `nodegate lab list --json` in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        code = cli.run(["lab", *arguments])
        said = capsys.readouterr()
        return Done(returncode=code, stdout=said.out, stderr=said.err)

    return call


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """`start(*arguments)` runs `nodegate lab nodes` and returns it with its first line."""
    started = []

    def begin(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([*NODEGATE, "nodes", *arguments], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline()

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def running(start: Callable[..., Any]) -> dict[str, Any]:
    """A lab of two nodes, as its ready line describes it."""
    _, line = start("--count", "2", "--json", "--control", "0")
    document: dict[str, Any] = json.loads(line)
    return document


def test_the_ready_line_names_the_nodes_and_the_control_port(running: dict[str, Any]) -> None:
    assert set(running) == {"nodes", "control"}
    assert [set(node) for node in running["nodes"]] == [{"id", "url", "kind"}] * 2


def test_faults_are_given_shown_and_taken_away(running: dict[str, Any], run: Run) -> None:
    control = ["--control", running["control"]]
    given = run("fault", "iri-2", "lag", "--with", "milestones=7", *control)
    assert (given.returncode, given.stdout.split(": ")[1].strip()) == (0, "lag (milestones=7)")
    listed = json.loads(run("list", "--json", *control).stdout)["nodes"]
    assert [node["fault"] for node in listed] == [None, {"fault": "lag", "milestones": 7}]
    assert "lag (milestones=7)" in run("list", *control).stdout
    healed = run("heal", "iri-2", "--json", *control)
    assert json.loads(healed.stdout)["fault"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fault", "iri-9", "lag"], 6, "no node 'iri-9'"),
        (["fault", "iri-1", "melt"], 3, "not one of"),
        (["fault", "iri-1", "lag", "--with", "status=500"], 3, "does not take"),
        (["fault", "iri-1", "lag", "--with", "seven"], 3, "KEY=VALUE"),
        (["heal", "iri-9"], 6, "no node"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    running: dict[str, Any], run: Run, arguments: list[str], code: int, words: str
) -> None:
    done = run(*arguments, "--control", running["control"])
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_load_reports_and_fails_when_a_request_does(running: dict[str, Any], run: Run) -> None:
    url = running["nodes"][0]["url"]
    good = run("load", url, "-c", "2", "-s", "0.3", "--json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["ok"] > 10
    bad = run("load", f"http://127.0.0.1:{free_port()}", "-c", "1", "-s", "0.2")
    assert bad.returncode == 1
    assert "failed (refused)" in bad.stdout
    assert run("load", "http://192.0.2.1").returncode == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "moon"], "--kind"),
        (["--base-port", "65000", "--count", "1000"], "--base-port"),
    ],
)
def test_a_wrong_command_line_starts_nothing(run: Run, arguments: list[str], words: str) -> None:
    done = run("nodes", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr


def test_all_faults_are_listed(run: Run) -> None:
    assert {"slow", "hang", "refuse", "wrong-chain", "stall"} <= set(run("faults").stdout.split())


def test_without_a_lab_the_commands_say_so(run: Run) -> None:
    done = run("list", "--control", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 4
    assert "nodegate lab nodes" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_people_get_a_table_and_commands_to_try_and_a_signal_ends_it(
    start: Callable[..., Any], number: signal.Signals
) -> None:
    process, first = start("--count", "25", "--kind", "evm", "--control", "0")
    assert first.split() == ["node", "url", "kind"]
    shown = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
    assert "evm-1 " in shown
    assert "and 5 more" in shown
    assert "nodegate lab fault evm-2 lag --with milestones=20 --control http://127.0.0.1:" in shown
    process.send_signal(number)
    assert until_sync(lambda: process.poll() is not None or None) is True
    assert process.returncode == 0
