"""Configuration of the servers: as little as they run with on one machine, without RabbitMQ or Glance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything is. `environment`: the servers' virtual environment; `socket`: MariaDB's."""

    environment: Path
    folder: Path
    socket: Path
    keystone: int
    neutron: int
    placement: int
    nova: int

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def database(self, name: str) -> str:
        return f"mysql+pymysql://root@localhost/{name}?unix_socket={self.socket}&charset=utf8mb3"

    def credentials(self, user: str) -> str:
        return f"""auth_url = {self.url(self.keystone)}
auth_type = password
project_domain_name = Default
user_domain_name = Default
project_name = service
username = {user}
password = secret
region_name = regionOne
"""


def write_all(place: Place) -> None:
    """Write the configuration of all services into the folder."""
    for name, make in {
        "keystone": keystone,
        "neutron": neutron,
        "placement": placement,
        "nova": nova,
    }.items():
        (place.folder / f"{name}.conf").write_text(make(place))
    paste = place.environment / "etc/nova/api-paste.ini"
    (place.folder / "api-paste.ini").write_bytes(paste.read_bytes())


def keystone(place: Place) -> str:
    return f"""[DEFAULT]
log_file = {place.folder}/keystone.log
[database]
connection = {place.database("keystone")}
[token]
provider = fernet
[fernet_tokens]
key_repository = {place.folder}/fernet
[fernet_receipts]
key_repository = {place.folder}/fernet
[credential]
key_repository = {place.folder}/credential
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
"""


def neutron(place: Place) -> str:
    quotas = "\n".join(
        f"quota_{kind} = -1"
        for kind in (
            "network",
            "subnet",
            "port",
            "router",
            "floatingip",
            "security_group",
            "security_group_rule",
            "trunk",
        )
    )
    return f"""[DEFAULT]
auth_strategy = keystone
agent_down_time = 2000000
core_plugin = ml2
service_plugins = router,trunk,qos,tag,timestamp,revisions,port_forwarding,segments
transport_url = fake://
rpc_response_timeout = 2
api_paste_config = {place.environment}/etc/neutron/api-paste.ini
state_path = {place.folder}/state
log_file = {place.folder}/neutron.log
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
dhcp_agent_notification = false
[database]
connection = {place.database("neutron")}
[oslo_concurrency]
lock_path = {place.folder}/lock
[quotas]
default_quota = -1
{quotas}
[keystone_authtoken]
www_authenticate_uri = {place.url(place.keystone)}
service_token_roles_required = true
{place.credentials("neutron")}
[ml2]
type_drivers = local,flat,vlan,vxlan
tenant_network_types = vxlan
mechanism_drivers = openvswitch
extension_drivers = port_security,qos
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:100000
"""


def placement(place: Place) -> str:
    return f"""[DEFAULT]
log_file = {place.folder}/placement.log
[api]
auth_strategy = keystone
[placement_database]
connection = {place.database("placement")}
sync_on_startup = true
[keystone_authtoken]
{place.credentials("placement")}
"""


def nova(place: Place) -> str:
    return f"""[DEFAULT]
transport_url = fake://
log_file = {place.folder}/nova.log
state_path = {place.folder}/state
my_ip = 127.0.0.1
host = undercloud
rpc_response_timeout = 10
compute_driver = fake.FakeDriver
[api_database]
connection = {place.database("nova_api")}
[database]
connection = {place.database("nova_cell1")}
[oslo_concurrency]
lock_path = {place.folder}/lock
[keystone_authtoken]
www_authenticate_uri = {place.url(place.keystone)}
service_token_roles_required = true
{place.credentials("nova")}
[neutron]
{place.credentials("neutron")}
endpoint_override = {place.url(place.neutron)}
[placement]
{place.credentials("placement")}
endpoint_override = {place.url(place.placement)}
[glance]
api_servers = http://127.0.0.1:9
"""
