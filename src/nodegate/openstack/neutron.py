"""Everything that Neutron holds for a project, listed at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nodegate.openstack.cloud import in_words
from nodegate.openstack.resources import Key, Kind, Resource

if TYPE_CHECKING:
    from openstack.connection import Connection

INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
"""Owners of ports that only their router may take away (Neutron refuses to delete them as ports)."""
LOAD_BALANCERS = ("Octavia", "neutron:LOADBALANCER", "neutron:LOADBALANCERV2")
PROTECTED = "protected"
"""The tag that keeps a thing from being swept."""

LISTS: dict[str, str] = {
    "floating_ips": "ips",
    "trunks": "trunks",
    "routers": "routers",
    "ports": "ports",
    "subnets": "subnets",
    "networks": "networks",
    "rbac": "rbac_policies",
    "groups": "security_groups",
    "qos": "qos_policies",
    "pools": "subnet_pools",
    "scopes": "address_scopes",
    "address_groups": "address_groups",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the server said, by the names of LISTS, and the port forwardings of each floating IP."""

    items: dict[str, list[Any]]
    forwardings: dict[str, list[Any]]


def resources_of(connection: Connection, project_id: str) -> tuple[Resource, ...]:
    """All of the project's resources. A kind that this cloud does not have is empty; any other failure raises."""
    with in_words():
        listing = _list(connection, project_id)
    return tuple(_resources(listing))


def _list(connection: Connection, project_id: str) -> Listing:
    from openstack.exceptions import NotFoundException

    network = connection.network

    def ask(method: str) -> list[Any]:
        try:
            found = list(getattr(network, method)(project_id=project_id))
        except NotFoundException:  # the extension is not loaded: there is nothing of this kind
            return []
        return [each for each in found if each.project_id == project_id]  # some lists ignore the filter

    def forwardings(floating_ip: Any) -> list[Any]:
        try:
            return list(network.port_forwardings(floating_ip))
        except NotFoundException:
            return []

    with ThreadPoolExecutor(len(LISTS)) as pool:
        answers = {name: pool.submit(ask, method) for name, method in LISTS.items()}
        items = {name: answer.result() for name, answer in answers.items()}
        per_ip = {each.id: pool.submit(forwardings, each) for each in items["floating_ips"]}
        return Listing(items=items, forwardings={key: each.result() for key, each in per_ip.items()})


def _resources(listing: Listing) -> Iterator[Resource]:
    items = listing.items
    interfaces = [port for port in items["ports"] if port.device_owner in INTERFACES]
    by_router: dict[str, list[Any]] = {}
    for port in interfaces:
        by_router.setdefault(port.device_id, []).append(port)
    yield from _addresses(listing, by_router)
    yield from _routers(items["routers"], by_router)
    for trunk in items["trunks"]:
        ports = [trunk.port_id, *(sub["port_id"] for sub in trunk.sub_ports or ())]
        yield _made(Kind.TRUNK, trunk, uses=_keys(Kind.PORT, ports))
    for port in items["ports"]:
        if not (port.device_owner or "").startswith("network:"):
            yield _port(port)
    for subnet in items["subnets"]:
        uses = _keys(Kind.SUBNET_POOL, [subnet.subnet_pool_id])
        yield _made(
            Kind.SUBNET, subnet, uses=uses, part_of=(Kind.NETWORK.value, subnet.network_id), goes_along=True
        )
    for network in items["networks"]:
        spared = "external" if network.is_router_external else "shared" if network.is_shared else ""
        yield _made(
            Kind.NETWORK, network, uses=_keys(Kind.QOS_POLICY, [network.qos_policy_id]), spared=spared
        )
    yield from _groups(items["groups"])
    yield from _rest(items)


def _addresses(listing: Listing, by_router: Mapping[str, list[Any]]) -> Iterator[Resource]:
    for address in listing.items["floating_ips"]:
        # Neutron refuses to take an interface from a router while a floating IP leads through it.
        through = [port.id for port in by_router.get(address.router_id, ())]
        inside = _keys(Kind.PORT, [address.port_id]) | _keys(Kind.ROUTER_INTERFACE, through)
        network = _keys(Kind.NETWORK, [address.floating_network_id])
        router = _keys(Kind.ROUTER, [address.router_id])
        qos = _keys(Kind.QOS_POLICY, [address.qos_policy_id])
        name = address.floating_ip_address or ""
        yield _made(Kind.FLOATING_IP, address, uses=inside | network | router | qos, name=name)
        for each in listing.forwardings[address.id]:
            yield Resource(
                kind=Kind.PORT_FORWARDING,
                id=each.id,
                name=f"{name}:{each.external_port}",
                project_id=address.project_id,
                uses=_keys(Kind.FLOATING_IP, [address.id]) | _keys(Kind.PORT, [each.internal_port_id]),
                worker=address.id,
                part_of=(Kind.FLOATING_IP.value, address.id),
            )


