"""What the firewall of one host lets in: lines for nftables, from what the host runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from nodegate.haproxy.config import split_host_port
from nodegate.host.provision.document import Fleet, Host, Opening
from nodegate.host.provision.reading import own_address
from nodegate.host.rules import WANTED
from nodegate.settings import Settings

CONSUL_PORTS = (8301,)
"""What an agent needs open: gossip, TCP and UDP. Servers are asked, they do not ask back."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def ssh_rules(fleet: Fleet, host: Host) -> list[str]:
    """Who may reach SSH; these stand before the block of Tor exits, so that an operator is never shut out by it."""
    port = host.ssh_port or fleet.ssh.port
    return list(_lines(Opening(port=port, sources=fleet.firewall.ssh_from)))


def accept_rules(fleet: Fleet, host: Host, settings: Settings | None) -> list[str]:
    """Everything else, in the order of the document, each line once."""
    parts = fleet.parts(host)
    openings: list[Opening] = []
    lines: list[str] = []
    node, others = fleet.node, _gateways(fleet, host)
    if node is not None and "node" in parts:
        openings += node.peer_ports
        if node.api_from:
            openings.append(Opening(port=node.port, sources=node.api_from))
    if "gateway" in parts and settings is not None:
        openings += [Opening(port=port) for port in _public_ports(settings)]
        peers = settings.cluster.peers
        if peers is not None and others:
            openings.append(Opening(port=split_host_port(peers)[1], sources=others))
    if "consul" in parts:
        openings += [
            Opening(port=port, protocol=protocol) for port in CONSUL_PORTS for protocol in ("tcp", "udp")
        ]
    for opening in (*openings, *fleet.firewall.open):
        lines += _lines(opening)
    if "keepalived" in parts:
        lines += [f"{match} meta l4proto {WANTED.vrrp_protocol} accept" for match in _sources(others)]
    return list(dict.fromkeys(lines))


def _public_ports(settings: Settings) -> Iterator[int]:
    """Where clients come in: what listens on more than the loopback, the admin API never."""
    gateway = settings.gateway
    places = [*gateway.listen, *([gateway.health] if gateway.health else [])]
    if settings.portal.listen:
        places.append(settings.portal.listen)
    for place in places:
        name, port = split_host_port(place)
        if name not in _LOOPBACK:
            yield port


def _gateways(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Addresses of the other gateways."""
    found = (
        own_address(other) for other in fleet.hosts if other is not host and "gateway" in fleet.parts(other)
    )
    return tuple(address for address in found if address is not None)


def _lines(opening: Opening) -> Iterator[str]:
    match = f"{opening.protocol} dport {opening.port} accept"
    if not opening.sources:
        yield match
    for source in _sources(opening.sources):
        yield f"{source} {match}"


def _sources(networks: Iterable[str]) -> Iterator[str]:
    """Matches for where a packet comes from, by family."""
    known = [ip_network(text) for text in networks]
    for version, word in ((4, "ip"), (6, "ip6")):
        if chosen := sorted({str(_short(item)) for item in known if item.version == version}):
            yield f"{word} saddr {_set(chosen)}"


def _short(item: IPv4Network | IPv6Network) -> str:
    return str(item.network_address) if item.num_addresses == 1 else str(item)


def _set(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{{ {', '.join(items)} }}"
