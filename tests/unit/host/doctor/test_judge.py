"""Rules judged on facts that were recorded on real Debian hosts, and on changed ones."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certificates import Authority
from nodegate.dataplane.certificate import certificate_ends
from nodegate.host.doctor.facts import Expect, Facts, State
from nodegate.host.doctor.judge import judge_facts
from nodegate.host.rules import RULES, WANTED
from nodegate.model import Instant

DATA = Path(__file__).parent / "data"
NOW = Instant(1_790_000_000.0)
GUARDED = [
    {"chain": {"family": "inet", "table": "t", "name": "i", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
    {"rule": {"family": "inet", "table": "t", "chain": "i", "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [19522, 14267]}}}, {"accept": None}]}},
]  # fmt: skip


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return {**values, **{key: {"value": value} for key, value in changes.items()}}


def judged(values: dict[str, Any], expect: Expect | None = None) -> dict[str, tuple[State, str]]:
    results = judge_facts(Facts(values=values, now=NOW), expect or Expect())
    return {result.rule.id: (result.state, result.text) for result in results}


def states(values: dict[str, Any], state: State, expect: Expect | None = None) -> set[str]:
    return {name for name, (found, _) in judged(values, expect).items() if found is state}


def test_a_bare_host_fails_what_hardening_would_mend() -> None:
    assert states(recorded("bare"), State.FAIL) == {
        "ssh-root-login", "ssh-passwords", "ssh-port", "ssh-tries", "ssh-x11", "firewall-default-drop", "firewall-persistent",
        "firewall-node-closed", "node-user", "node-privileges", "node-sandbox", "node-restart", "node-fd-limit", "upgrades",
        "journal-limit",
    }  # fmt: skip


def test_without_root_what_cannot_be_known_is_unknown_and_says_why() -> None:
    found = judged(recorded("nobody"))
    unknown = {name: text for name, (state, text) in found.items() if state is State.UNKNOWN}
    assert {"ssh-root-login", "ssh-keys", "ssh-port", "firewall-default-drop", "firewall-ssh-open"} <= set(
        unknown
    )
    assert all("root" in unknown[name] for name in ("ssh-root-login", "ssh-port", "firewall-default-drop"))
    assert found["node-fd-limit"][0] is State.FAIL  # known to everybody
    assert found["node-user"][0] is State.FAIL


def test_no_fact_at_all_makes_every_rule_unknown_never_fine() -> None:
    assert {state for state, _ in judged({}).values()} == {State.UNKNOWN}


def test_a_guarded_host_passes_the_firewall_rules() -> None:
    values = recorded("bare", nftables={"nftables": GUARDED}, ssh_listeners=[{"address": "0.0.0.0", "port": 19522}],
                      firewall_at_boot={"nftables": True})  # fmt: skip
    fine = states(values, State.PASS)
    assert {"firewall-default-drop", "firewall-persistent", "firewall-admin-closed", "firewall-node-closed",
            "firewall-ssh-open", "ssh-port"} <= fine  # fmt: skip


def test_a_firewall_without_ssh_is_told_before_it_locks_out() -> None:
    values = recorded("bare", nftables={"nftables": GUARDED})
    assert judged(values)["firewall-ssh-open"][0] is State.FAIL


@pytest.mark.parametrize(
    ("met", "nft", "state"),
    [
        ("open", [], State.FAIL),
        ("filtered", [], State.PASS),
        ("open", GUARDED, State.PASS),
        (None, [], State.FAIL),
    ],
)
def test_an_open_port_is_one_that_strangers_reach(met: str | None, nft: list[Any], state: State) -> None:
    values = recorded("bare", nftables={"nftables": nft})
    if met is not None:
        values["outside"] = {"value": {"name": "other", "ports": {"14265": met}}}
    assert judged(values)["firewall-node-closed"][0] is state


def test_the_daemon_itself_convicts_when_it_offers_passwords() -> None:
    good = recorded("bare")["ssh_config"]["value"] | {
        "passwordauthentication": ["no"], "kbdinteractiveauthentication": ["no"], "permitemptypasswords": ["no"]
    }  # fmt: skip
    assert judged(recorded("bare", ssh_config=good))["ssh-passwords"][0] is State.PASS
    told = judged(recorded("bare", ssh_config=good, ssh_offers=["password", "publickey"]))["ssh-passwords"]
    assert told == (State.FAIL, "the daemon offers password")
    nobody = judged(recorded("nobody", ssh_offers=["publickey"]))["ssh-passwords"]
    assert nobody == (State.PASS, "the daemon offers publickey only")


def test_files_that_changed_after_the_daemon_read_them_are_told() -> None:
    daemon = {
        "pid": 1,
        "read_at": 100.0,
        "changed": {"/etc/ssh/sshd_config": 90.0, "/etc/ssh/sshd_config.d/x.conf": 200.0},
    }
    state, text = judged(recorded("bare", ssh_daemon=daemon))["ssh-daemon"]
    assert state is State.FAIL
    assert "x.conf" in text
    assert "sshd_config changed" not in text


@pytest.mark.parametrize(
    ("days", "certificate", "renewal"),
    [(-1, State.FAIL, None), (5, State.PASS, State.FAIL), (60, State.PASS, State.PASS)],
)
def test_certificates_are_judged_by_the_day(days: int, certificate: State, renewal: State | None) -> None:
    pem = Authority().issue("gateway.example")
    ends = certificate_ends(pem)
    assert ends is not None
    facts = Facts(
        values=recorded("bare", certificates=[{"path": "/etc/x.pem", "chain": [pem]}]),
        now=Instant(ends - days * 86_400),
    )
    found = {result.rule.id: (result.state, result.text) for result in judge_facts(facts, Expect())}
    assert found["tls-certificate"][0] is certificate
    assert found.get("tls-renewal", (None, ""))[0] is renewal


def test_an_unreadable_certificate_is_unknown_not_fine() -> None:
    found = judged(recorded("bare", certificates=[{"path": "/etc/x.pem", "unknown": "needs root"}]))
    assert found["tls-certificate"] == (State.UNKNOWN, "/etc/x.pem: needs root")


@pytest.mark.parametrize(
    ("name", "fact", "value", "state"),
    [
        ("node-fd-limit", "node_descriptors", {"limit": WANTED.fd_limit, "open": 10}, State.PASS),
        ("node-fd-limit", "node_descriptors", {"limit": None, "open": 10}, State.PASS),
        ("node-fd-use", "node_descriptors", {"limit": 100, "open": 81}, State.FAIL),
        ("node-fd-use", "node_descriptors", {"limit": 100, "open": None}, State.UNKNOWN),
        ("node-close-wait", "node_sockets", {"established": 9, "close_wait": 51, "unread": 0}, State.FAIL),
        ("node-owed", "node_sockets", {"established": 90, "close_wait": 0, "unread": 0, "owed": 60}, State.FAIL),
        ("node-owed", "node_sockets", {"established": 90, "close_wait": 0, "unread": 51, "owed": None}, State.FAIL),
        ("node-sandbox", "node_exposure", 2.3, State.PASS),
        ("upgrades", "upgrades", {"how": "x", "installed": True, "on": True, "timer": False}, State.FAIL),
        ("reboot-pending", "reboot", ["linux-image"], State.FAIL),
        ("disk-space", "disks", [{"mount": "/", "free": 0.5, "free_inodes": 0.01}], State.FAIL),
        ("disk-space", "disks", [{"mount": "/", "free": 0.5, "free_inodes": None}], State.PASS),
        ("memory", "memory", {"total": 100, "available": 9}, State.FAIL),
        ("haproxy-version", "versions", {"nodegate": None, "haproxy": "2.4.22-abc"}, State.FAIL),
        ("haproxy-version", "versions", {"nodegate": None, "haproxy": "2.10.1"}, State.PASS),
        ("socket-modes", "sockets", [{"path": "/run/haproxy.sock", "mode": 0o666, "shielded": False}], State.FAIL),
        ("socket-modes", "sockets", [{"path": "/run/haproxy.sock", "mode": 0o666, "shielded": True}], State.PASS),
        ("secret-modes", "secrets", {"files": [{"path": "/etc/x", "mode": 0o640, "owner": 0}], "closed": []}, State.FAIL),
        ("secret-modes", "secrets", {"files": [], "closed": ["/etc/x"]}, State.PASS),
        ("vrrp-restart", "keepalived", {"active": True, "restart": "no", "addresses": []}, State.FAIL),
        ("api-exposed", "exposed", {"asked": [14265], "commands": ["addNeighbors"]}, State.FAIL),
        ("api-exposed", "exposed", {"asked": [14265], "commands": []}, State.PASS),
    ],
)  # fmt: skip
def test_a_value_is_held_against_the_wanted_one(name: str, fact: str, value: Any, state: State) -> None:
    assert judged(recorded("bare", **{fact: value}))[name][0] is state


@pytest.mark.parametrize(
    ("holders", "state"), [(["a"], State.PASS), (["a", "b"], State.FAIL), ([], State.FAIL)]
)
def test_a_shared_address_has_exactly_one_holder(holders: list[str], state: State) -> None:
    keepalived = {"active": True, "restart": "always", "addresses": ["192.0.2.100"], "peers": ["192.0.2.2"]}
    values = recorded("bare", keepalived=keepalived, vrrp_holders={"192.0.2.100": holders})
    assert judged(values)["vrrp-address"][0] is state


@pytest.mark.parametrize(("source", "state"), [("192.0.2.2", State.PASS), ("192.0.2.3", State.FAIL)])
def test_protocol_112_must_be_let_in_from_the_peers(source: str, state: State) -> None:
    passes = {"rule": {"family": "inet", "table": "t", "chain": "i", "expr": [
        {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": source}},
        {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "vrrp"}}, {"accept": None}]}}  # fmt: skip
    keepalived = {"active": True, "restart": "always", "addresses": [], "peers": ["192.0.2.2"]}
    values = recorded("bare", keepalived=keepalived, nftables={"nftables": [*GUARDED, passes]})
    assert judged(values)["vrrp-firewall"][0] is state


def test_rules_that_do_not_concern_a_host_give_no_result() -> None:
    found = judged(recorded("bare"))
    assert not {"vrrp-restart", "haproxy-version", "tls-certificate", "firewall-clients-open"} & set(found)


def test_what_is_expected_can_be_changed() -> None:
    values = recorded("bare", node_descriptors={"limit": 2000, "open": 10})
    expect = Expect(wanted=replace(WANTED, fd_limit=2000), ssh_port=22)
    found = judged(values, expect)
    assert found["node-fd-limit"][0] is State.PASS
    assert found["ssh-port"][0] is State.PASS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_host_that_lies_never_breaks_the_audit(data: st.DataObject) -> None:
    values = copy.deepcopy(recorded("bare"))
    for name in data.draw(st.sets(st.sampled_from(sorted(values)), min_size=1, max_size=6)):
        values[name] = data.draw(st.fixed_dictionaries({"value": JSON}))
    results = judge_facts(Facts(values=values, now=NOW), Expect())
    assert len(results) <= len(RULES)
    assert all(isinstance(result.text, str) for result in results)
