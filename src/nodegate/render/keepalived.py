"""A shared address by VRRP: keepalived's configuration, its health script, and a drop-in for its unit.

The figures are measured, see docs/shared-address.md: three adverts are the time until a dead host is replaced, and
below 0.2 s between two of them the health script decides, not the adverts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import TypeVar

from nodegate.errors import BadDocument, Fault
from nodegate.haproxy.config import own_place, split_host_port
from nodegate.render.rendered import Rendered

Address = IPv4Address | IPv6Address
T = TypeVar("T")

LOOKS = 5
"""Looks of the health script in one run; keepalived starts it once a second at most."""
BETWEEN = 0.18
"""Seconds between two looks: five of them fill the second."""
ANSWER_WITHIN = 0.4
"""Seconds that HAProxy has for its answer; it takes one millisecond."""

_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrrp:
    """One gateway's part of a shared address.

    `addresses` are the shared ones with their prefix length; `own` is this host's address on `interface`, and
    `peers` are those of the other gateways: adverts go to them alone, because clouds and switches often
    drop multicast. `priority` (1 to 254) is higher on the gateway that should have the address first.
    `advert` is in seconds. With `preempt` a gateway that comes back takes the address again.
    `health` is HOST:PORT of `gateway.health`, `pool` None for all pools together, `ready` how many nodes
    must be ready. `script_user` runs the script: with any other than root, `keepalived -t` of version 2.2.7
    ends itself by SIGTERM on a good configuration (running is not affected).
    """

    addresses: Sequence[str]
    interface: str
    own: str
    peers: Sequence[str]
    health: str
    name: str = "nodegate"
    priority: int = 100
    router_id: int = 51
    advert: float = 0.2
    preempt: bool = False
    pool: str | None = None
    ready: int = 1
    script_user: str = "root"


def render_keepalived(vrrp: Vrrp, *, directory: str = "/etc/keepalived") -> tuple[Rendered, ...]:
    """The files of one gateway. Raises BadDocument with every option that cannot be."""
    if faults := _faults(vrrp):
        raise BadDocument(faults)
    script = f"{directory}/nodegate-ready"
    return (
        Rendered(path="keepalived.conf", install=f"{directory}/keepalived.conf", text=_configuration(vrrp, script)),
        Rendered(path="nodegate-ready", install=script, text=_script(vrrp), mode=0o755),
        Rendered(
            path="keepalived.service.d/nodegate.conf",
            install="/etc/systemd/system/keepalived.service.d/nodegate.conf",
            text=DROP_IN,
        ),
    )  # fmt: skip


DROP_IN = """\
# keepalived that is killed leaves the shared address on this host, and another gateway takes it as well: two
# hosts answer for one address. Started again it puts that right.
[Unit]
StartLimitIntervalSec=0

[Service]
Restart=always
RestartSec=1
"""

SCRIPT = """\
#!/bin/bash
# Ends with 0 while this gateway answers and enough nodes are ready. Two looks in a row must fail, so that one slow
# answer does not move the address. bash asks by itself: a look costs about a millisecond of CPU.
look() {{
    exec 3<>/dev/tcp/{host}/{port} || return 1
    printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3 || return 1
    IFS=' ' read -r -t {within} _ status _ <&3 && [ "$status" = 200 ]
}}
exec 2>/dev/null
bad=0
for _ in {looks}; do
    if look; then bad=0; else bad=$((bad + 1)); fi
    [ $bad -lt 2 ] || exit 1
    sleep {between}
