"""ufw and firewalld in their own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.host.doctor.packets import STRANGERS, Packet, Way
from nodegate.host.doctor.zones import parse_firewalld, parse_ufw

SAID = json.loads((Path(__file__).parent / "data" / "firewalld.json").read_text())["firewalld"]["value"]

UFW = """\
Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp (OpenSSH)           LIMIT IN    Anywhere
9780/tcp                   ALLOW IN    192.0.2.0/24               # admins
14265                      DENY IN     Anywhere
14265/tcp                  ALLOW IN    Anywhere
8000:8010,9000/tcp         ALLOW IN    Anywhere
53/udp                     ALLOW IN    Anywhere
192.0.2.5 7000/tcp         ALLOW IN    Anywhere
7001/tcp on eth1           ALLOW IN    Anywhere
25/tcp                     ALLOW OUT   Anywhere
22/tcp (OpenSSH (v6))      ALLOW IN    Anywhere (v6)
"""


def packet(port: int, source: str = STRANGERS[0], interface: str = "eth0") -> Packet:
    return Packet(source=source, interface=interface, port=port)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (packet(22), Way.ACCEPT),
        (packet(22, STRANGERS[1]), Way.ACCEPT),
        (packet(9780), Way.DROP),
        (packet(9780, "192.0.2.9"), Way.ACCEPT),
        (packet(14265), Way.DROP),
        (packet(8005), Way.ACCEPT),
        (packet(9000), Way.ACCEPT),
        (packet(9001), Way.DROP),
        (packet(53), Way.DROP),
        (packet(7000), Way.ACCEPT),
        (packet(7001), Way.DROP),
        (packet(7001, interface="eth1"), Way.ACCEPT),
        (packet(25), Way.DROP),
        (Packet(source=STRANGERS[0], interface="eth0", protocol=112), Way.DROP),
    ],
)
def test_ufw_lets_in_what_its_first_matching_rule_says(asked: Packet, expected: Way) -> None:
    ufw = parse_ufw(UFW)
    assert ufw is not None
    assert ufw.way(asked) is expected


def test_an_inactive_ufw_is_none() -> None:
    assert parse_ufw("Status: inactive\n") is None


def test_firewalld_uses_the_zone_of_the_interface_else_the_default_one() -> None:
    firewall = parse_firewalld({**SAID, "active": "trusted\n  interfaces: wg0\n"})
    assert firewall.way(packet(81)) is Way.DROP
    assert firewall.way(packet(81, interface="wg0")) is Way.ACCEPT


def test_a_service_that_is_not_known_here_makes_ports_unknown() -> None:
    firewall = parse_firewalld(
        {**SAID, "zones": SAID["zones"].replace("services: dhcpv6-client ssh", "services: ssh odd")}
    )
    assert firewall.way(packet(22)) is Way.ACCEPT
    assert firewall.way(packet(81)) is Way.UNKNOWN


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400), st.integers(0, 65535))
def test_whatever_ufw_says_never_raises(text: str, port: int) -> None:
    ufw = parse_ufw(f"Status: active\nDefault: deny (incoming)\n{text}\n")
    assert ufw is not None
    assert ufw.way(packet(port)) in Way


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400), st.text(max_size=100))
def test_whatever_firewalld_says_never_raises(zones: str, active: str) -> None:
    firewall = parse_firewalld({"default": "public", "active": active, "zones": zones})
    assert firewall.way(packet(22)) in Way
