"""The servers of a cloud with their addresses on one network: from Nova, or from Ironic where there is no Nova."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nodegate.errors import NotFound
from nodegate.openstack.cloud import in_words
from nodegate.openstack.hostsfile import CloudServer

if TYPE_CHECKING:
    from openstack.connection import Connection

DEPLOYED = ("active", "deploy done")
"""Ironic's provision states of a machine that carries an instance."""


def servers_on(connection: Connection, network: str) -> tuple[CloudServer, ...]:
    """All servers of the project; addresses only those on `network`, floating ones left out.

    A late undercloud has Ironic and Neutron but no Nova: there the deployed machines are listed. Raises
    Unavailable when a service fails (never an empty answer then), NotFound when the cloud has neither.
    """
    with in_words():
        connection.session.get_token()  # `has_service` takes wrong credentials for a cloud without services
        if connection.has_service("compute"):
            return tuple(_from_nova(connection, network))
        if connection.has_service("baremetal"):
            return tuple(_from_ironic(connection, network))
    raise NotFound("the cloud's catalogue has neither compute (Nova) nor baremetal (Ironic)")


def _from_nova(connection: Connection, network: str) -> Iterator[CloudServer]:
    for server in connection.compute.servers(details=True):
        found: list[dict[str, Any]] = (server.addresses or {}).get(network, [])
        fixed = [each["addr"] for each in found if each.get("OS-EXT-IPS:type", "fixed") == "fixed"]
        yield CloudServer(name=str(server.name), addresses=tuple(fixed))


def _from_ironic(connection: Connection, network: str) -> Iterator[CloudServer]:
    """The name of an instance is its allocation's, or the display name; its addresses are those of the
    Neutron ports that Ironic attached or that carry its MAC addresses."""
    wanted = connection.network.find_network(network)
    if wanted is None:
        raise NotFound(f"the cloud has no network {network!r}")
    ports = list(connection.network.ports(network_id=wanted.id))
    by_id: dict[str | None, Any] = {port.id: port for port in ports}
    by_mac = {port.mac_address.lower(): port for port in ports if port.mac_address}
    names: dict[str | None, Any] = {each.id: each.name for each in connection.baremetal.allocations()}
    macs: dict[str, list[Any]] = {}
    for port in connection.baremetal.ports(details=True):
        macs.setdefault(port.node_id, []).append(port)
    for node in connection.baremetal.nodes(details=True):
        if node.provision_state not in DEPLOYED:
            continue
        name = names.get(node.allocation_id) or (node.instance_info or {}).get("display_name") or node.name
        if not name:
            continue
        found = {}
        for port in macs.get(node.id, []):
            vif = (port.internal_info or {}).get("tenant_vif_port_id") or (port.extra or {}).get(
                "vif_port_id"
            )
            neutron = by_id.get(vif) or by_mac.get(str(port.address).lower())
            if neutron is not None:
                found[neutron.id] = neutron
        addresses = [fixed["ip_address"] for port in found.values() for fixed in port.fixed_ips or ()]
        yield CloudServer(name=str(name), addresses=tuple(addresses))