def _routers(routers: Iterable[Any], by_router: Mapping[str, list[Any]]) -> Iterator[Resource]:
    for router in routers:
        ports = by_router.get(router.id, ())
        gateway = router.external_gateway_info or {}
        uses = _keys(Kind.NETWORK, [gateway.get("network_id")]) | _keys(
            Kind.QOS_POLICY, [gateway.get("qos_policy_id")]
        )
        yield _made(Kind.ROUTER, router, uses=uses, note="with its gateway" if gateway else "")
        if router.routes:
            yield Resource(
                kind=Kind.ROUTE, id=router.id, name=f"{len(router.routes)} of {router.name or router.id}",
                project_id=router.project_id, worker=router.id, part_of=(Kind.ROUTER.value, router.id),
                uses=_keys(Kind.ROUTER, [router.id]) | _keys(Kind.ROUTER_INTERFACE, [port.id for port in ports]),
            )  # fmt: skip
    for port in (port for ports in by_router.values() for port in ports):
        subnets = [fixed["subnet_id"] for fixed in port.fixed_ips or ()]
        uses = _keys(Kind.ROUTER, [port.device_id]) | _keys(Kind.SUBNET, subnets)
        name = port.name or ", ".join(fixed["ip_address"] for fixed in port.fixed_ips or ())
        yield _made(
            Kind.ROUTER_INTERFACE, port, name=name, worker=port.device_id, part_of=(Kind.ROUTER.value, port.device_id),
            uses=uses | _keys(Kind.NETWORK, [port.network_id]),
        )  # fmt: skip


def _port(port: Any) -> Resource:
    owner = port.device_owner or ""
    note = ""
    if owner.startswith("compute:"):
        note = f"attached to server {port.device_id}"
    elif owner in LOAD_BALANCERS:
        note = "left by a load balancer"
    uses = (
        _keys(Kind.NETWORK, [port.network_id])
        | _keys(Kind.SUBNET, [fixed["subnet_id"] for fixed in port.fixed_ips or ()])
        | _keys(Kind.SECURITY_GROUP, port.security_group_ids or ())
        | _keys(Kind.QOS_POLICY, [port.qos_policy_id])
    )
    name = port.name or ", ".join(fixed["ip_address"] for fixed in port.fixed_ips or ())
    return _made(Kind.PORT, port, uses=uses, name=name, note=note)


def _groups(groups: Iterable[Any]) -> Iterator[Resource]:
    for group in groups:
        remote = {rule["remote_group_id"] for rule in group.security_group_rules or ()} - {None, group.id}
        addresses = {rule.get("remote_address_group_id") for rule in group.security_group_rules or ()}
        if group.name != "default":  # Neutron makes the default group anew whenever it is asked for
            # Groups may name each other; Neutron deletes the rules that name a group along with it.
            yield _made(Kind.SECURITY_GROUP, group, uses=_keys(Kind.ADDRESS_GROUP, addresses))
            continue
        for rule in group.security_group_rules or ():
            if not _is_own_rule(rule, group.id):
                yield Resource(
                    kind=Kind.SECURITY_GROUP_RULE,
                    id=rule["id"],
                    name=f"{rule['direction']} of the default group",
                    project_id=group.project_id,
                    uses=_keys(Kind.ADDRESS_GROUP, [rule.get("remote_address_group_id")])
                    | _keys(Kind.SECURITY_GROUP, remote & {rule["remote_group_id"]}),
                    created_at=rule.get("created_at") or "",
                )


def _is_own_rule(rule: Any, group_id: str) -> bool:
    """Whether Neutron itself gave the default group this rule: all out, and in from the group itself."""
    limits = (rule["protocol"], rule["port_range_min"], rule["port_range_max"], rule["remote_ip_prefix"])
    if any(limit is not None for limit in limits) or rule.get("remote_address_group_id"):
        return False
    remote = rule["remote_group_id"]
    return bool(remote is None if rule["direction"] == "egress" else remote == group_id)


TARGETS = {
    "network": Kind.NETWORK, "qos_policy": Kind.QOS_POLICY, "security_group": Kind.SECURITY_GROUP,
    "address_scope": Kind.ADDRESS_SCOPE, "subnetpool": Kind.SUBNET_POOL, "address_group": Kind.ADDRESS_GROUP,
}  # fmt: skip


def _rest(items: dict[str, list[Any]]) -> Iterator[Resource]:
    for rbac in items["rbac"]:
        if rbac.action == "access_as_external":
            continue  # Neutron's own word for an external network: refused before that goes, and vanishes with it
        target = TARGETS.get(rbac.object_type)
        yield Resource(
            kind=Kind.RBAC,
            id=rbac.id,
            name=f"{rbac.action} on {rbac.object_type}",
            project_id=rbac.project_id,
            part_of=(target.value, rbac.object_id) if target is not None else None,
            goes_along=True,
        )
    for policy in items["qos"]:
        yield _made(Kind.QOS_POLICY, policy, spared="shared" if policy.is_shared else "")
    for pool in items["pools"]:
        spared = "shared" if pool.is_shared else ""
        yield _made(
            Kind.SUBNET_POOL, pool, uses=_keys(Kind.ADDRESS_SCOPE, [pool.address_scope_id]), spared=spared
        )
    for scope in items["scopes"]:
        yield _made(Kind.ADDRESS_SCOPE, scope, spared="shared" if scope.is_shared else "")
    for group in items["address_groups"]:
        yield _made(Kind.ADDRESS_GROUP, group)


def _made(
    kind: Kind,
    found: Any,
    *,
    uses: frozenset[Key] = frozenset(),
    part_of: Key | None = None,
    goes_along: bool = False,
    name: str | None = None,
    worker: str = "",
    spared: str = "",
    note: str = "",
) -> Resource:
    tags = getattr(found, "tags", None) or ()
    if PROTECTED in (tag.lower() for tag in tags):
        spared = f"protected by the tag {PROTECTED!r}"
    return Resource(
        kind=kind, id=found.id, name=(found.name or "") if name is None else name, project_id=found.project_id,
        uses=uses, part_of=part_of, goes_along=goes_along, worker=worker, created_at=getattr(found, "created_at", None) or "", spared=spared,
        note=note,
    )  # fmt: skip


def _keys(kind: Kind, ids: Iterable[str | None]) -> frozenset[Key]:
    return frozenset((kind.value, each) for each in ids if each)
