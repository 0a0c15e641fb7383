"""What the kernel's rules do with a stranger's packet."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from nodegate.host.doctor.facts import Facts
from nodegate.host.doctor.firewall import firewall_of
from nodegate.host.doctor.nft import Ruleset
from nodegate.host.doctor.packets import STRANGERS, Packet, Way, packets
from nodegate.model import Instant

DATA = Path(__file__).parent / "data"
INPUT = {
    "family": "inet",
    "table": "t",
    "name": "input",
    "type": "filter",
    "hook": "input",
    "prio": 0,
    "policy": "drop",
}
STRANGER = STRANGERS[0]


def rule(*statements: Any, chain: str = "input") -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "t", "chain": chain, "expr": list(statements)}}


def dport(right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": right}}


def saddr(right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": right}}


ACCEPT: dict[str, Any] = {"accept": None}
OVER: dict[str, Any] = {"limit": {"rate": 9, "burst": 5, "per": "second", "inv": True}}
ODD: dict[str, Any] = {"xt": {"type": "match", "name": "recent"}}


def way(*entries: dict[str, Any], port: int = 22, source: str = STRANGER, policy: str = "drop") -> Way:
    rules = Ruleset.of({"nftables": [{"chain": {**INPUT, "policy": policy}}, *entries]})
    return rules.way(Packet(source=source, interface="eth0", port=port))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], Way.DROP),
        ([rule(dport(22), ACCEPT)], Way.ACCEPT),
        ([rule(dport({"set": [80, 22]}), ACCEPT)], Way.ACCEPT),
        ([rule(dport({"set": [80, {"range": [20, 25]}]}), ACCEPT)], Way.ACCEPT),
        ([rule(dport({"range": [23, 25]}), ACCEPT)], Way.DROP),
        ([rule(dport(80, "!="), ACCEPT)], Way.ACCEPT),
        ([rule(dport(22), {"counter": None}, {"limit": {"rate": 1}}, ACCEPT)], Way.ACCEPT),
        ([rule(saddr({"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT)], Way.DROP),
        ([rule(saddr({"prefix": {"addr": "0.0.0.0", "len": 0}}), dport(22), ACCEPT)], Way.ACCEPT),
        ([rule(dport(22), {"drop": None}), rule(dport(22), ACCEPT)], Way.DROP),
        ([rule({"reject": {"type": "icmpv6", "expr": "port-unreachable"}}), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"reject": {"type": "icmpx", "expr": "port-unreachable"}}), rule(ACCEPT)], Way.DROP),
        ([rule({"reject": None}), rule(ACCEPT)], Way.DROP),
        ([rule(dport(22), {"limit": {"rate": 9, "inv": True}}, {"drop": None}), rule(dport(22), ACCEPT)], Way.ACCEPT),
        ([rule(dport(22), {"limit": {"rate": 9, "inv": True}}, ACCEPT)], Way.DROP),
        ([rule({"ct count": {"val": 9, "inv": True}}, {"reject": None}), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"quota": {"val": 9, "inv": True}}, {"drop": None}), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"set": {"op": "add", "set": "@seen", "stmt": [OVER]}}, {"drop": None}), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"meter": {"name": "m", "stmt": OVER}}, {"drop": None}), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"set": {"op": "add", "set": "@seen"}}, {"drop": None}), rule(ACCEPT)], Way.DROP),
        ([rule(ODD, ACCEPT)], Way.UNKNOWN),
        ([rule(ODD, {"drop": None})], Way.DROP),
        ([rule(ODD, {"drop": None}), rule(dport(22), ACCEPT)], Way.UNKNOWN),
        ([rule(ODD, ACCEPT), rule(dport(22), ACCEPT)], Way.ACCEPT),
        ([rule({"jump": {"target": "more"}}), rule(dport(22), ACCEPT, chain="more")], Way.ACCEPT),
        ([rule({"goto": {"target": "more"}}), rule(ACCEPT)], Way.DROP),
        ([rule({"jump": {"target": "more"}}), rule({"return": None}, chain="more"), rule(ACCEPT)], Way.ACCEPT),
        ([rule({"jump": {"target": "input"}})], Way.UNKNOWN),
        ([rule({"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [[22, ACCEPT]]}}})], Way.ACCEPT),
        ([{"set": {"family": "inet", "table": "t", "name": "open", "elem": [{"elem": {"val": 22}}]}}, rule(dport("@open"), ACCEPT)], Way.ACCEPT),
        ([rule(dport("@gone"), ACCEPT)], Way.UNKNOWN),
        ([rule(saddr("10.0.0.1", "<"), ACCEPT)], Way.UNKNOWN),
    ],
)  # fmt: skip
def test_the_chain_is_walked_as_the_kernel_does(entries: list[dict[str, Any]], expected: Way) -> None:
    assert way(*entries) is expected


def test_a_reject_for_ipv6_alone_leaves_ipv4_to_the_limited_accept_behind_it() -> None:
    """As nft 1.0.6 lists `meta nfproto ipv6 reject`: the family is left away, the answer implies it."""
    rules = (
        rule(dport(2001), {"jump": {"target": "more"}}),
        rule({"reject": {"type": "icmpv6", "expr": "port-unreachable"}}, chain="more"),
        rule(
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}},
            {"limit": {"rate": 1000, "burst": 5, "per": "second"}}, ACCEPT, chain="more",
        ),
    )  # fmt: skip
    assert way(*rules, port=2001) is Way.ACCEPT
    assert way(*rules, port=2001, source=STRANGERS[1]) is Way.DROP


def test_a_later_chain_can_still_drop() -> None:
    second = {"chain": {**INPUT, "name": "late", "prio": 10, "policy": "accept"}}
    assert way(second, rule(dport(22), {"reject": None}, chain="late"), policy="accept") is Way.DROP


def test_an_ipv4_rule_says_nothing_about_ipv6() -> None:
    open4 = rule(saddr({"prefix": {"addr": "0.0.0.0", "len": 0}}), ACCEPT)
    assert way(open4, source=STRANGERS[1]) is Way.DROP


def test_without_any_chain_everything_gets_in() -> None:
    rules = Ruleset.of({"nftables": []})
    assert not rules.filters()
    assert rules.way(Packet(source=STRANGER, interface="eth0", port=1)) is Way.ACCEPT


@pytest.mark.parametrize(
    "target", [{"dnat": {"addr": "172.17.0.2", "port": 80}}, {"xt": {"type": "target", "name": "DNAT"}}]
)
def test_a_port_that_docker_publishes_passes_by_the_input_rules(target: dict[str, Any]) -> None:
    rules = Ruleset.of({"nftables": [{"chain": INPUT}, rule(dport(14265), target, chain="DOCKER")]})
    assert rules.forwards(14265)
    assert not rules.forwards(22)


def recorded(name: str) -> Facts:
    return Facts(values=json.loads((DATA / f"{name}.json").read_text()), now=Instant(0.0))


OPEN = {"ufw": {22, 19522, 14267, 6003, 443, 7000}, "firewalld": {22, 14267, 7000}}


@pytest.mark.parametrize("name", ["ufw", "firewalld"])
def test_recorded_hosts_are_open_where_their_operator_opened_them(name: str) -> None:
    firewall = firewall_of(recorded(name))
    asked = (22, 19522, 14267, 9780, 14265, 6003, 443, 7000, 81)
    assert {port for port in asked if firewall.tcp(port) is Way.ACCEPT} == OPEN[name]
    assert all(firewall.tcp(port) is Way.DROP for port in asked if port not in OPEN[name])
    assert firewall.default() is Way.DROP
    assert firewall.name == name


@pytest.mark.parametrize("name", ["ufw", "firewalld"])
def test_front_end_and_kernel_say_the_same_wherever_both_are_understood(name: str) -> None:
    firewall = firewall_of(recorded(name))
    front = firewall.ufw or firewall.firewalld
    assert front is not None
    assert firewall.ruleset is not None
    asked: Iterable[Packet] = [item for port in range(0, 20_000, 7) for item in packets(("eth0",), port=port)]
    for packet in asked:
        kernel = firewall.ruleset.way(packet)
        assert kernel in {front.way(packet), Way.UNKNOWN}
