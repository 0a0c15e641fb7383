from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from daemon_double import TOKEN, Command, DaemonDouble, a_server, a_verdict, an_iri, served
from nodegate import __version__
from nodegate.cli import COMMANDS
from nodegate.cli.completion import kinds, node_ids, pools
from nodegate.model import Change, ChangeKind, Plan, Status, Withheld
from support import free_port, until_sync


def test_the_plan_is_told_in_words(daemon: DaemonDouble, state: Path, command: Command):
    assert "nothing to change" in command("plan").err
    change = Change(kind=ChangeKind.SET_WEIGHT, why="a is degraded", server=a_server("a", weight=10))
    daemon.plan = Plan(changes=(change,), withheld=(Withheld(change=change, rule="panic", why="3 of 5"),))
    daemon.facts = {"refused": ("no room",)}
    daemon.refresh()
    assert command("plan").out.splitlines() == [
        "1. set weight pool_main/a to 10: a is degraded",
        "withheld by panic: set weight pool_main/a to 10: 3 of 5",
        "refused by HAProxy: no room",
    ]
    assert json.loads(command("plan", "--json").out)["changes"][0]["node"] == "a"


def test_the_status_is_told_in_words(daemon: DaemonDouble, state: Path, command: Command):
    daemon.add(an_iri("a"), a_verdict("a", Status.DEGRADED, reasons=("x",)), a_server("a"))
    assert command("status").code == 0
    daemon.facts = {"haproxy_error": "no answer"}
    daemon.refresh()
    done = command("status")
    assert done.code == 1
    assert "impaired" in done.out
    assert "! HAProxy: no answer" in done.out
    assert json.loads(command("status", "--json").out)["pools"][0]["degraded"] == 1


def test_the_token_is_printed_for_others_to_use(state: Path, command: Command):
    assert command("token").out == f"{TOKEN}\n"


def test_no_daemon_is_said_with_what_to_do(command: Command, tmp_path: Path):
    for arguments in (("status",), ("plan",), ("nodes", "list"), ("nodes", "drain", "a"), ("token",)):
        done = command(*arguments, "--state", str(tmp_path / "none"))
        assert (done.code, done.out) == (4, "")
        assert len(done.err.splitlines()) == 1
        assert "nodegate up" in done.err
        assert str(tmp_path / "none") in done.err


def test_a_daemon_that_is_gone_is_said_with_its_address(state: Path, command: Command):
    (state / "admin").write_text(f"http://127.0.0.1:{free_port()}\n")
    done = command("status")
    assert done.code == 4
    assert "no nodegate answers at http://127.0.0.1:" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_state_option_wins_over_the_variable(
    state: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NODEGATE_STATE", "/nowhere")
    assert command("status").code == 4
    assert command("status", "--state", str(state)).code == 0


def test_a_daemon_is_found_by_url_and_token(
    daemon: DaemonDouble, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with served(daemon) as url:
        assert command("status", "--admin", url, "--token", TOKEN).code == 0
        assert command("status", "--admin", url.removeprefix("http://"), "--token", TOKEN).code == 0
        wrong = command("status", "--admin", url, "--token", "other")
        assert wrong.code == 5
        assert "does not take this token" in wrong.err
        without = command("status", "--admin", url)
        assert without.code == 3
        assert "NODEGATE_TOKEN" in without.err
        monkeypatch.setenv("NODEGATE_TOKEN", TOKEN)
        monkeypatch.setenv("NODEGATE_ADMIN", url)
        assert command("status").code == 0


def test_the_own_token_is_used_for_the_own_url_and_sent_nowhere_else(
    state: Path, command: Command, daemon: DaemonDouble
):
    url = (state / "admin").read_text().strip()
    assert command("status", "--admin", url).code == 0
    elsewhere = command("status", "--admin", "http://192.0.2.1:9780")
    assert elsewhere.code == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_token_of_another_user_is_said(state: Path, command: Command):
    (state / "token").chmod(0)
    assert command("status").code == 5


def test_something_else_at_the_address_is_said(command: Command, tmp_path: Path):
    page = tmp_path / "site"
    page.mkdir()
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(page)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        arguments = ("status", "--admin", f"127.0.0.1:{port}", "--token", "x")
        until_sync(lambda: command(*arguments).code != 4, what="the file server to answer")
        done = command(*arguments)
        assert done.code == 8
        assert "does not speak nodegate's API" in done.err
    finally:
        server.kill()
        server.wait()


def test_an_impossible_url_is_a_fault_of_the_command_line(command: Command):
    done = command("status", "--admin", "ftp://x", "--token", "x")
    assert done.code == 3
    assert "--admin" in done.err


def test_a_lost_registry_exits_as_unavailable_in_its_words(
    daemon: DaemonDouble, state: Path, command: Command
):
    daemon.registry.lost = "registry.db is locked by another process"
    done = command("nodes", "add", "http://192.0.2.1", "--kind", "iri")
    assert done.code == 4
    assert done.err == "nodegate: registry.db is locked by another process\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("nodes", "nope"),
        ("nodes", "add"),
        ("nodes", "list", "--nope"),
        ("nodes", "list", "-s", "x"),
    ],
)
def test_a_wrong_command_line_exits_3_and_points_to_help(command: Command, arguments: tuple[str, ...]):
    done = command(*arguments)
    assert done.code == 3
    assert done.out == ""
    assert "--help" in done.err


