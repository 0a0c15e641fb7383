from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nodegate.dataplane.binary import find_haproxy
from nodegate.errors import Unsafe

GOOD = "HAProxy version 2.8.1-dev 2023/01/01 - https://haproxy.org/\nFeature list : +LUA +OPENSSL +PROMEX -QUIC\n"


def script(path: Path, text: str) -> Path:
    """An executable that says `text` whatever it is asked."""
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(0o755)
    return path


def test_the_installed_haproxy_is_found_and_starts() -> None:
    binary = find_haproxy()
    assert tuple(map(int, binary.version.split("-")[0].split(".")[:2])) >= (2, 8)
    said = subprocess.run([binary.path, "-v"], env=binary.full_environment(), capture_output=True, check=True)
    assert binary.version.encode() in said.stdout


def test_a_chosen_haproxy_is_used_without_the_wheels_libraries(tmp_path: Path) -> None:
    binary = find_haproxy(script(tmp_path / "haproxy", GOOD))
    assert (binary.version, binary.environment) == ("2.8.1-dev", {})


@pytest.mark.parametrize("version", ["1.8.30", "2.6.12-1+deb12u1", "2.7.99"])
def test_one_that_is_too_old_is_refused_by_its_version(tmp_path: Path, version: str) -> None:
    path = script(tmp_path / "haproxy", GOOD.replace("2.8.1-dev", version))
    with pytest.raises(Unsafe) as caught:
        find_haproxy(path)
    assert f"{path} is HAProxy {version}, too old: 2.8 or newer" in str(caught.value)


@pytest.mark.parametrize("version", ["2.8", "2.10.0", "3.0-dev1"])
def test_versions_are_compared_as_numbers(tmp_path: Path, version: str) -> None:
    assert find_haproxy(script(tmp_path / "haproxy", GOOD.replace("2.8.1-dev", version))).version == version


def test_one_without_tls_or_exporter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsafe, match="built without its Prometheus exporter"):
        find_haproxy(script(tmp_path / "haproxy", GOOD.replace("+PROMEX", "-PROMEX")))


def test_what_is_no_haproxy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsafe, match="does not say which version"):
        find_haproxy(script(tmp_path / "other", "nginx version: nginx/1.22"))
    with pytest.raises(Unsafe, match=r"gateway\.haproxy"):
        find_haproxy(tmp_path / "missing")
    (tmp_path / "plain").write_text("")
    with pytest.raises(Unsafe, match="Permission denied"):
        find_haproxy(tmp_path / "plain")
