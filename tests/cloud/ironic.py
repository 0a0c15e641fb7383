"""A real Ironic beside the cloud, in a region that has no Nova: what late underclouds are like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from cloud.client import cloud_of, make_network
from cloud.install import environment, run
from cloud.stack import answers_at, kill, quiet, spawn
from shared import Facts
from support import free_port

CONFIG = """[DEFAULT]
auth_strategy = noauth
rpc_transport = none
log_file = {folder}/ironic.log
enabled_hardware_types = fake-hardware
enabled_boot_interfaces = fake
enabled_deploy_interfaces = fake
enabled_management_interfaces = fake
enabled_power_interfaces = fake
enabled_network_interfaces = noop
enabled_inspect_interfaces = no-inspect
enabled_vendor_interfaces = no-vendor
enabled_bios_interfaces = no-bios
enabled_raid_interfaces = no-raid
enabled_rescue_interfaces = no-rescue
enabled_storage_interfaces = noop
enabled_console_interfaces = no-console
enabled_firmware_interfaces = no-firmware
default_network_interface = noop
host = ironic
my_ip = 127.0.0.1
state_path = {folder}
[api]
host_ip = 127.0.0.1
port = {port}
[database]
connection = sqlite:///{folder}/ironic.sqlite
[conductor]
automated_clean = false
[oslo_concurrency]
lock_path = {folder}
"""


class Ironic:
    """Starts in a folder of the cloud's; `rc` are the variables with which nodegate finds it."""

    def __init__(self, facts: Facts) -> None:
        self._cloud = facts
        self._folder = Path(facts["folder"]) / f"ironic-{uuid4().hex[:6]}"
        self._port = free_port()
        self._pids: list[int] = []
        self.rc = dict(facts["rc"]["admin"]) | {"OS_REGION_NAME": self._folder.name}

    def __enter__(self) -> Ironic:
        self._folder.mkdir()
        config = self._folder / "ironic.conf"
        config.write_text(CONFIG.format(folder=self._folder, port=self._port))
        tools = environment() / "bin"
        run(str(tools / "ironic-dbsync"), "--config-file", str(config), "create_schema", env=quiet())
        command = (str(tools / "ironic"), "--config-file", str(config))
        self._pids.append(spawn(command, self._folder, self._folder / "out", quiet()))
        answers_at(f"http://127.0.0.1:{self._port}")
        self._register()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill(self._pids)

    def deploy(self, machines: Mapping[str, int], *, idle: int) -> tuple[str, str]:
        """Deployed machines by host name with the last byte of their address, and `idle` ones that carry
        nothing; returns the network's name and the first three parts of the addresses."""
        with cloud_of(self.rc) as connection:
            network, subnet = make_network(connection, f"ctlplane-{uuid4().hex[:6]}")
            for number, name in enumerate([*machines, *[None] * idle]):
                mac = f"52:54:00:{uuid4().bytes[0]:02x}:{uuid4().bytes[0]:02x}:{number:02x}"
                node = connection.baremetal.create_node(
                    name=f"machine-{number}", driver="fake-hardware", resource_class="baremetal"
                )
                connection.baremetal.create_port(node_id=node.id, address=mac)
                connection.baremetal.set_node_provision_state(node, "manage", wait=True)
                connection.baremetal.set_node_power_state(node, "power off", wait=True)
                connection.baremetal.set_node_provision_state(node, "provide", wait=True)
                if name is None:
                    continue
                connection.network.create_port(
                    network_id=network.id,
                    mac_address=mac,
                    fixed_ips=[{"ip_address": f"{subnet}.{machines[name]}"}],
                )
                allocation = connection.baremetal.create_allocation(
                    name=name, resource_class="baremetal", candidate_nodes=[node.id]
                )
                connection.baremetal.wait_for_allocation(allocation, timeout=60)
                connection.baremetal.set_node_provision_state(node, "active", wait=True, timeout=120)
        return str(network.name), subnet

    def _register(self) -> None:
        """Put the region into the catalogue: the cloud's Neutron, this Ironic, and no Nova."""
        with cloud_of(self._cloud["rc"]["admin"]) as admin:
            admin.identity.create_region(id=self._folder.name)
            network = admin.identity.find_service("neutron")
            baremetal = admin.identity.find_service("ironic") or admin.identity.create_service(
                name="ironic", type="baremetal"
            )
            keystone = admin.identity.find_service("keystone")
            urls = [
                (network, f"http://127.0.0.1:{self._cloud['neutron_port']}"),
                (baremetal, f"http://127.0.0.1:{self._port}"),
                (keystone, self._cloud["rc"]["admin"]["OS_AUTH_URL"] + "/v3"),
            ]
            for service, url in urls:
                for interface in ("public", "internal", "admin"):
                    admin.identity.create_endpoint(
                        service_id=service.id, interface=interface, url=url, region_id=self._folder.name
                    )
