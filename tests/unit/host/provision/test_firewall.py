"""What the firewall lets in follows from what the host runs."""

from __future__ import annotations

from typing import Any

from nodegate.host.provision.document import Fleet
from nodegate.host.provision.firewall import accept_rules, ssh_rules
from nodegate.settings import Settings

GATEWAY = {"config": "nodegate.toml", "program": "/opt/nodegate/bin/nodegate"}


def fleet(**tables: Any) -> Fleet:
    hosts = [{"name": f"host{number}", "address": f"192.0.2.{number}"} for number in (1, 2, 3)]
    return Fleet.model_validate({"ssh": {"user": "ops"}, "hosts": hosts, **tables})


def settings(**gateway: Any) -> Settings:
    return Settings.model_validate({"gateway": gateway})


def test_ssh_is_open_to_all_or_to_those_who_are_named() -> None:
    everybody = fleet()
    assert ssh_rules(everybody, everybody.hosts[0]) == ["tcp dport 19522 accept"]
    some = fleet(firewall={"ssh_from": ["203.0.113.0/24", "198.51.100.7", "2001:db8::/32"]})
    assert ssh_rules(some, some.hosts[0]) == [
        "ip saddr { 198.51.100.7, 203.0.113.0/24 } tcp dport 19522 accept",
        "ip6 saddr 2001:db8::/32 tcp dport 19522 accept",
    ]


def test_a_nodes_api_is_closed_until_a_gateway_is_named() -> None:
    closed = fleet(node={"jar": "iri.jar"})
    assert accept_rules(closed, closed.hosts[0], None) == ["tcp dport 15600 accept"]
    named = fleet(node={"jar": "iri.jar", "api_from": ["192.0.2.9"]})
    assert "ip saddr 192.0.2.9 tcp dport 14265 accept" in accept_rules(named, named.hosts[0], None)


def test_the_gateways_listeners_are_open_and_its_admin_api_is_not() -> None:
    some = fleet(gateway=GATEWAY)
    chosen = settings(listen=["*:443", "127.0.0.1:14267", "[::]:14268"], admin="0.0.0.0:9780")
    assert accept_rules(some, some.hosts[0], chosen) == ["tcp dport 443 accept", "tcp dport 14268 accept"]


def test_gateways_hear_each_other_and_nobody_else_is_heard() -> None:
    some = fleet(gateway=GATEWAY, keepalived={"addresses": ["192.0.2.100/24"], "interface": "eth0"})
    rules = accept_rules(some, some.hosts[0], settings(listen=["127.0.0.1:14267"], health="127.0.0.1:9781"))
    assert rules == ["ip saddr { 192.0.2.2, 192.0.2.3 } meta l4proto 112 accept"]
