"""A split of the tests' network holds for every kind of program, and is gone when it is joined."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from netlab import Host, Net, network
from support import until_sync

pytestmark = pytest.mark.scenario

PORT = 4000
LISTEN = """
import socket, sys
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.bind(("0.0.0.0", int(sys.argv[1])))
print("listening", flush=True)
while True:
    print(heard.recv(100).decode(), flush=True)
"""
SEND = """
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[4] == "bound":
    out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
out.sendto(sys.argv[3].encode(), (sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture
def net() -> Iterator[Net]:
    with network(3) as made:
        yield made


def test_nothing_passes_a_split_and_everything_does_when_it_is_joined(
    net: Net, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, two, three = net.hosts
    log = tmp_path_factory.mktemp("net") / "log"
    two.spawn(sys.executable, "-c", LISTEN, str(PORT), log=log)
    until_sync(lambda: log.exists() and "listening" in log.read_text(), what="somebody listens")
    net.split([one], [two, three])
    refused = _send(one, two, "split", "plain")
    assert "No route to host" in refused
    assert _send(one, two, "split-bound", "bound") == ""  # sent, and lost on the way: what keepalived meets
    assert _send(three, two, "same-side", "plain") == ""
    until_sync(lambda: "same-side" in log.read_text(), what="the same side is heard")
    net.join()
    assert _send(one, two, "joined", "plain") == ""
    assert _send(one, two, "joined-bound", "bound") == ""
    until_sync(lambda: "joined-bound" in log.read_text(), what="the other side is heard again")
    assert log.read_text().split() == ["listening", "same-side", "joined", "joined-bound"]


def _send(source: Host, target: Host, word: str, how: str) -> str:
    """Send a word; what went wrong, empty if nothing did."""
    done = source.run(sys.executable, "-c", SEND, target.address, str(PORT), word, how)
    return done.stderr
