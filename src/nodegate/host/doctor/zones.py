"""What ufw and firewalld say in their own words. Pure. Used where nft's rules are not to be had or not understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from nodegate.host.doctor.packets import TCP, Packet, Way

_UFW = re.compile(
    r"^(?P<to>\S.*?)\s{2,}(?P<action>ALLOW|LIMIT|DENY|REJECT)(?: IN)?\s+(?P<source>\S.*?)(?:\s+#.*)?$"
)
_UFW_WAYS = {"ALLOW": Way.ACCEPT, "LIMIT": Way.ACCEPT, "DENY": Way.DROP, "REJECT": Way.DROP}
_DEFAULTS = {"allow": Way.ACCEPT, "deny": Way.DROP, "reject": Way.DROP}
_SERVICES = {"ssh": 22, "http": 80, "https": 443}
_NO_SERVICES = {"dhcpv6-client", "mdns", "cockpit", "vrrp", "samba-client"}
"""Services of firewalld's usual zones that open none of the ports asked for here."""
_RICH = re.compile(r'port port="([\d-]+)" protocol="(\w+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Ufw:
    """An active ufw: rules in order, the first that matches counts."""

    default: Way
    rules: tuple[tuple[str, Way, str], ...]

    def way(self, packet: Packet) -> Way:
        """What becomes of the packet. ufw knows no other protocols than TCP and UDP in its rules."""
        for to, way, source in self.rules:
            if _ufw_port(to, packet) and _from(source, packet):
                return way
        return self.default


def parse_ufw(text: str) -> Ufw | None:
    """`ufw status verbose`; None when it is not active."""
    if not re.search(r"^Status: active$", text, re.MULTILINE):
        return None
    default = re.search(r"^Default: (\w+) \(incoming\)", text, re.MULTILINE)
    rows = (_UFW.match(line.rstrip()) for line in text.splitlines())
    return Ufw(
        default=_DEFAULTS.get(default.group(1), Way.UNKNOWN) if default else Way.UNKNOWN,
        rules=tuple((row["to"], _UFW_WAYS[row["action"]], row["source"]) for row in rows if row and " OUT" not in row.group()),
    )  # fmt: skip


def _ufw_port(to: str, packet: Packet) -> bool:
    """Whether `19522/tcp`, `80,443/tcp (v6)`, `6000:6007/tcp on eth0` or `Anywhere` names the packet's port."""
    if ("(v6)" in to) != (packet.version == 6):
        return False
    interface = re.search(r" on (\S+)", to)
    if interface is not None and interface.group(1) != packet.interface:
        return False
    words = to.split()
    ports, _, protocol = words[0].partition("/")
    if ports == "Anywhere":
        return True
    if packet.protocol != TCP or protocol not in {"", "tcp"}:
        return False
    if re.fullmatch(r"[\d.]+|[0-9a-f:]*:[0-9a-f:]+", words[0]) and len(words) > 1 and words[1][0].isdigit():
        ports = words[1].partition("/")[0]  # the host's own address stands before the port
    return _among(ports.replace(":", "-"), packet.port)


def _among(ports: str, port: int) -> bool:
    """Whether `22`, `80,443` or `6000-6007` has the port."""
    for part in ports.split(","):
        low, _, high = part.partition("-")
        if low.isdigit() and int(low) <= port <= int(high if high.isdigit() else low):
            return True
    return False


def _from(source: str, packet: Packet) -> bool:
    words = source.split()
    if words[0] == "Anywhere":
        return True
    try:
        return ip_address(packet.source) in ip_network(words[0], strict=False)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone of firewalld: what it does with the rest, and what it lets in."""

    target: str
    services: tuple[str, ...]
    ports: tuple[str, ...]
    protocols: tuple[str, ...]
    rich: tuple[str, ...]

    def way(self, packet: Packet) -> Way:
        """What becomes of the packet. Rich rules that name a source do not speak of strangers."""
        if self.target == "ACCEPT" or self._lets_in(packet):
            return Way.ACCEPT
        odd = [name for name in self.services if name not in _SERVICES and name not in _NO_SERVICES]
        return Way.UNKNOWN if odd and packet.protocol == TCP else Way.DROP

    def _lets_in(self, packet: Packet) -> bool:
        rich = [rule for rule in self.rich if rule.endswith("accept") and "source " not in rule]
        if packet.protocol != TCP:
            named = any('protocol value="vrrp"' in rule for rule in self.rich)
            return "vrrp" in self.protocols or "vrrp" in self.services or named
        ports = [
            port for port, _, protocol in (word.partition("/") for word in self.ports) if protocol == "tcp"
        ]
        ports += [str(_SERVICES[name]) for name in self.services if name in _SERVICES]
        ports += [
            found.group(1) for rule in rich if (found := _RICH.search(rule)) and found.group(2) == "tcp"
        ]
        return any(_among(port, packet.port) for port in ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewalld:
    """The zones by name, the zone of each interface, and the one for all others."""

    zones: Mapping[str, Zone]
    interfaces: Mapping[str, str]
    default: str

    def way(self, packet: Packet) -> Way:
        """What becomes of the packet in the zone of its interface."""
        zone = self.zones.get(self.interfaces.get(packet.interface, self.default))
        return Way.UNKNOWN if zone is None else zone.way(packet)


def parse_firewalld(said: Mapping[str, str]) -> Firewalld:
    """From `--get-default-zone`, `--get-active-zones` and `--list-all-zones`."""
    zones = {}
    for block in re.split(r"\n(?=\S)", said["zones"].strip("\n")):
        head, *lines = block.split("\n")
        zones[head.split(" ")[0]] = _zone(lines)
    interfaces = {}
    zone = ""
    for line in said["active"].splitlines():
        if line and not line[0].isspace():
            zone = line.split()[0]
        elif line.strip().startswith("interfaces:"):
            interfaces.update(dict.fromkeys(line.split(":", 1)[1].split(), zone))
    return Firewalld(zones=zones, interfaces=interfaces, default=said["default"])


def _zone(lines: list[str]) -> Zone:
    fields: dict[str, str] = {}
    rich = []
    for line in lines:
        text = line.strip()
        name, colon, value = text.partition(":")
        if text.startswith("rule "):
            rich.append(text)
        elif colon:
            fields[name] = value.strip()
    words = {name: tuple(fields.get(name, "").split()) for name in ("services", "ports", "protocols")}
    return Zone(target=fields.get("target", "default"), rich=tuple(rich), **words)
