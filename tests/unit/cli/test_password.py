from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from nodegate.cli import run
from nodegate.dashboard.passwords import Passwords
from nodegate.dashboard.roles import Role

GOOD = "correct horse battery"


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_password_comes_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, f"{GOOD}\n")
    assert run(["password", "set", "--role", "viewer", "--state", str(tmp_path)]) == 0
    assert Passwords(tmp_path).role_of(GOOD) is Role.VIEWER
    assert GOOD not in capsys.readouterr().out
    assert run(["password", "list", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "operator: not set\nviewer: set\n"
    assert run(["password", "remove", "--role", "viewer", "--state", str(tmp_path)]) == 0
    assert Passwords(tmp_path).role_of(GOOD) is None


@pytest.mark.parametrize(
    ("arguments", "text", "code", "said"),
    [
        (["set"], "short\n", 3, "characters"),
        (["set", "--role", "king"], GOOD, 3, "no role"),
        (["remove"], "", 6, "no password"),
    ],
)
def test_what_is_wrong_is_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
    code: int,
    said: str,
) -> None:
    typed(monkeypatch, text)
    assert run(["password", *arguments, "--state", str(tmp_path)]) == code
    assert said in capsys.readouterr().err
