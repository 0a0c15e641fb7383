"""What owners type as the place of their node, and which IP addresses may be asked at all. Pure.

The tables are those of IANA's special-purpose address registries (IPv4 and IPv6, as of 2025), and the places
where clouds keep their metadata services. They are written out instead of trusting `is_global`, whose answer
for several of them differs between patch releases of Python 3.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from nodegate.settings import checked_url

Address = IPv4Address | IPv6Address

DEFAULT_PORTS = {"iri": 14265, "evm": 8545}
"""Where nodes of a kind listen when their owner writes a host alone."""

MAX_PLACE = 300
LOW_PORTS = frozenset({80, 443})
"""The only ports below 1024 that are asked: a form that anybody may fill in is no tool to talk to the mail
servers and shells of others."""

_TABLE = {
    "this host": ("0.0.0.0/8", "::/128"),
    "the loopback": ("127.0.0.0/8", "::1/128"),
    "a private network": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "a network behind a carrier's NAT": ("100.64.0.0/10",),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "a cloud's own service": ("168.63.129.16/32",),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": (
        "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "100::/64", "100:0:0:1::/64", "2001::/23", "5f00::/16",
    ),
    "for documentation or tests only": (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8::/32", "3fff::/20",
    ),
    "an IPv4 address in disguise": ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
}  # fmt: skip
_NETWORKS = [(word, ip_network(text)) for word, texts in _TABLE.items() for text in texts]
_GLOBAL_V6 = IPv6Network("2000::/3")


def url_of(text: str, *, kind: str, path: str = "") -> str:
    """The node's URL from what its owner typed: `HOST`, `HOST:PORT` or a URL. A host alone has the port of its
    kind. `path` is that of its pool, which it has if none is written.

    Raises ValueError, in words for the owner.
    """
    typed = text.strip()
    if not typed:
        raise ValueError("write the address of your node, such as node.example.org:14265")
    if len(typed) > MAX_PLACE:
        raise ValueError(f"a node's address has at most {MAX_PLACE} characters")
    if "://" not in typed:
        typed = f"http://{_with_port(typed, kind)}"
    scheme, _, rest = typed.partition("://")
    url = checked_url(f"{scheme.lower()}://{rest}")
    own = urlsplit(url).path
    if own not in {"", path}:
        wanted = f"{path} or none" if path else "none"
        raise ValueError(f"the path {own} is not what this fleet uses; the path must be {wanted}")
    _, port = host_and_port(url)
    if port < 1024 and port not in LOW_PORTS:
        raise ValueError(f"port {port} is not taken: let your node listen on 80, 443, or 1024 and above")
    return url if own else f"{url}{path}"


def host_and_port(url: str) -> tuple[str, int]:
    """Where a checked URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def forbidden(address: str, allowed: Sequence[str] = ()) -> str | None:
    """Why a node at this IP address is not taken, None if it may be. `allowed` are networks that are taken
    whatever they are. Raises ValueError when it is no IP address."""
    ip = ip_address(address)
    if getattr(ip, "scope_id", None) is not None:
        return f"{address} counts on one link only"
    if within(address, allowed):
        return None
    for word, network in _NETWORKS:
        if ip.version == network.version and ip in network:
            return f"{address} is {word}, and cannot be reached over the internet"
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_V6:
        return f"{address} is not an address of the internet"
    return None if ip.is_global else f"{address} is not an address of the internet"


def within(address: str, networks: Iterable[str]) -> bool:
    """Whether the IP address lies in one of the networks."""
    ip = ip_address(address)
    found = (ip_network(text) for text in networks)
    return any(ip.version == network.version and ip in network for network in found)


def counted_as(address: str) -> str:
    """What limits count an IP address as: itself, an IPv6 address its /64, an IPv4 address in disguise that
    IPv4 address."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped is not None else str(ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)


def _with_port(typed: str, kind: str) -> str:
    """`HOST`, `HOST:PORT`, a bare IPv6 address, each with or without a path, with the kind's port."""
    place, slash, rest = typed.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"
    port = DEFAULT_PORTS.get(kind)
    if port is not None and not re.search(r":[0-9]*$", place.rpartition("]")[2]):
        place = f"{place}:{port}"
    return f"{place}{slash}{rest}"
