"""Who asks: the client's address behind trusted proxies, its network's standing, and its API key."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nodegate.policy.arguments import Refusal
from nodegate.policy.values import Policy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS = 4
"""Proxies believed at most in one X-Forwarded-For; HAProxy walks as far."""

KEY_HEADER = "x-api-key"

_IPV4 = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20}){3})(?::([0-9]{1,20}))?")
_IN_BRACKETS = re.compile(r"^\[(.*)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """`address` is the client's (None: not looked at), `counted_as` what its counters are keyed by: IPv6
    clients by their /64, which is what one household gets. `key` is the name of its API key."""

    address: str | None = None
    counted_as: str | None = None
    trusted: bool = False
    key: str | None = None


def identify(
    policy: Policy, peer: str | None, headers: Sequence[tuple[str, bytes]], *, keyless: bool = False
) -> Client:
    """The client behind `peer`. `keyless` requests need no key. Raises Refusal for its network or its key."""
    address = None
    trusted = False
    if peer is not None:
        forwarded = [value for name, value in headers if name.lower() == "x-forwarded-for"]
        address = client_address(ipaddress.ip_address(peer), forwarded, policy.client.trusted_proxies)
        trusted = standing(policy, address) == "trusted"
    values = [value for name, value in headers if name.lower() == KEY_HEADER]
    key = None if keyless and not values else _key(policy, values)
    return Client(
        address=str(address) if address is not None else None,
        counted_as=counted_as(address) if address is not None else None,
        trusted=trusted,
        key=key,
    )


def client_address(peer: Address, forwarded: Sequence[bytes], proxies: Sequence[str]) -> Address:
    """Walk X-Forwarded-For from the right for as long as the last speaker is a trusted proxy. What is no
    address ends the walk: the last believed speaker is the client then."""
    networks = [ipaddress.ip_network(text) for text in proxies]
    hops = [part.strip() for value in forwarded for part in value.split(b",")]
    address = _plain(peer)
    for hop in list(reversed(hops))[:MAX_HOPS]:
        if not any(address in network for network in networks):
            break
        spoken = _spoken(hop)
        if spoken is None:
            break
        address = _plain(spoken)
    return address


def _spoken(hop: bytes) -> Address | None:
    """The address that a proxy names, as HAProxy reads it: an IPv4 address may have a port and leading zeros, an IPv6
    address may stand in brackets and has no zone. None for anything else."""
    text = hop.decode("latin-1")
    if (found := _IPV4.fullmatch(text)) is not None:
        parts = [int(part) for part in found.group(1).split(".")]
        fits = all(part <= 255 for part in parts) and int(found.group(2) or 0) <= 65_535
        return ipaddress.IPv4Address(bytes(parts)) if fits else None
    try:
        return ipaddress.IPv6Address(_IN_BRACKETS.sub(r"\1", text)) if "%" not in text else None
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """An IPv4 address that came through an IPv6 socket is that IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def standing(policy: Policy, address: Address) -> str:
    """`trusted`, `allowed` or `open`. The most specific network decides. Raises Refusal."""
    found = ""
    longest = -1
    for word, texts in networks_of(policy):
        for text in texts:
            network = ipaddress.ip_network(text)
            if address in network and network.prefixlen > longest:
                found, longest = word, network.prefixlen
    if found == "denied":
        raise Refusal("network-denied")
    if not found and policy.client.allowed:
        raise Refusal("network-not-allowed")
    return found or "open"


def networks_of(policy: Policy) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The networks by standing."""
    rules = policy.client
    return (("denied", rules.denied), ("trusted", rules.trusted), ("allowed", rules.allowed))


def key_hash(secret: bytes) -> str:
    """How an API key is stored: SHA-256 in hex. Keys are long random strings, so no salt is needed."""
    return hashlib.sha256(secret).hexdigest()


def _key(policy: Policy, values: Sequence[bytes]) -> str | None:
    if not values:
        if policy.client.key_required:
            raise Refusal("key-required")
        return None
    if len(values) > 1:
        raise Refusal("header-repeated", KEY_HEADER)
    digest = key_hash(values[0])
    found = None
    for name, key in policy.keys.items():
        if hmac.compare_digest(key.hash, digest) and not key.disabled:
            found = name
    if found is None:
        raise Refusal("key-unknown")
    return found


def counted_as(address: Address) -> str:
    """What a client's counters are keyed by: IPv6 clients by their /64."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
