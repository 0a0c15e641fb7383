from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon_double import TOKEN, Command, DaemonDouble, Done, served
from nodegate.cli import run

VARIABLES = ("NODEGATE_STATE", "NODEGATE_ADMIN", "NODEGATE_TOKEN", "XDG_STATE_HOME")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `nodegate ARGUMENTS…` in this process."""

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def daemon() -> DaemonDouble:
    return DaemonDouble()


@pytest.fixture
def state(daemon: DaemonDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory of a daemon whose API is up; commands find it by NODEGATE_STATE."""
    directory = tmp_path / "state"
    directory.mkdir()
    daemon.directory = directory
    with served(daemon) as url:
        (directory / "admin").write_text(url + "\n")
        (directory / "token").write_text(TOKEN + "\n")
        monkeypatch.setenv("NODEGATE_STATE", str(directory))
        yield directory
