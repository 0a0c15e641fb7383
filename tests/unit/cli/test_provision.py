"""`nodegate provision` up to the point where it would reach a host."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from nodegate.cli import run
from support import free_port

pytest.importorskip("ansible", reason='needs ansible-core: pip install "nodegate[host]"')
DOCUMENT = '[ssh]\nuser = "ops"\nport = {}\nfirst_port = {}\n[[hosts]]\nname = "a"\naddress = "127.0.0.1"\n'


def write(folder: Path, text: str) -> str:
    path = folder / "fleet.toml"
    path.write_text(text)
    return str(path)


def test_an_unknown_key_is_named_with_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, DOCUMENT.format(1, 2) + "[firewal]\n")
    assert run(["provision", file]) == 3
    assert capsys.readouterr().err == f"nodegate: {file}:8: firewal: unknown key; did you mean 'firewall'?\n"


def test_a_host_that_is_not_in_the_document_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["provision", write(tmp_path, DOCUMENT.format(1, 2)), "--limit", "b"]) == 6
    assert "has no host b; it has a" in capsys.readouterr().err


def test_an_unreachable_host_ends_with_its_own_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["provision", write(tmp_path, DOCUMENT.format(free_port(), free_port()))]) == 4
    output = capsys.readouterr().out
    assert "unreachable" in output
    assert "SSH does not answer" in output


def test_a_port_where_something_else_answers_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert run(["provision", write(tmp_path, DOCUMENT.format(port, free_port())), "--json"]) == 4
        thread.join(30)
    assert "what answers there is not SSH" in capsys.readouterr().out
