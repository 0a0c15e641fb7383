"""The walk through nft's rules against the kernel: what is called open is open, what is called dropped is dropped."""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import netlab
from nodegate.host.doctor.nft import Ruleset
from nodegate.host.doctor.packets import Packet, Way
from support import until_sync

pytestmark = [pytest.mark.scenario]

PORTS = (2001, 2002, 2003, 2004, 2005, 2006)
LISTEN = f"""
import socket, time
held = [socket.create_server(("0.0.0.0", port)) for port in {PORTS}]
time.sleep(3600)
"""
CLOSED = 0.4
"""Seconds without an answer on a link that answers in a thousandth of one."""


@pytest.fixture(scope="module")
def net() -> Iterator[netlab.Net]:
    """A host that listens on all PORTS."""
    with netlab.network(1, needs=["nft"]) as made:
        made.hosts[0].spawn(sys.executable, "-c", LISTEN)
        until_sync(lambda: all(is_open(made, port, 2.0) for port in PORTS), within=60, what="the listeners")
        yield made


def is_open(net: netlab.Net, port: int, within: float) -> bool:
    try:
        socket.create_connection((net.hosts[0].address, port), timeout=within).close()
    except OSError:
        return False
    return True


def written(chance: random.Random, me: str) -> str:
    """A rule set as operators write them: several chains, sets, maps, ranges, sources, limits, jumps."""
    near = chance.choice([me, f"{me.rpartition('.')[0]}.0/24", "192.0.2.0/24", "10.0.0.0/8"])

    def port() -> str:
        return str(chance.choice(PORTS))

    matches = [
        lambda: f"tcp dport {port()}",
        lambda: f"tcp dport {{ {port()}, {port()} }}",
        lambda: f"tcp dport {chance.randint(2000, 2003)}-{chance.randint(2003, 2007)}",
        lambda: f"tcp dport != {port()}",
        lambda: f"ip saddr {near} tcp dport {port()}",
        lambda: f"ip saddr != {near}",
        lambda: "ip saddr @known",
        lambda: f"meta l4proto tcp th dport {port()}",
        lambda: 'iifname "eth*"',
        lambda: 'iifname "wg0"',
        lambda: "ct state established,related",
        lambda: "ct state new limit rate 1000/second burst 1000 packets",
        lambda: f"tcp dport {port()} limit rate over 1000/second burst 1000 packets",
        lambda: "ct state new ct count over 1000",
        lambda: "add @seen { ip saddr limit rate over 1000/second burst 1000 packets }",
        lambda: "meta nfproto ipv6",
        lambda: "udp dport 2001",
        lambda: "",
    ]
    verdicts = ["accept", "accept", "drop", "reject", "jump more", "goto more", "return", "counter"]

    def rule(depth: int) -> str:
        verdict = chance.choice([word for word in verdicts if depth or "more" not in word])
        return f"{chance.choice(matches)()} {verdict}"

    body = "\n".join(rule(1) for _ in range(chance.randint(1, 6)))
    vmap = f"tcp dport vmap {{ {PORTS[0]} : accept, {PORTS[1]} : drop }}" if chance.random() < 0.4 else ""
    return f"""
table inet t {{
  set known {{ type ipv4_addr; flags interval; elements = {{ {near} }} }}
  set seen {{ type ipv4_addr; flags dynamic; size 100; timeout 1m; }}
  chain more {{ {chr(10).join(rule(0) for _ in range(chance.randint(0, 3)))}
  }}
  chain input {{ type filter hook input priority 0; policy {chance.choice(["accept", "drop"])};
    iif lo accept
    ct state established accept
    {vmap}
    {body}
  }}
  chain late {{ type filter hook input priority 10; policy accept; {rule(0) if chance.random() < 0.4 else ""}
  }}
}}
"""


@pytest.mark.parametrize("seed", range(12))
def test_the_kernel_does_what_the_walk_says(net: netlab.Net, seed: int) -> None:
    host = net.hosts[0]
    text = written(random.Random(seed), net.address)
    loaded = host.run("nft", "-f", "-", input=f"flush ruleset\n{text}")
    assert loaded.returncode == 0, f"{loaded.stderr}\n{text}"
    rules = Ruleset.of(json.loads(host.run("nft", "-j", "list", "ruleset").stdout))
    said = {port: rules.way(Packet(source=net.address, interface="eth0", port=port)) for port in PORTS}
    assert Way.UNKNOWN not in said.values(), text
    with ThreadPoolExecutor(len(PORTS)) as pool:
        within = {port: 20.0 if said[port] is Way.ACCEPT else CLOSED for port in PORTS}
        met = dict(zip(PORTS, pool.map(lambda port: is_open(net, port, within[port]), PORTS), strict=True))
    assert met == {port: way is Way.ACCEPT for port, way in said.items()}, text