def test_help_names_every_command(command: Command):
    done = command("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert name in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_explains_itself(command: Command, name: str):
    done = command(name, "--help")
    assert done.code == 0, done.err
    assert f"nodegate {name}" in done.out


def test_versions_are_printed(command: Command):
    assert command("--version").out == f"nodegate {__version__}\n"
    versions = json.loads(command("version", "--json").out)
    assert versions["nodegate"] == __version__
    assert versions["haproxy"].startswith("2.")


def test_a_good_configuration_is_said_to_be_good(command: Command, tmp_path: Path):
    file = tmp_path / "nodegate.toml"
    file.write_text('[probe]\ninterval = 5\n\n[[nodes]]\nurl = "http://192.0.2.1:14265"\nkind = "iri"\n')
    done = command("config", "check", str(file))
    assert (done.code, done.err) == (0, "")
    assert "1 nodes in 1 pools" in done.out
    assert json.loads(command("config", "check", str(file), "--json").out)["ok"] is True


def test_every_fault_of_a_configuration_has_file_line_and_key(command: Command, tmp_path: Path):
    file = tmp_path / "nodegate.toml"
    file.write_text('[probe]\ninterval = 0\ncolour = "red"\n')
    done = command("config", "check", str(file))
    assert done.code == 3
    assert f"{file}:2: probe.interval:" in done.err
    assert f"{file}:3: probe.colour: unknown key" in done.err
    document = json.loads(command("config", "check", str(file), "--json").out)
    assert [(fault["line"], fault["key"]) for fault in document["faults"]] == [
        (2, "probe.interval"),
        (3, "probe.colour"),
    ]


def test_a_kind_that_is_not_installed_is_a_fault_of_the_configuration(command: Command, tmp_path: Path):
    file = tmp_path / "nodegate.toml"
    file.write_text('[[nodes]]\nurl = "http://192.0.2.1:14265"\nkind = "irc"\n')
    done = command("config", "check", str(file))
    assert done.code == 3
    assert f"{file}:3: nodes[0].kind: 'irc'" in done.err


def test_a_configuration_that_cannot_be_read_is_said(command: Command, tmp_path: Path):
    done = command("config", "check", str(tmp_path / "none.toml"))
    assert done.code == 3
    assert "cannot be read" in done.err


def test_completion_knows_nodes_pools_and_kinds_and_is_silent_without_a_daemon(
    daemon: DaemonDouble, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    daemon.add(an_iri("alpha", pool="old"))
    daemon.add(an_iri("beta"))
    assert node_ids("a") == ["alpha"]
    assert node_ids("") == ["alpha", "beta"]
    assert pools("") == ["main", "old"]
    assert kinds("i") == ["iri"]
    monkeypatch.setenv("NODEGATE_STATE", "/nowhere")
    assert node_ids("") == []
    assert capfd.readouterr() == ("", "")


def test_the_shell_completes_commands_and_node_ids(daemon: DaemonDouble, state: Path):
    daemon.add(an_iri("alpha"))
    words = {
        "COMP_WORDS": "nodegate nodes drain al",
        "COMP_CWORD": "3",
        "_NODEGATE_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-m", "nodegate"],
        env=os.environ | words,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == ["alpha"]
    words |= {"COMP_WORDS": "nodegate no", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "nodegate"],
        env=os.environ | words,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.split() == ["nodes"]


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]])
def test_help_and_check_do_not_pay_for_the_rest(arguments: list[str]):
    code = (
        "import sys; from nodegate.cli import run; run(sys.argv[1:]);"
        "print([name for name in ('fastapi', 'uvicorn', 'httpx', 'prometheus_client') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr.strip() == "[]"


def test_watching_ends_with_ctrl_c_and_shows_news(daemon: DaemonDouble, state: Path):
    daemon.add(an_iri("a"), a_verdict("a"))
    watcher = subprocess.Popen(
        [sys.executable, "-m", "nodegate", "nodes", "list", "--watch", "--json", "--interval", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watcher.stdout is not None
        assert json.loads(watcher.stdout.readline())["nodes"][0]["status"] == "up"
        daemon.verdicts["a"] = a_verdict("a", Status.DOWN, reasons=("gone",))
        daemon.refresh()
        until_sync(lambda: json.loads(watcher.stdout.readline())["nodes"][0]["status"] == "down")  # type: ignore[union-attr]
        watcher.send_signal(2)
        assert watcher.wait(10) == 130
    finally:
        watcher.kill()
        watcher.communicate()


def test_a_closed_pipe_is_no_error_message(daemon: DaemonDouble, state: Path):
    inventory = daemon.registry.inventory()
    nodes = tuple(an_iri(f"n{number:04}", version=1) for number in range(3000))
    daemon.snapshot = replace(daemon.snapshot, inventory=replace(inventory, nodes=nodes))
    done = subprocess.run(
        f"{sys.executable} -m nodegate nodes list | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("ID")
    assert done.stderr == ""


def test_files_that_export_writes_are_plain_files(
    daemon: DaemonDouble, state: Path, command: Command, tmp_path: Path
):
    daemon.add(an_iri("a"))
    file = tmp_path / "out.json"
    assert command("nodes", "export", "-o", str(file)).code == 0
    assert stat.S_ISREG(file.stat().st_mode)
    assert command("nodes", "export", "-o", str(tmp_path / "no" / "dir.json")).code == 4


@pytest.mark.parametrize("arguments", [("version", "--json"), ("lab", "faults"), ("render", "systemd")])
def test_output_that_does_not_fit_on_the_disk_is_an_error_in_words(arguments: tuple[str, ...]):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nodegate", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stderr == "nodegate: the output cannot be written whole: No space left on device\n"


def test_a_token_that_is_gone_is_not_taken_for_a_nodegate_that_is(state: Path, command: Command):
    (state / "token").unlink()
    done = command("nodes", "list")
    assert done.code == 4
    assert "/token is gone" in done.err
    assert "no nodegate runs" not in done.err
