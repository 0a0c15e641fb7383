"""Routes that several services share: which pools that takes, and with which weights.

A node has one pool of its own, that of its service. A route that leads to all nodes of one pool needs nothing
more. Where a route leads to nodes of several pools, to some nodes of a pool, or to the same nodes with other
weights, they are guests in a further pool: the same nodes once more, with their own weights there. Targets of
one route that are treated differently cannot share a pool; requests are then drawn by lot between pools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from nodegate.model import Intent, Inventory, Judgement, Node, Status
from nodegate.routes import PlacedRoute, Route, Target, Treatment, Variant
from nodegate.routes.weights import shares, weights

LONGEST_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """An inventory as the planner needs it, with guests beside the nodes, and the routes by pool; None where
    the registry knows of no routes."""

    inventory: Inventory
    routes: tuple[PlacedRoute, ...] | None = None


@dataclass(slots=True)
class _Group:
    """Targets of one route that are treated alike and are of one kind. `shared` are the shares as things are,
    `usual` the weights when all serve: which pools there are must not depend on who serves now."""

    route: Route
    kind: str
    treatment: Treatment
    targets: tuple[Target, ...]
    shared: dict[str, float]
    usual: dict[str, int]
    out: bool
    pool: str = ""

    @property
    def source(self) -> str:
        return self.route.host + self.route.path

    def signature(self) -> tuple[object, ...]:
        """What makes two groups need the same weights: all that their shares are computed from."""
        mine = frozenset(target.node_id for target in self.targets)
        everyone = ((item.node_id, item.weight, item.part) for item in self.route.targets)
        return mine, frozenset(everyone)


@dataclass(slots=True)
class _Pools:
    """Own pools with their nodes, and the weights of pools and of their guests as they become known."""

    nodes: dict[str, Node]
    own: dict[str, set[str]] = field(default_factory=dict)
    usual: dict[str, dict[str, int]] = field(default_factory=dict)
    weights: dict[str, dict[str, int]] = field(default_factory=dict)
    names: dict[tuple[object, ...], str] = field(default_factory=dict)


def share_out(inventory: Inventory, judgement: Judgement) -> Shared:
    """The inventory with guests, and its routes by pool. Nodes that do not serve now count for nothing in the
    shares of the others."""
    if not inventory.routes:
        return Shared(inventory=inventory, routes=None if inventory.routes is None else ())
    nodes = {node.id: node for node in inventory.nodes}
    out = {name for name, node in nodes.items() if _is_out(node, judgement)}
    pools = _Pools(nodes=nodes)
    for node in inventory.nodes:
        pools.own.setdefault(node.pool, set()).add(node.id)
    routes = sorted(inventory.routes, key=lambda route: (route.host, route.path))
    groups = [_groups(route, nodes, out) for route in routes]
    for group in (group for each in groups for group in each):
        group.pool = _pool_for(group, pools)
    weighed = [
        node if weight == node.weight else replace(node, weight=weight)
        for node in inventory.nodes
        for weight in (pools.weights.get(node.pool, {}).get(node.id, node.weight),)
    ]
    guests = [
        replace(nodes[name], pool=pool, weight=weight)
        for pool, each in pools.weights.items()
        if pool not in pools.own
        for name, weight in each.items()
    ]
    return Shared(
        inventory=replace(inventory, nodes=(*weighed, *guests)) if groups else inventory,
        routes=tuple(_placed(route, each) for route, each in zip(routes, groups, strict=True) if each),
    )


def _is_out(node: Node, judgement: Judgement) -> bool:
    verdict = judgement.verdicts.get(node.id)
    return node.intent is not Intent.SERVE or (verdict is not None and verdict.status is Status.DOWN)


def _groups(route: Route, nodes: Mapping[str, Node], out: Set[str]) -> list[_Group]:
    # A node that only has a target's name is another one.
    targets = [
        target
        for target in route.targets
        if (node := nodes.get(target.node_id)) is not None and node.pool == target.pool
    ]
    shared, usual = shares(targets, out), shares(targets)
    found: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        found.setdefault((nodes[target.node_id].kind, target.treatment.id), []).append(target)
    return [
        _Group(
            route=route, kind=kind, treatment=each[0].treatment, targets=tuple(each),
            shared={target.node_id: shared[target.node_id] for target in each},
            usual=weights({target.node_id: usual[target.node_id] for target in each}),
            out=all(target.node_id in out for target in each),
        )
        for (kind, _), each in sorted(found.items())
    ]  # fmt: skip


def _pool_for(group: _Group, pools: _Pools) -> str:
    """The pool that serves a group: its nodes' own when it is just these nodes with these weights."""
    members = {target.node_id for target in group.targets}
    owners = {pools.nodes[name].pool for name in members}
    wanted = weights(group.shared)
    if len(owners) == 1:
        (owner,) = owners
        if pools.own[owner] == members and pools.usual.setdefault(owner, group.usual) == group.usual:
            pools.weights.setdefault(owner, wanted)
            return owner
    signature = (*group.signature(), group.kind)
    name = pools.names.get(signature)
    if name is None:
        name = pools.names[signature] = _new_name(group, owners, pools)
        pools.weights[name] = wanted
    return name


def _new_name(group: _Group, owners: Iterable[str], pools: _Pools) -> str:
    """A name for a pool of guests. It depends on the services and the route only, not on who serves now: nodes
    that come and go must not make HAProxy reload."""
    owners = sorted(owners)
    plain = ".".join(owners)
    taken = {*pools.own, *pools.weights}
    if len(owners) > 1 and len(plain) <= LONGEST_NAME and plain not in taken:
        return plain
    digest = hashlib.sha256(f"{group.source} {group.treatment.id} {group.kind}".encode()).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}.{digest}"


def _placed(route: Route, groups: list[_Group]) -> PlacedRoute:
    """The route by pool. A variant without a node that serves is left out as long as another one has some."""
    alive = [group for group in groups if not group.out] or groups
    totals = [sum(group.shared.values()) for group in alive]
    whole = sum(totals)
    return PlacedRoute(
        host=route.host,
        path=route.path,
        variants=tuple(
            Variant(
                pool=group.pool, treatment=group.treatment, share=total / whole if whole else 1 / len(alive)
            )
            for group, total in zip(alive, totals, strict=True)
            if total or not whole
        ),
    )