done
exit 0
"""


def _script(vrrp: Vrrp) -> str:
    host, port = split_host_port(own_place(vrrp.health))
    return SCRIPT.format(
        host=host, port=port, path=f"/{vrrp.pool or ''}?ready={vrrp.ready}",
        within=ANSWER_WITHIN, between=BETWEEN, looks=" ".join(str(number) for number in range(LOOKS)),
    )  # fmt: skip


def _configuration(vrrp: Vrrp, script: str) -> str:
    shared = [ip_interface(text) for text in vrrp.addresses]
    version = ip_address(vrrp.own).version
    first = [item for item in shared if item.version == version]
    others = [item for item in shared if item.version != version]
    silence = 3 * vrrp.advert + vrrp.advert * (256 - vrrp.priority) / 256
    lines = [
        "# A shared address in front of several gateways (VRRP version 3, which has no passwords: keep strangers",
        "# off this network). Firewalls between the gateways must let IP protocol 112 pass, else each of them takes",
        f"# the address. Silence of {silence:.2f} s makes the next gateway take it.",
        *_block("global_defs", [
            f"router_id {vrrp.name}",
            "vrrp_version 3",
            "enable_script_security",
            f"script_user {vrrp.script_user}",
            "vrrp_garp_master_refresh 10",
        ]),
        *_block("vrrp_script nodegate_ready", [
            f'script "{script}"',
            "interval 1",
            "timeout 3",
            "fall 1",  # the script itself looks twice
            "rise 2",
        ]),
        *_block(f"vrrp_instance {vrrp.name}", [
            "state BACKUP",
            f"interface {vrrp.interface}",
            f"virtual_router_id {vrrp.router_id}",
            f"priority {vrrp.priority}",
            *([] if vrrp.preempt else ["nopreempt"]),
            f"advert_int {vrrp.advert:g}",
            f"unicast_src_ip {vrrp.own}",
            *_block("unicast_peer", [str(ip_address(peer)) for peer in vrrp.peers]),
            *_block("virtual_ipaddress", [_address(item, vrrp.interface) for item in first]),
            *(_block("virtual_ipaddress_excluded", [_address(item, vrrp.interface) for item in others]) if others else []),
            *_block("track_script", ["nodegate_ready"]),
        ]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _address(item: IPv4Interface | IPv6Interface, interface: str) -> str:
    return f"{item.with_prefixlen} dev {interface}"


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def _faults(vrrp: Vrrp) -> list[Fault]:
    """Everything that keepalived, or the network, would not take."""
    own = _parsed(vrrp.own, ip_address)
    bounds = (
        ("--priority", vrrp.priority, 1, 254), ("--router-id", vrrp.router_id, 1, 255),
        ("--advert", vrrp.advert, 0.02, 40), ("--ready", vrrp.ready, 0, 100_000),
    )  # fmt: skip
    names = (("--interface", vrrp.interface, _INTERFACE), ("--name", vrrp.name, _NAME),
             ("--script-user", vrrp.script_user, _NAME))  # fmt: skip
    found = [
        *([("--own", f"{vrrp.own!r} is not an IP address")] if own is None else []),
        *_address_faults(vrrp, own),
        *_peer_faults(vrrp, own),
        *((option, f"{value:g} is not from {least:g} to {most:g}")
          for option, value, least, most in bounds if not least <= value <= most),
        *((option, f"{text!r} is no name that keepalived takes")
          for option, text, pattern in names if pattern.fullmatch(text) is None),
    ]  # fmt: skip
    return [Fault(file="command line", line=None, key=option, message=words) for option, words in found]


def _address_faults(vrrp: Vrrp, own: Address | None) -> Iterator[tuple[str, str]]:
    option = "--address"
    if not vrrp.addresses:
        yield option, "name at least one shared address, such as 192.0.2.100/24"
    shared = {text: _parsed(text, ip_interface) if "/" in text else None for text in vrrp.addresses}
    for text, item in shared.items():
        if item is None:
            yield option, f"{text!r} is not an address with its prefix length, such as 192.0.2.100/24"
        elif item.ip == own:
            yield option, f"{vrrp.own} is this host's own address; a shared one belongs to no host"
    known = [item for item in shared.values() if item is not None]
    if own is not None and known and all(item.version != own.version for item in known):
        yield option, f"none of the shared addresses is an IPv{own.version} address as --own is"


def _peer_faults(vrrp: Vrrp, own: Address | None) -> Iterator[tuple[str, str]]:
    if not vrrp.peers:
        yield "--peer", "name the other gateways: one --peer each"
    for text in vrrp.peers:
        peer = _parsed(text, ip_address)
        if peer is None or (own is not None and peer.version != own.version):
            yield "--peer", f"{text!r} is not an IP address of the same family as --own"
        elif peer == own:
            yield "--peer", f"{text} is this gateway itself (--own)"


def _parsed(text: str, read: Callable[[str], T]) -> T | None:
    try:
        return read(text)
    except ValueError:
        return None
