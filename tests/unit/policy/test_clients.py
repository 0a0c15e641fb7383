"""Who asks: X-Forwarded-For from the right, networks by the most specific, keys by hash."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.documents import parse
from nodegate.policy.clients import key_hash
from nodegate.policy.document import load_policy
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.trial import try_request
from nodegate.policy.values import Policy

INFO = b'{"command":"getNodeInfo"}'
HEADERS = (("X-IOTA-API-Version", b"1"),)

TEXT = f"""
[client]
denied = ["192.0.2.0/24", "2001:db8:bad::/48"]
trusted = ["192.0.2.7/32", "10.0.0.0/8"]
trusted_proxies = ["198.51.100.0/24"]
[keys.reader]
hash = "{key_hash(b"secret")}"
methods = ["getNodeInfo"]
[keys.gone]
hash = "{key_hash(b"old")}"
disabled = true
"""


def policy(text: str = TEXT) -> Policy:
    return load_policy("iri", parse(text, file="own.toml")).policy


def ask(
    peer: str, *, forwarded: bytes | None = None, key: bytes | None = None, body: bytes = INFO
) -> GuardRequest:
    headers = list(HEADERS)
    if forwarded is not None:
        headers.append(("X-Forwarded-For", forwarded))
    if key is not None:
        headers.append(("X-Api-Key", key))
    return GuardRequest(headers=headers, body=body, peer=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.5", b"192.0.2.7", "203.0.113.5"),
        ("198.51.100.1", b"203.0.113.9", "203.0.113.9"),
        ("198.51.100.1", b"192.0.2.7, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1", b"203.0.113.9, 198.51.100.2", "203.0.113.9"),
        ("198.51.100.1", b"nonsense", "198.51.100.1"),
        ("198.51.100.1", b'", 203.0.113.9', "203.0.113.9"),
        ("198.51.100.1", b"203.0.113.9:80", "203.0.113.9"),
        ("198.51.100.1", b"203.0.113.9:80000", "198.51.100.1"),
        ("198.51.100.1", b"009.1.1.1", "9.1.1.1"),
        ("198.51.100.1", b"256.1.1.1", "198.51.100.1"),
        ("198.51.100.1", b"[2001:db8::1]", "2001:db8::1"),
        ("198.51.100.1", b"[2001:db8::1]:80", "198.51.100.1"),
        ("198.51.100.1", b"fe80::1%eth0", "198.51.100.1"),
        ("198.51.100.1", b"9" * 5000 + b".1.1.1", "198.51.100.1"),
        ("::ffff:203.0.113.5", None, "203.0.113.5"),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(
    peer: str, forwarded: bytes | None, client: str
) -> None:
    assert guard(policy(), ask(peer, forwarded=forwarded)).client.address == client


@settings(max_examples=100, deadline=None)
@given(forwarded=st.binary(max_size=40))
def test_whatever_is_forwarded_a_stranger_stays_who_he_is(forwarded: bytes) -> None:
    assert guard(policy(), ask("203.0.113.5", forwarded=forwarded)).client.address == "203.0.113.5"


def test_the_most_specific_network_decides() -> None:
    assert guard(policy(), ask("192.0.2.8")).rule == "network-denied"
    trusted = guard(policy(), ask("192.0.2.7"))
    assert trusted.allowed
    assert trusted.client.trusted


def test_trusted_clients_are_not_exempt_from_the_guard() -> None:
    assert guard(policy(), ask("10.1.1.1", body=b'{"command":"addNeighbors"}')).rule == "method-denied"


def test_with_allowed_networks_all_others_are_refused() -> None:
    closed = policy('[client]\nallowed = ["10.0.0.0/8"]')
    assert guard(closed, ask("203.0.113.5")).rule == "network-not-allowed"
    assert guard(closed, ask("10.0.0.1")).allowed


def test_ipv6_clients_are_counted_by_64() -> None:
    assert guard(policy(), ask("2001:db8:1:2:3::9")).client.counted_as == "2001:db8:1:2::/64"


def test_a_key_is_known_by_its_hash_and_covers_its_methods() -> None:
    verdict = guard(policy(), ask("203.0.113.5", key=b"secret"))
    assert verdict.allowed
    assert verdict.client.key == "reader"
    other = guard(policy(), ask("203.0.113.5", key=b"secret", body=b'{"command":"getTips"}'))
    assert (other.rule, other.status) == ("key-method", 403)
    for unknown in (b"wrong", b"old", b""):
        assert guard(policy(), ask("203.0.113.5", key=unknown)).rule == "key-unknown"


def test_a_required_key_is_missed() -> None:
    closed = policy()
    needing = closed.model_copy(update={"client": closed.client.model_copy(update={"key_required": True})})
    assert guard(needing, ask("203.0.113.5")).rule == "key-required"


def test_try_shows_verdict_rule_and_facts() -> None:
    allowed = try_request(policy(), ask("10.0.0.1"))
    assert allowed["verdict"] == "allow"
    assert (allowed["method"], allowed["cost"], allowed["client"]["trusted"]) == ("getNodeInfo", 1, True)
    body = b'{"command":"getTransactionsToApprove","depth":99}'
    refused = try_request(policy(), ask("10.0.0.1", body=body))
    assert (refused["verdict"], refused["rule"], refused["status"]) == ("refuse", "arg-value", 403)
    assert "depth must be an integer from 1 to 15" in refused["reason"]
