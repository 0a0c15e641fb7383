"""The gauge, on real sockets of the loopback, and its judgement."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodegate.errors import NotFound
from nodegate.host.sockets.exporter import text_of, write_textfile
from nodegate.host.sockets.gauge import Gauge, Level, Process, Reading, Thresholds, judge, process_of
from nodegate.host.sockets.inetdiag import Counted
from support import until_sync


class Server:
    """A listening socket and its connections, both ends in this process."""

    def __init__(self, family: socket.AddressFamily, stack: ExitStack) -> None:
        self._stack = stack
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self.socket = stack.enter_context(socket.create_server((host, 0), family=family, backlog=64))
        self.port: int = self.socket.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = self._stack.enter_context(socket.create_connection(self.socket.getsockname()[:2]))
        return client, self._stack.enter_context(self.socket.accept()[0])


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with ExitStack() as stack:
        try:
            made = Server(request.param, stack)
        except OSError as error:
            pytest.skip(f"no {request.param.name} on the loopback: {error}")
        yield made


@pytest.fixture
def reading(server: Server) -> Iterator[object]:
    gauge = Gauge([server.port], owed_after=0.05)
    yield lambda: gauge.read()[0]
    gauge.close()


def test_connections_are_counted_by_what_they_wait_for(server: Server, reading: object) -> None:
    assert callable(reading)
    pairs = [server.connect() for _ in range(10)]
    for client, _ in pairs[:3]:
        client.close()
    for client, _ in pairs[3:5]:
        client.sendall(b"never read")
    for client, ours in pairs[5:7]:
        client.sendall(b"read, never answered")
        ours.recv(100)
    waiting = socket.create_connection(server.socket.getsockname()[:2])
    with waiting:
        found: Reading = until_sync(
            lambda: (seen := reading()).sockets.owed == 4 and seen.sockets.close_wait == 3 and seen,
            what="all is as it was made",
        )
    assert found.sockets.established == 8  # the one that waits to be accepted is one, too
    assert (found.sockets.unread, found.sockets.backlog, found.sockets.listening) == (2, 1, 1)


def test_an_answer_pays_the_debt(server: Server, reading: object) -> None:
    assert callable(reading)
    client, ours = server.connect()
    client.sendall(b"question")
    ours.recv(100)
    until_sync(lambda: reading().sockets.owed == 1, what="it owes an answer")
    ours.sendall(b"answer")
    client.recv(100)
    assert reading().sockets.owed == 0


def test_the_process_is_who_listens(server: Server, reading: object) -> None:
    assert callable(reading)
    process = reading().process
    assert process.pid == os.getpid()
    assert process.files_limit is not None
    assert 3 < process.files <= process.files_limit


def test_a_port_without_anything_is_critical() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it meanwhile
        gauge = Gauge([held.getsockname()[1]])
        (found,) = gauge.read()
        gauge.close()
    assert found.level is Level.CRITICAL
    assert "nothing listens" in found.reasons[0]


def test_many_sockets_are_counted_exactly(server: Server, reading: object) -> None:
    assert callable(reading)
    pairs = [server.connect() for _ in range(200)]
    for client, _ in pairs[:70]:
        client.close()
    found = until_sync(lambda: (seen := reading()).sockets.close_wait == 70 and seen, what="70 in CLOSE_WAIT")
    assert found.sockets.established == 130
    assert found.level is Level.WARNING


def test_a_process_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="there is no process"):
        Gauge([1], pid=2**22 + 1)


def test_descriptors_are_listed_where_the_kernel_does_not_say_their_number(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text("java\n")
    (folder / "limits").write_text(
        "Limit  Soft Hard Units\nMax open files            1024    4096    files\n"
    )
    for number in range(5):
        (folder / "fd" / str(number)).touch()
    found = process_of(7, tmp_path)
    assert (found.name, found.files_limit) == ("java", 1024)
    assert found.files  # the size of a real directory, or the number of its entries
    (folder / "limits").write_text("Max open files            unlimited    unlimited    files\n")
    assert process_of(7, tmp_path).files_limit is None
    assert "No such file" in str(process_of(8, tmp_path).why)


def counted(**given: int) -> Counted:
    values = dict.fromkeys(
        ("established", "close_wait", "fin_wait", "owed", "unread", "listening", "backlog", "backlog_limit"),
        0,
    )
    return Counted(**{**values, "listening": 1, **given}, inodes=(), uids=())


@pytest.mark.parametrize(
    ("sockets", "files", "level", "words"),
    [
        (counted(), 10, Level.OK, ""),
        (counted(close_wait=49), 10, Level.OK, ""),
        (counted(close_wait=50), 10, Level.WARNING, "50 connections in CLOSE_WAIT"),
        (counted(close_wait=200), 10, Level.CRITICAL, "CLOSE_WAIT"),
        (counted(owed=50), 10, Level.WARNING, "50 connections wait for an answer"),
        (counted(), 80, Level.WARNING, "80 of 100 descriptors"),
        (counted(), 95, Level.CRITICAL, "95 of 100 descriptors"),
        (counted(backlog=60, backlog_limit=100), 10, Level.WARNING, "60 of 100 connections"),
        (counted(listening=0), 10, Level.CRITICAL, "nothing listens"),
    ],
)
def test_thresholds_are_those_of_the_audit(sockets: Counted, files: int, level: Level, words: str) -> None:
    process = Process(pid=1, name="node", files=files, files_limit=100)
    found, reasons = judge(sockets, process, Thresholds(), 10.0)
    assert found is level
    assert words in " ".join(reasons)
    assert bool(reasons) is bool(words)


def test_what_is_unknown_is_no_reason() -> None:
    process = Process(pid=None, name=None, files=None, files_limit=None, why="not ours")
    assert judge(counted(), process, Thresholds(), 10.0) == (Level.OK, ())


def test_metrics_say_the_same_as_the_gauge(server: Server, tmp_path: Path) -> None:
    server.connect()
    gauge = Gauge([server.port])
    text = text_of(gauge).decode()
    assert f'nodegate_host_sockets{{port="{server.port}",state="established"}} 1.0' in text
    assert f'nodegate_host_listening{{port="{server.port}"}} 1.0' in text
    assert f'nodegate_host_open_files_limit{{port="{server.port}"}}' in text
    place = tmp_path / "node.prom"
    write_textfile(gauge, place)
    gauge.close()
    assert "nodegate_host_sockets{" in place.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["node.prom"]
    assert place.stat().st_mode & 0o777 == 0o644
