"""Making things in the test cloud, through openstacksdk."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from shared import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOR = "baremetal"


@contextmanager
def cloud_of(rc: Mapping[str, str]) -> Iterator[Any]:
    """A connection with the variables of an rc file."""
    import os

    import openstack

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openstacksdk speaks of its own next versions
        with patch.dict(os.environ, rc):
            connection = openstack.connect(load_yaml_config=False)
            connection.authorize()
        try:
            yield connection
        finally:
            connection.close()


def free_subnet() -> str:
    """The first three parts of an IPv4 subnet that no other test has, most likely."""
    return f"10.{random.randint(1, 250)}.{random.randint(1, 250)}"


def make_network(connection: Any, name: str) -> tuple[Any, str]:
    """A network with a /24; returns it and the first three parts of its addresses."""
    subnet = free_subnet()
    network = connection.network.create_network(name=name)
    connection.network.create_subnet(network_id=network.id, name=name, ip_version=4, cidr=f"{subnet}.0/24")
    return network, subnet


def make_flavor(facts: Facts) -> str:
    """The id of a flavour that needs no image; made once."""
    with cloud_of(facts["rc"]["admin"]) as admin:
        found = admin.compute.find_flavor(FLAVOR) or admin.compute.create_flavor(
            name=FLAVOR, ram=64, vcpus=1, disk=0, ephemeral=1
        )
        return str(found.id)


def make_servers(facts: Facts, user: str, network_name: str, servers: Mapping[str, int]) -> str:
    """Servers by name with the last byte of their address on a new network; waits until they are ACTIVE. Returns
    the first three parts of their addresses."""
    flavor = make_flavor(facts)
    disk = {"boot_index": 0, "source_type": "blank", "destination_type": "local", "volume_size": 1}
    with cloud_of(facts["rc"][user]) as connection:
        network, subnet = make_network(connection, network_name)
        made = [
            connection.compute.create_server(
                name=name, flavor_id=flavor, networks=[{"uuid": network.id, "fixed_ip": f"{subnet}.{last}"}],
                block_device_mapping_v2=[disk],
            )
            for name, last in servers.items()
        ]  # fmt: skip
        for server in made:
            connection.compute.wait_for_server(server, interval=0.3, wait=300)
    return subnet
