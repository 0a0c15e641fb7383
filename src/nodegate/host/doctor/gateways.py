"""Rules about keepalived, HAProxy, nodegate, their sockets and secrets, judged. Pure."""

from __future__ import annotations

from nodegate.host.doctor.facts import Expect, Facts, Unsure
from nodegate.host.doctor.firewall import firewall_of, known
from nodegate.host.doctor.machine import at_least
from nodegate.host.doctor.packets import STRANGERS, Way
from nodegate.host.doctor.verdicts import Verdict, bad, good, listed


def vrrp_restart(facts: Facts, expect: Expect) -> Verdict | None:
    """keepalived's unit."""
    state = facts.get("keepalived")
    if state is None:
        return None
    words = f"keepalived has Restart={state['restart'] or 'no'}"
    return good(words) if state["restart"] in expect.wanted.restart else bad(words)


def vrrp_firewall(facts: Facts, expect: Expect) -> Verdict | None:
    """Protocol 112 from the gateways beside it (a rule may name them alone)."""
    state = facts.get("keepalived")
    if state is None:
        return None
    neighbours = tuple(
        item["address"] for item in facts.maybe("addresses") or () if not item["address"].startswith("fe80")
    )
    firewall = firewall_of(facts)
    peers = state.get("peers") or ()
    way = known(
        firewall.protocol(expect.wanted.vrrp_protocol, sources=(*STRANGERS, *neighbours, *peers)),
        "protocol 112",
    )
    return (
        good("protocol 112 is let in")
        if way is Way.ACCEPT
        else bad("protocol 112 is dropped: every gateway takes the address")
    )


def vrrp_address(facts: Facts, _expect: Expect) -> Verdict | None:
    """Held by exactly one of the audited hosts."""
    state = facts.get("keepalived")
    if state is None:
        return None
    if state["addresses"] is None:
        raise Unsure("needs root: keepalived.conf may not be read")
    if not state["addresses"]:
        return None
    holders = facts.get("vrrp_holders")
    wrong = [f"{address} is held by {listed(hosts) or 'nobody'}" for address, hosts in holders.items()
             if address in state["addresses"] and len(hosts) != 1]  # fmt: skip
    return bad(listed(wrong)) if wrong else good(f"{listed(state['addresses'])}: one holder")


def haproxy(facts: Facts, expect: Expect) -> Verdict | None:
    """HAProxy's version."""
    version = facts.get("versions")["haproxy"]
    if version is None:
        return None
    return (
        good(version)
        if at_least(version, expect.wanted.haproxy_version)
        else bad(f"{version}, wanted {expect.wanted.haproxy_version}")
    )


def nodegate(facts: Facts, expect: Expect) -> Verdict | None:
    """nodegate's version against the one that audits."""
    version = facts.get("versions")["nodegate"]
    if version is None or not expect.version:
        return None
    return good(version) if version == expect.version else bad(f"{version}, here {expect.version}")


def sockets(facts: Facts, expect: Expect) -> Verdict | None:
    """Sockets that other users may write to."""
    found = facts.get("sockets")
    if not found:
        return None
    loose = [f"{item['path']} ({item['mode']:04o})" for item in found
             if item["mode"] & expect.wanted.socket_mode and not item["shielded"]]  # fmt: skip
    return bad(listed(loose)) if loose else good(f"{len(found)} closed")


def secrets(facts: Facts, expect: Expect) -> Verdict | None:
    """Files with secrets that the group or others may read."""
    state = facts.get("secrets")
    loose = [
        f"{item['path']} ({item['mode']:04o})"
        for item in state["files"]
        if item["mode"] & expect.wanted.secret_mode
    ]
    if loose:
        return bad(listed(loose))
    if not state["files"] and not state["closed"]:
        return None
    return good(f"{len(state['files']) + len(state['closed'])} files closed")
