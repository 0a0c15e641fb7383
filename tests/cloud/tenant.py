"""A tenant with some of everything that Neutron knows, as large as asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cloud.client import cloud_of
from shared import Facts


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many; `ports` in all, `interfaces` per router."""

    networks: int = 3
    ports: int = 6
    routers: int = 2
    interfaces: int = 1
    floating_ips: int = 2
    trunks: int = 1
    groups: int = 2


def outside(facts: Facts) -> dict[str, str]:
    """An external and a shared network of the administrator's: their ids. Made once per cloud."""
    with cloud_of(facts["rc"]["admin"]) as admin:
        found = {}
        for name, options, cidr in (
            ("outside", {"is_router_external": True}, "203.0.112.0/22"),
            ("common", {"is_shared": True}, "198.18.0.0/22"),
        ):
            network = admin.network.find_network(name)
            if network is None:
                network = admin.network.create_network(name=name, **options)
                admin.network.create_subnet(network_id=network.id, name=name, ip_version=4, cidr=cidr)
            found[name] = str(network.id)
    return found


def fill(facts: Facts, user: str, size: Size = Size(), *, workers: int = 4) -> None:
    """Fill the user's project; the extras (pools, QoS, sharing rules, …) come once, whatever the size."""
    common = outside(facts)
    mark = uuid4().hex[:4]
    with cloud_of(facts["rc"][user]) as connection, ThreadPoolExecutor(workers) as pool:
        network = connection.network
        groups = list(
            pool.map(lambda n: network.create_security_group(name=f"g{n}-{mark}"), range(size.groups))
        )
        for one, other in zip(groups, groups[1:] + groups[:1], strict=True):
            network.create_security_group_rule(
                security_group_id=one.id, direction="ingress", remote_group_id=other.id, protocol="tcp"
            )
        nets = list(pool.map(lambda n: _network(network, n, mark), range(size.networks)))

        def port(number: int) -> Any:
            net, _ = nets[number % len(nets)]
            group = groups[number % len(groups)].id
            return network.create_port(
                network_id=net.id, name=f"p{number}-{mark}", security_group_ids=[group]
            )

        ports = list(pool.map(port, range(size.ports)))

        def router(number: int) -> None:
            made = network.create_router(
                name=f"r{number}-{mark}", external_gateway_info={"network_id": common["outside"]}
            )
            for step in range(size.interfaces):
                at = number * size.interfaces + step
                if at < len(nets):
                    network.add_interface_to_router(made, subnet_id=nets[at][1].id)
            hop = str(nets[number * size.interfaces % len(nets)][1].cidr).replace(".0/24", ".77")
            network.update_router(made, routes=[{"destination": f"192.0.{number}.0/24", "nexthop": hop}])

        list(pool.map(router, range(size.routers)))
        routed = [
            each for number, each in enumerate(ports) if number % len(nets) < size.routers * size.interfaces
        ]

        def address(number: int) -> None:
            network.create_ip(floating_network_id=common["outside"], port_id=routed[number].id)

        list(pool.map(address, range(min(size.floating_ips, len(routed)))))
        for number in range(size.trunks):
            parent, sub = (
                network.create_port(network_id=nets[-1][0].id, name=f"{what}{number}-{mark}")
                for what in ("parent", "sub")
            )
            network.create_trunk(
                name=f"t{number}-{mark}", port_id=parent.id,
                sub_ports=[{"port_id": sub.id, "segmentation_type": "vlan", "segmentation_id": 100 + number}],
            )  # fmt: skip
        _extras(network, mark, nets[0], routed, common)


def _network(network: Any, number: int, mark: str) -> tuple[Any, Any]:
    made = network.create_network(name=f"n{number}-{mark}")
    return made, network.create_subnet(
        network_id=made.id, name=f"s{number}-{mark}", ip_version=4, cidr=f"10.99.{number}.0/24"
    )


def _extras(
    network: Any, mark: str, first: tuple[Any, Any], routed: list[Any], common: dict[str, str]
) -> None:
    scope = network.create_address_scope(name=f"scope-{mark}", ip_version=4)
    pool = network.create_subnet_pool(
        name=f"pool-{mark}", prefixes=["10.100.0.0/16"], default_prefix_length=24, address_scope_id=scope.id
    )
    pooled = network.create_network(name=f"pooled-{mark}")
    network.create_subnet(network_id=pooled.id, ip_version=4, subnet_pool_id=pool.id, name=f"pooled-{mark}")
    addresses = network.create_address_group(name=f"ag-{mark}", addresses=["192.0.2.1/32"])
    group = network.create_security_group(name=f"by-address-{mark}")
    network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", remote_address_group_id=addresses.id
    )
    network.create_rbac_policy(
        object_type="network", object_id=first[0].id, action="access_as_shared", target_project_id=uuid4().hex
    )
    network.create_port(network_id=common["common"], name=f"on-common-{mark}")
    forwarded = network.create_ip(floating_network_id=common["outside"])
    network.create_floating_ip_port_forwarding(
        forwarded, internal_port_id=routed[-1].id, internal_ip_address=routed[-1].fixed_ips[0]["ip_address"],
        internal_port=22, external_port=2222, protocol="tcp",
    )  # fmt: skip
