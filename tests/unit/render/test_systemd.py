"""systemd's units: taken by systemd itself, and shut in as far as it measures."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nodegate.errors import BadDocument
from nodegate.render.systemd import Host, render_systemd

HOST = Host(program=shutil.which("true") or "/bin/true")
EXPOSURE = 2.0
"""systemd's measure, 0 to 10: most services of a distribution have 9, 2 is "OK"."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def units(host: Host, folder: Path) -> dict[str, Path]:
    found = {}
    for file in render_systemd(host):
        (folder / file.path).write_text(file.text)
        found[file.path] = folder / file.path
    return found


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@needs_analyze
@pytest.mark.parametrize("host", [HOST, replace(HOST, low_ports=True, own_haproxy=False, maxconn=100_000)])
def test_systemd_takes_both_units(host: Host, tmp_path: Path) -> None:
    paths = units(host, tmp_path)
    said = analyze("verify", "--man=no", *(path for name, path in paths.items() if name.endswith(".service")))
    about = [line for line in said.stderr.splitlines() if "nodegate" in line]
    assert (said.returncode, about) == (0, [])


@needs_analyze
def test_a_unit_that_is_none_would_be_noticed(tmp_path: Path) -> None:
    unit = units(HOST, tmp_path)["nodegate.service"]
    unit.write_text(unit.read_text().replace("ProtectProc=invisible", "ProtectProc=maybe"))
    assert "nodegate.service:25: Failed to parse" in analyze("verify", "--man=no", unit).stderr


@needs_analyze
@pytest.mark.parametrize("name", ["nodegate.service", "nodegate-haproxy.service"])
def test_both_are_shut_in(name: str, tmp_path: Path) -> None:
    unit = units(replace(HOST, low_ports=True, own_haproxy=False), tmp_path)[name]
    said = analyze("security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)
    assert exposure is not None, said.stderr
    assert float(exposure[1]) <= EXPOSURE


def text_of(name: str, host: Host = HOST) -> str:
    return next(file.text for file in render_systemd(host) if file.path == name)


def test_haproxy_may_bind_low_ports_only_where_it_has_to() -> None:
    assert "CAP_NET_BIND_SERVICE" not in text_of("nodegate-haproxy.service")
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in text_of(
        "nodegate-haproxy.service", replace(HOST, low_ports=True)
    )
    assert "CAP_" not in text_of("nodegate.service", replace(HOST, low_ports=True))


def test_stopping_nodegate_does_not_stop_haproxy() -> None:
    unit = text_of("nodegate.service")
    assert "START_HAPROXY=false" in unit
    assert not re.search(r"^(Requires|BindsTo|PartOf)=", unit, re.MULTILINE)
    assert not re.search(r"^(Requires|BindsTo|PartOf)=", text_of("nodegate-haproxy.service"), re.MULTILINE)


def test_a_program_in_a_home_directory_can_still_be_read() -> None:
    assert "ProtectHome=yes" in text_of("nodegate.service")
    at_home = replace(HOST, program="/home/ops/.local/bin/nodegate")
    assert "ProtectHome=read-only" in text_of("nodegate.service", at_home)


def test_open_files_suffice_for_the_connections() -> None:
    limit = re.search(
        r"LimitNOFILE=(\d+)", text_of("nodegate-haproxy.service", replace(HOST, maxconn=30_000))
    )
    assert limit is not None
    assert int(limit[1]) >= 2 * 30_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"program": "nodegate"}, "--program: 'nodegate' is not an absolute path"),
        ({"config": "/etc/a b"}, "--config: '/etc/a b'"),
        ({"state": "/srv/nodegate"}, "--state: '/srv/nodegate' must be below /var/lib"),
        ({"state": "/var/lib/../etc"}, "--state: '/var/lib/../etc' must be below /var/lib"),
        ({"user": "root"}, "--user: not root"),
        ({"user": "a b"}, "--user: 'a b' is no user's name"),
    ],
)
def test_what_systemd_could_not_use_is_named(changes: dict[str, str], words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        render_systemd(replace(HOST, **changes))
    assert words in str(caught.value)


def test_the_command_reads_ports_and_connections_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "nodegate.toml"
    config.write_text('[gateway]\nlisten = ["*:443"]\nmaxconn = 9000\n')
    done = subprocess.run(
        [sys.executable, "-m", "nodegate", "render", "systemd", "--config", config, "--output", tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "out" / "nodegate-haproxy.service").read_text()
    assert "CAP_NET_BIND_SERVICE" in unit
    assert f"--config {config}" in unit
    assert int(re.findall(r"LimitNOFILE=(\d+)", unit)[0]) > 18_000
