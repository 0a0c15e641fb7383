"""What Neutron holds for a project, and what has to go before what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Key = tuple[str, str]
"""Kind and id: what names a resource."""


class Kind(StrEnum):
    """Kinds of resources, in the order in which a person would take them away."""

    PORT_FORWARDING = "port-forwarding"
    FLOATING_IP = "floating-ip"
    TRUNK = "trunk"
    ROUTE = "route"  # all static routes of one router; its id is the router's
    ROUTER_INTERFACE = "router-interface"
    ROUTER = "router"  # takes its gateway along
    PORT = "port"
    SUBNET = "subnet"
    NETWORK = "network"
    RBAC = "rbac-policy"
    SECURITY_GROUP_RULE = (
        "security-group-rule"  # those added to the default group; others go with their group
    )
    SECURITY_GROUP = "security-group"
    QOS_POLICY = "qos-policy"
    SUBNET_POOL = "subnet-pool"
    ADDRESS_SCOPE = "address-scope"
    ADDRESS_GROUP = "address-group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One thing of Neutron's.

    `uses` are things that cannot go while this one is there. `part_of` is the thing it belongs to (a subnet to its
    network): when that is kept, this stays too, and with `goes_along` its deletion takes this along. `worker` groups what one worker does in turn: the
    interfaces of one router change one row. `created_at` is ISO 8601 as the server gave it, empty where it
    gives none. `spared` says why the thing must not be touched unless it is named: shared with others,
    external, protected by its tag.
    """

    kind: Kind
    id: str
    name: str
    project_id: str
    uses: frozenset[Key] = frozenset()
    part_of: Key | None = None
    goes_along: bool = False
    worker: str = ""
    created_at: str = ""
    spared: str = ""
    note: str = ""

    @property
    def key(self) -> Key:
        """What names it."""
        return (self.kind.value, self.id)

    @property
    def label(self) -> str:
        """Kind and name for people; the id where there is no name."""
        return f"{self.kind.value} {self.name or self.id}"


def levels(resources: Iterable[Resource]) -> tuple[tuple[Resource, ...], ...]:
    """The resources in layers: all of a layer can go side by side once the layers before are gone.

    The layers are as few as the dependencies allow. Things in a cycle, which Neutron does not make, come together
    in a last layer, so that the server decides.
    """
    left = {each.key: each for each in resources}
    users: dict[Key, set[Key]] = {key: set() for key in left}
    for each in left.values():
        for used in each.uses:
            if used in users and used != each.key:
                users[used].add(each.key)
                if each.goes_along and each.part_of in left and each.part_of != used:
                    users[used].add(each.part_of)
    layers: list[tuple[Resource, ...]] = []
    while left:
        free = [each for key, each in left.items() if not users[key] & left.keys()]
        layer = tuple(sorted(free or left.values(), key=_order))
        layers.append(layer)
        for each in layer:
            del left[each.key]
    return tuple(layers)


def _order(resource: Resource) -> tuple[int, str, str]:
    return (list(Kind).index(resource.kind), resource.name, resource.id)


def held_back(resources: Mapping[Key, Resource], kept: Mapping[Key, str]) -> dict[Key, str]:
    """All that has to stay, with the reason: `kept`, whatever that uses, and so on."""
    stay = dict(kept)
    waiting = list(kept)
    while waiting:
        keeper = resources[waiting.pop()]
        for key in keeper.uses | ({keeper.part_of} if keeper.part_of is not None else set()):
            if key in resources and key not in stay:
                stay[key] = f"used by {keeper.label}, which stays"
                waiting.append(key)
    return stay
