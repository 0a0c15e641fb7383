"""Virtual bare-metal machines: their interfaces as libvirt tells them, and the formats that other tools take. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from xml.etree import ElementTree

from nodegate.errors import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One network interface of a domain. A running one of type `network` comes back as `bridge` with both names,
    so that both are kept."""

    mac: str
    network: str | None = None
    bridge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A domain with those of its interfaces that were asked for. `memory_mib` and `disk_gib` are rounded down,
    `disk_gib` is None when no disk's size is known."""

    name: str
    uuid: str
    running: bool
    arch: str
    cpus: int
    memory_mib: int
    disk_gib: int | None
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """How the machines are switched on and off: IPMI as virtualbmc gives it, one port a machine from `port` up."""

    type: str = "ipmi"
    address: str = "127.0.0.1"
    port: int = 6230
    user: str = "admin"
    password: str = "password"  # noqa: S105 -- virtualbmc's own default


def interfaces_of(xml: str, name: str) -> tuple[Interface, ...]:
    """The interfaces in a domain's description, in its order. Raises Malformed when it cannot be read."""
    found = []
    for node in _parse(xml, name).iterfind("devices/interface"):
        mac, source = node.find("mac"), node.find("source")
        if mac is None or not mac.get("address"):
            continue
        found.append(
            Interface(
                mac=str(mac.get("address")).lower(),
                network=source.get("network") if source is not None else None,
                bridge=source.get("bridge") if source is not None else None,
            )
        )
    return tuple(found)


def arch_of(xml: str, name: str) -> str:
    """The architecture of a domain, `x86_64` where it does not say."""
    kind = _parse(xml, name).find("os/type")
    return (kind.get("arch") if kind is not None else None) or "x86_64"


def disks_of(xml: str, name: str) -> tuple[str, ...]:
    """The target names (`vda`) of a domain's disks; not of its CD-ROM and floppy drives."""
    disks = _parse(xml, name).iterfind("devices/disk")
    targets = [disk.find("target") for disk in disks if disk.get("device", "disk") == "disk"]
    return tuple(str(target.get("dev")) for target in targets if target is not None)


def _parse(xml: str, name: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(xml)  # noqa: S314 -- libvirt wrote it, and expat expands no outside entities
    except ElementTree.ParseError as error:
        raise Malformed(f"{name}: the hypervisor's description is not XML: {error}") from error


def on_network(interface: Interface, network: str, bridges: Mapping[str, str]) -> bool:
    """Whether an interface is on `network`, which may be a network's or a bridge's name. `bridges`: the
    bridge of each network."""
    names = {interface.network, interface.bridge, bridges.get(interface.network or "")}
    return network in names


def plain(machines: Sequence[Machine], _: Power) -> str:
    """One MAC address a line."""
    return "\n".join(mac for machine in machines for mac in machine.macs)


def as_json(machines: Sequence[Machine], _: Power) -> str:
    """Everything known of each machine."""
    return _dump({"machines": [asdict(machine) for machine in machines]})


def ironic(machines: Sequence[Machine], power: Power) -> str:
    """For `openstack baremetal create FILE`."""
    nodes = [
        {
            "name": machine.name.replace("_", "-"),
            "driver": power.type,
            "driver_info": {
                f"{power.type}_address": power.address,
                f"{power.type}_port": str(power.port + number),
                f"{power.type}_username": power.user,
                f"{power.type}_password": power.password,
            },
            "properties": {
                "cpu_arch": machine.arch,
                "cpus": machine.cpus,
                "memory_mb": machine.memory_mib,
                "local_gb": machine.disk_gib or 0,
            },
            "ports": [{"address": mac} for mac in machine.macs],
        }
        for number, machine in enumerate(machines)
    ]
    return _dump({"nodes": nodes})


def instackenv(machines: Sequence[Machine], power: Power) -> str:
    """TripleO's instackenv.json, for `openstack overcloud node import FILE`; its numbers are strings."""
    nodes = [
        {
            "name": machine.name.replace("_", "-"),
            "arch": machine.arch,
            "cpu": str(machine.cpus),
            "memory": str(machine.memory_mib),
            "disk": str(machine.disk_gib or 0),
            "mac": list(machine.macs),
            "pm_type": power.type,
            "pm_addr": power.address,
            "pm_port": str(power.port + number),
            "pm_user": power.user,
            "pm_password": power.password,
        }
        for number, machine in enumerate(machines)
    ]
    return _dump({"nodes": nodes})


def _dump(document: object) -> str:
    return json.dumps(document, indent=2)


FORMATS = {"plain": plain, "json": as_json, "ironic": ironic, "instackenv": instackenv}
