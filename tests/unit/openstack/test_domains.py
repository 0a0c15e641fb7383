from __future__ import annotations

import json

import pytest

from nodegate.errors import Malformed
from nodegate.openstack.domains import (
    FORMATS,
    Interface,
    Machine,
    Power,
    arch_of,
    disks_of,
    interfaces_of,
    on_network,
)

XML = """<domain><os><type arch='aarch64'>hvm</type></os><devices>
  <disk device='cdrom'><target dev='sda'/></disk><disk><target dev='vda'/></disk>
  <interface type='network'><mac address='52:54:00:AA:00:01'/><source network='brbm'/></interface>
  <interface type='bridge'><mac address='52:54:00:aa:00:02'/><source network='n' bridge='brbm'/></interface>
  <interface type='user'><mac address='52:54:00:aa:00:03'/></interface>
  <interface type='user'/></devices></domain>"""
MACHINE = Machine(
    name="baremetalbrbm_2", uuid="u", running=False, arch="x86_64", cpus=2, memory_mib=1024, disk_gib=None,
    macs=("52:54:00:aa:00:01", "52:54:00:aa:00:02"),
)  # fmt: skip


def test_interfaces_disks_and_architecture_are_read() -> None:
    assert interfaces_of(XML, "d") == (
        Interface(mac="52:54:00:aa:00:01", network="brbm"),
        Interface(mac="52:54:00:aa:00:02", network="n", bridge="brbm"),
        Interface(mac="52:54:00:aa:00:03"),
    )
    assert (disks_of(XML, "d"), arch_of(XML, "d")) == (("vda",), "aarch64")


def test_what_is_not_xml_is_an_error_that_names_the_domain() -> None:
    with pytest.raises(Malformed, match="node-7: the hypervisor's description is not XML"):
        interfaces_of("<domain>", "node-7")


@pytest.mark.parametrize(
    ("interface", "found"),
    [
        (Interface(mac="m", network="brbm"), True),
        (Interface(mac="m", bridge="brbm"), True),
        (Interface(mac="m", network="other", bridge="brbm"), True),
        (Interface(mac="m", network="behind"), True),
        (Interface(mac="m", network="default"), False),
        (Interface(mac="m"), False),
    ],
)
def test_an_interface_counts_by_its_network_its_bridge_or_its_networks_bridge(
    interface: Interface, found: bool
) -> None:
    assert on_network(interface, "brbm", {"behind": "brbm", "default": "virbr0"}) is found


def test_plain_is_one_address_a_line() -> None:
    assert FORMATS["plain"]((MACHINE,), Power()) == "52:54:00:aa:00:01\n52:54:00:aa:00:02"


def test_each_machine_has_a_power_port_of_its_own() -> None:
    power = Power(address="192.0.2.1", port=7000, user="u", password="p")
    nodes = json.loads(FORMATS["ironic"]((MACHINE, MACHINE), power))["nodes"]
    assert [node["driver_info"]["ipmi_port"] for node in nodes] == ["7000", "7001"]
    assert nodes[0]["ports"] == [{"address": mac} for mac in MACHINE.macs]
    stack = json.loads(FORMATS["instackenv"]((MACHINE, MACHINE), power))["nodes"]
    assert [(node["pm_port"], node["mac"], node["memory"]) for node in stack] == [
        ("7000", list(MACHINE.macs), "1024"),
        ("7001", list(MACHINE.macs), "1024"),
    ]
