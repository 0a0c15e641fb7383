"""Ansible's events become a report with words that an operator can act on."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed
from nodegate.host.provision.events import PUT_BACK, REFUSAL, HostReport, Outcome, Progress, exit_code
from nodegate.host.provision.run import ROLE


def line(event: str, **values: Any) -> str:
    return json.dumps(
        {"event": event, "host": "a", "task": "Do", "changed": False, "item": "", "message": "", **values}
    )


def after(*lines: str) -> HostReport:
    progress = Progress(("a", "b"))
    for each in lines:
        progress.take(each)
    assert progress.hosts["b"].outcome is Outcome.SAME
    return progress.hosts["a"]


def test_changes_are_counted_by_what_was_changed() -> None:
    report = after(line("ok"), line("ok", changed=True, item="/etc/x"), line("ok", changed=True, task="Load"))
    assert (report.outcome, report.changes) == (Outcome.CHANGED, ["Do: /etc/x", "Load"])


def test_a_refusal_is_told_as_it_stands() -> None:
    report = after(line("failed", task=REFUSAL, message="no key"))
    assert (report.outcome, report.message) == (Outcome.REFUSED, "no key")


def test_what_was_put_back_is_no_change() -> None:
    report = after(
        line("ok", changed=True, task="Write SSH and firewall", item="/etc/nftables.conf"),
        line("ok", changed=True, task="Add users", item="iri"),
        line("failed", task=PUT_BACK, message="SSH and firewall were put back as they were. Why"),
    )
    assert report.changes == ["Add users: iri"]
    assert report.message.startswith("SSH and firewall were put back")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Missing sudo password", "--ask-sudo-password"),
        ("ops is not in the sudoers file.", "usermod -aG sudo"),
        ("Failed to connect: root@h: Permission denied (publickey).", "ssh-copy-id"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "ssh-keygen -R"),
        ("/bin/sh: 1: /usr/bin/python3: not found", "apt-get install python3"),
        ("ssh: connect to host h port 22: Connection timed out", "by itself"),
    ],
)
def test_a_known_cause_is_explained(said: str, words: str) -> None:
    for event in ("failed", "unreachable"):
        assert words in after(line(event, message=said)).message


def test_an_unknown_cause_is_told_in_its_own_last_words() -> None:
    report = after(line("failed", task="Install packages", message="a\n" * 50 + "E: no space left"))
    assert report.message.startswith("Install packages: ")
    assert report.message.endswith("E: no space left")
    assert len(report.message) < 200


def test_the_worst_outcome_decides_the_exit_code() -> None:
    reports = [HostReport(str(number), outcome) for number, outcome in enumerate(Outcome)]
    assert [exit_code(reports[: count + 1]) for count in range(5)] == [0, 0, 9, 4, 1]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_other_line_is_malformed_and_nothing_else(text: str) -> None:
    with pytest.raises(Malformed):
        Progress(("a",)).take(text)


def test_a_failed_step_tells_the_lines_in_which_a_program_names_the_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """dpkg says on its standard output why a package cannot be set up; apt's own words only say that it failed."""
    pytest.importorskip("ansible", reason='needs ansible-core: pip install "nodegate[host]"')
    spec = importlib.util.spec_from_file_location("plugin", ROLE / "callback_plugins/nodehost_events.py")
    assert spec is not None
    assert spec.loader is not None
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    facts = {
        "msg": "apt-get failed",
        "stdout": "Setting up a …\nupdate-alternatives: error: no directory /usr/share/man/man1\nProcessing triggers\n",
    }
    task, host = (
        SimpleNamespace(get_name=lambda: "nodehost : Install packages"),
        SimpleNamespace(get_name=lambda: "a"),
    )
    plugin.CallbackModule().v2_runner_on_failed(SimpleNamespace(_result=facts, _task=task, _host=host))
    said = json.loads(capsys.readouterr().out)
    assert said["message"] == "apt-get failed\nupdate-alternatives: error: no directory /usr/share/man/man1"
