"""From Consul's service instances to nodes and routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from nodegate.catalog import Instance
from nodegate.fabio import tags
from nodegate.fabio.reading import Draft, as_name, concerns, read_instance
from nodegate.fabio.tags import Tag
from nodegate.model import Node
from nodegate.routes import Route, Target, Treatment
from nodegate.routes.weights import weights
from nodegate.settings.fabio import FabioSettings

__all__ = ["Earlier", "Found", "concerns", "nodes_of"]

Place = tuple[str, str]
"""Consul node and instance id."""
Source = tuple[str, str]
"""Host and path of a route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the tags of a catalogue mean. `registers` are the further names under which the gateway should
    register itself in Consul. Each fault is a sentence that begins with the service and the instance."""

    nodes: tuple[Node, ...] = ()
    routes: tuple[Route, ...] = ()
    faults: tuple[str, ...] = ()
    registers: tuple[str, ...] = ()


@dataclass(slots=True)
class Earlier:
    """What was worked out the last time, for one and the same settings. What did not change is given back as the very
    same objects, so that whoever compares it need not look inside."""

    drafts: dict[Place, tuple[Instance, Draft]] = field(default_factory=dict)
    placed: dict[Place, tuple[Draft, Node]] = field(default_factory=dict)
    targets: dict[Place, tuple[Draft, Node, tuple[Target, ...]]] = field(default_factory=dict)
    routes: dict[Source, Route] = field(default_factory=dict)


@dataclass(slots=True)
class _Growing:
    """The nodes so far, by id, with what their weights will depend on."""

    drafts: dict[str, tuple[Place, Draft]] = field(default_factory=dict)
    pools: dict[str, dict[str, float]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


def nodes_of(instances: Iterable[Instance], settings: FabioSettings, earlier: Earlier | None = None) -> Found:
    """The nodes and routes of all instances that `concerns`; the others are left out. `earlier` is brought up to
    date.

    A fault of one tag touches neither the instance's other tags nor any other service. An instance that fails
    Consul's checks stays a node and says so (`Node.failing`), so that safety can weigh it; with
    `settings.strict` it is left out, as Fabio does. Maintenance is an operator's word: such a node is drained.
    """
    earlier = earlier if earlier is not None else Earlier()
    ordered = {
        (one.node, one.id): one
        for one in sorted(instances, key=lambda item: (item.service, item.node, item.id))
    }
    earlier.drafts = _drafts(ordered, settings, earlier.drafts)
    growing = _Growing()
    for place, (_, draft) in earlier.drafts.items():
        if draft.node is not None:
            _place(growing, place, draft, draft.node)
    nodes = _weighed(growing, earlier)
    routes = _routes(ordered, growing, nodes, settings, earlier)
    return Found(
        nodes=tuple(nodes[name] for name in sorted(nodes)),
        routes=routes,
        faults=tuple(fault for _, draft in earlier.drafts.values() for fault in draft.faults),
        registers=tuple(
            sorted(
                {
                    tag.meaning.registers
                    for _, draft in growing.drafts.values()
                    for tag in draft.routing
                    if tag.meaning.registers
                }
            )
        ),
    )


def _drafts(
    ordered: Mapping[Place, Instance],
    settings: FabioSettings,
    known: Mapping[Place, tuple[Instance, Draft]],
) -> dict[Place, tuple[Instance, Draft]]:
    """What each instance says; one that is the same object as before is not read again."""
    drafts = {}
    for place, instance in ordered.items():
        former = known.get(place)
        if former is not None and former[0] is instance:
            drafts[place] = former
        elif concerns(instance, settings):
            drafts[place] = (instance, read_instance(instance, settings))
    return drafts


def _place(growing: _Growing, place: Place, draft: Draft, node: Node) -> None:
    """Give the node a free id, and a pool of its kind."""
    pool = node.pool
    if growing.kinds.setdefault(pool, node.kind) != node.kind:
        pool = f"{pool[: 62 - len(node.kind)]}.{node.kind}"
        growing.kinds.setdefault(pool, node.kind)
    name = _free_id(growing, node.id, place)
    growing.drafts[name] = (place, draft)
    growing.pools.setdefault(pool, {})[name] = draft.part


def _free_id(growing: _Growing, plain: str, place: Place) -> str:
    """Instances are named apart on one Consul node only."""
    if plain not in growing.drafts:
        return plain
    longer = as_name(f"{plain[:40]}-{place[0]}")
    number = 2
    while longer in growing.drafts:
        longer = f"{longer[:58]}-{number}"
        number += 1
    return longer


def _weighed(growing: _Growing, earlier: Earlier) -> dict[str, Node]:
    """The nodes with HAProxy's weights, in proportion to what Consul or the tags say within each pool."""
    nodes: dict[str, Node] = {}
    placed: dict[Place, tuple[Draft, Node]] = {}
    for pool, parts in growing.pools.items():
        for name, weight in weights(parts).items():
            place, draft = growing.drafts[name]
            former = earlier.placed.get(place)
            if former is not None and former[0] is draft and _is(former[1], name, pool, weight):
                placed[place] = former
            else:
                assert draft.node is not None
                placed[place] = (draft, replace(draft.node, id=name, pool=pool, weight=weight))
            nodes[name] = placed[place][1]
    earlier.placed = placed
    return nodes


def _is(node: Node, name: str, pool: str, weight: int) -> bool:
    return node.id == name and node.pool == pool and node.weight == weight


def _routes(
    ordered: Mapping[Place, Instance],
    growing: _Growing,
    nodes: Mapping[str, Node],
    settings: FabioSettings,
    earlier: Earlier,
) -> tuple[Route, ...]:
    """The routes in order of host and path."""
    made: dict[Place, tuple[Draft, Node, tuple[Target, ...]]] = {}
    found: dict[Source, list[Target]] = {}
    for name, (place, draft) in growing.drafts.items():
        node, former = nodes[name], earlier.targets.get(place)
        same = former is not None and former[0] is draft and former[1] is node
        targets = (
            former[2]
            if same and former is not None
            else tuple(_target(tag, node, ordered[place], draft.part, settings) for tag in draft.routing)
        )
        made[place] = (draft, node, targets)
        for tag, target in zip(draft.routing, targets, strict=True):
            found.setdefault((tag.host, tag.path), []).append(target)
    known, earlier.targets, earlier.routes = earlier.routes, made, {}
    for source, each in sorted(found.items()):
        route = known.get(source)
        if route is None or route.targets != tuple(each):
            route = Route(host=source[0], path=source[1], targets=tuple(each))
        earlier.routes[source] = route
    return tuple(earlier.routes.values())


def _target(tag: Tag, node: Node, instance: Instance, part: int, settings: FabioSettings) -> Target:
    treatment: Treatment = tag.meaning.treatment
    place = f"[{instance.address}]" if ":" in instance.address else instance.address
    if tag.meaning.upstream_host == "dst":
        treatment = replace(treatment, host=f"{place}:{instance.port}")
    scheme = "https" if tag.meaning.https else "http"
    return Target(
        node_id=node.id, pool=node.pool, kind=node.kind, weight=tag.meaning.weight, part=part, treatment=treatment,
        service=instance.service, url=f"{scheme}://{place}:{instance.port}/",
        options=" ".join(word for word in tag.text.split() if not word.startswith(("weight=", "proto=https"))),
        tags=tags.other_tags(instance.tags, settings.tag_prefix),
    )  # fmt: skip
