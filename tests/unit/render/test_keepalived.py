"""keepalived's files: taken by keepalived itself, and the health script asked with real sockets."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from netlab import Net, network
from nodegate.errors import BadDocument
from nodegate.render.keepalived import Vrrp, render_keepalived
from support import free_port

VRRP = Vrrp(
    addresses=("10.9.0.100/24",), interface="eth0", own="10.9.0.1", peers=("10.9.0.2", "10.9.0.3"),
    health="127.0.0.1:9781",
)  # fmt: skip


def text_of(vrrp: Vrrp, path: str = "keepalived.conf") -> str:
    return next(file.text for file in render_keepalived(vrrp) if file.path == path)


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    """One host with an eth0."""
    with network(1, needs=("keepalived",)) as made:
        yield made


@pytest.mark.parametrize(
    "vrrp",
    [
        VRRP,
        replace(VRRP, preempt=True, advert=0.05, priority=254, pool="evm", ready=3),
        replace(VRRP, addresses=("10.9.0.100/24", "fd00:9::100/64", "10.9.0.101/32")),
        replace(VRRP, own="fd00:9::1", peers=("fd00:9::2",), addresses=("fd00:9::100/64", "10.9.0.100/24")),
    ],
    ids=["plain", "all options", "both families", "IPv6 first"],
)
def test_keepalived_takes_it(net: Net, vrrp: Vrrp, tmp_path: Path) -> None:
    (host,) = net.hosts
    script = tmp_path / "nodegate-ready"
    for file in render_keepalived(vrrp, directory=str(tmp_path)):
        path = tmp_path / Path(file.path).name
        path.write_text(file.text)
        path.chmod(file.mode)
    checked = host.run("setsid", "keepalived", "-t", "-f", str(tmp_path / "keepalived.conf"))
    unsafe = "Unsafe permissions found"  # of the temporary directory's parents, which are the test's
    said = [line for line in (checked.stdout + checked.stderr).splitlines() if line and unsafe not in line]
    assert (checked.returncode, said) == (0, []), script


def test_a_configuration_that_is_none_would_be_noticed(net: Net, tmp_path: Path) -> None:
    bad = tmp_path / "keepalived.conf"
    bad.write_text(text_of(VRRP).replace("advert_int 0.2", "advert_int soon"))
    checked = net.hosts[0].run("setsid", "keepalived", "-t", "-f", str(bad))
    assert checked.returncode != 0


def test_the_unit_of_keepalived_restarts_always() -> None:
    assert "Restart=always" in text_of(VRRP, "keepalived.service.d/nodegate.conf")


def test_the_address_stays_where_it_is_unless_asked_otherwise() -> None:
    assert "nopreempt" in text_of(VRRP)
    assert "nopreempt" not in text_of(replace(VRRP, preempt=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"own": "gw1"}, "--own: 'gw1' is not an IP address"),
        ({"addresses": ()}, "--address: name at least one"),
        ({"addresses": ("10.9.0.100",)}, "--address: '10.9.0.100' is not an address with its prefix length"),
        ({"addresses": ("10.9.0.1/24",)}, "--address: 10.9.0.1 is this host's own address"),
        ({"addresses": ("fd00::1/64",)}, "--address: none of the shared addresses is an IPv4"),
        ({"peers": ()}, "--peer: name the other gateways"),
        ({"peers": ("10.9.0.1",)}, "--peer: 10.9.0.1 is this gateway itself"),
        ({"peers": ("fd00::2",)}, "--peer: 'fd00::2' is not an IP address of the same family"),
        ({"priority": 255}, "--priority: 255 is not from 1 to 254"),
        ({"router_id": 0}, "--router-id: 0 is not from 1 to 255"),
        ({"advert": 0.001}, "--advert: 0.001 is not from 0.02 to 40"),
        ({"interface": "eth0 }"}, "--interface: 'eth0 }' is no name"),
        ({"name": "a b"}, "--name: 'a b' is no name"),
    ],
)
def test_what_keepalived_could_not_use_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        render_keepalived(replace(VRRP, **changes))  # type: ignore[arg-type]
    assert words in str(caught.value)


# The health script

ANSWERS = {200: b"HTTP/1.1 200 OK\r\n\r\n", 503: b"HTTP/1.1 503 Service Unavailable\r\n\r\n"}


def _head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and (chunk := connection.recv(4096)):
        head += chunk
    return head


@contextmanager
def answering(*statuses: int | None) -> Iterator[tuple[int, list[bytes]]]:
    """A listener that answers one connection after the other so, the last one for ever; None: not at all."""
    asked: list[bytes] = []
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            number = 0
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                asked.append(_head(connection))
                status = statuses[min(number, len(statuses) - 1)]
                number += 1
                if status is None:
                    held.append(connection)
                    continue
                connection.sendall(ANSWERS[status])
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in held:
                connection.close()


def looks(port: int, tmp_path: Path, **changes: object) -> int:
    script = tmp_path / "ready"
    vrrp = replace(VRRP, health=f"127.0.0.1:{port}", **changes)  # type: ignore[arg-type]
    script.write_text(text_of(vrrp, "nodegate-ready"))
    return subprocess.run(["/bin/bash", script], check=False, capture_output=True).returncode


def test_a_gateway_with_ready_nodes_is_well(tmp_path: Path) -> None:
    with answering(200) as (port, asked):
        assert looks(port, tmp_path, pool="evm", ready=2) == 0
    assert asked == [b"GET /evm?ready=2 HTTP/1.0\r\n\r\n"] * 5


@pytest.mark.parametrize("statuses", [(503,), (None,), (200, 200, 503, 503)])
def test_two_bad_looks_in_a_row_are_enough(tmp_path: Path, statuses: tuple[int | None, ...]) -> None:
    with answering(*statuses) as (port, _):
        assert looks(port, tmp_path) == 1


@pytest.mark.parametrize("statuses", [(503, 200), (200, 503, 200, 503, 200), (200, 200, 200, 200, 503)])
def test_one_bad_look_is_not(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    with answering(*statuses) as (port, _):
        assert looks(port, tmp_path) == 0


def test_nobody_there_is_not_well(tmp_path: Path) -> None:
    assert looks(free_port(), tmp_path) == 1
