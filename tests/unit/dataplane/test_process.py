from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from nodegate.dataplane import process
from nodegate.dataplane.binary import find_haproxy
from nodegate.dataplane.process import HaproxyProcess, in_words, wait_for_addresses
from nodegate.errors import Conflict, Unavailable, Unsafe
from nodegate.haproxy.paths import Paths
from support import free_port

OUTPUT = """[NOTICE]   (1) : haproxy version is 2.8.25
[NOTICE]   (1) : path to executable is /x
[ALERT]    (1) : config : parsing [h.cfg:3] : unknown keyword 'x' in 'backend' section
[ALERT]    (1) : config : Error(s) found in configuration file : h.cfg
[ALERT]    (1) : config : Fatal errors found in configuration.
"""


def test_only_the_faults_of_haproxys_output_are_repeated() -> None:
    assert in_words(OUTPUT) == "config : parsing [h.cfg:3] : unknown keyword 'x' in 'backend' section"
    assert in_words("free\ntext") == "free text"
    assert in_words("") == "it said nothing"


async def test_free_addresses_pass() -> None:
    await wait_for_addresses([f"127.0.0.1:{free_port()}", f"*:{free_port()}", f"localhost:{free_port()}"])


async def test_an_address_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PORT_PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Conflict, match=f"{place} is in use by another program"):
            await wait_for_addresses([place])


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(Conflict, match=r"192\.0\.2\.7:8000 is not an address of this machine"):
        await wait_for_addresses(["192.0.2.7:8000"])


async def test_a_state_directory_that_is_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    paths = Paths(directory=tmp_path / ("d" * 100))
    with pytest.raises(Unsafe, match="choose a shorter --state directory"):
        await HaproxyProcess(find_haproxy(), paths).start([])


async def test_a_bad_configuration_is_refused_with_haproxys_words(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text("global\n    nonsense here\n")
    with pytest.raises(Unsafe, match=r"haproxy\.cfg:2.*nonsense"):
        await HaproxyProcess(find_haproxy(), Paths(directory=tmp_path)).validate(file)


async def test_a_process_that_ends_at_its_start_is_told_with_its_words_and_a_hint(tmp_path: Path) -> None:
    paths, installed = Paths(directory=tmp_path), find_haproxy()
    paths.config.write_text(
        f"global\n    maxconn 4000\n    stats socket {paths.runtime_socket} level admin\n"
    )
    limited = tmp_path / "haproxy"
    limited.write_text(f'#!/bin/sh\nulimit -n 100\nexec {installed.path} "$@"\n')
    limited.chmod(0o755)
    with pytest.raises(Unavailable, match=r"Cannot raise FD limit.*lower gateway\.maxconn"):
        await HaproxyProcess(replace(installed, path=limited), paths).start([])


async def test_without_a_master_there_are_no_processes(tmp_path: Path) -> None:
    haproxy = HaproxyProcess(find_haproxy(), Paths(directory=tmp_path))
    assert await haproxy.processes() is None
    assert not await haproxy.answers()
    assert await haproxy.stop(grace=0) is False


async def test_a_log_that_grew_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 10)
    log = tmp_path / "haproxy.log"
    assert process._put_aside(log) == 0
    log.write_text("0123456789")
    assert process._put_aside(log) == 10
    log.write_text("0123456789a")
    assert process._put_aside(log) == 0
    assert (tmp_path / "haproxy.log.1").read_text() == "0123456789a"
