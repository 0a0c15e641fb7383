"""What Consul's keys and services say, as nodes. Pure.

A node that nodegate registered is a record below `nodegate/nodes/`: one key, so that it is created, changed and
deleted by compare-and-set. The service that is registered for it (see `consulservices`) is its picture for others
and adds Consul's checks. Services that others registered become nodes by their meta or by their tags; of them
the keys hold the intent alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from nodegate.catalog import CRITICAL, Instance
from nodegate.consul.kv import Entry
from nodegate.errors import Malformed
from nodegate.fabio.checks import standing
from nodegate.fabio.nodes import Earlier, concerns, nodes_of
from nodegate.fabio.reading import META, OPTION_PATH, scalar
from nodegate.model import Intent, Node, Source
from nodegate.registry.records import read_record, write_record
from nodegate.registry.records.strictjson import strict_json
from nodegate.routes import Route
from nodegate.settings import NAME, FabioSettings, checked_url

NODES = "nodegate/nodes/"
MARKER = f"{NODES}.store"
"""A key that no node can have. While it is there and readable, a listing without nodes is true."""

RECORD = "nodegate-record"
"""Meta of a service that stands for a record: the node's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record as it is stored: the node, and the Consul node whose agent has its service."""

    node: Node
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All records by node id, and those that could not be understood."""

    stored: Mapping[str, Stored] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """Nodes in order of id, the routes that services bring along, faults, and the further names under which the
    gateway should register itself."""

    nodes: tuple[Node, ...]
    routes: tuple[Route, ...]
    faults: tuple[str, ...]
    registers: tuple[str, ...] = ()


def write_stored(node: Node, agent: str) -> bytes:
    """The value of a node's key. Raises BadDocument for a node that could not be read back."""
    return json.dumps({**json.loads(write_record(replace(node, failing=""))), "agent": agent}).encode()


def read_stored(entry: Entry) -> Stored:
    """The record of one key. Raises Malformed, naming it."""
    node_id = entry.key.removeprefix(NODES)
    try:
        data = strict_json(entry.value)
    except ValueError as error:
        raise Malformed(f"record of node {node_id!r} (version {entry.version}): {error}") from error
    agent = data.pop("agent", "") if isinstance(data, dict) else ""
    node = read_record(json.dumps(data), node_id=node_id, version=entry.version)
    return Stored(node=node, agent=str(agent))


def read_records(entries: Mapping[str, Entry], known: Mapping[str, tuple[Entry, Stored]]) -> Records:
    """The records of all keys; those that are as in `known` are not read again."""
    stored: dict[str, Stored] = {}
    faults = []
    for key, entry in entries.items():
        if key == MARKER:
            continue
        former = known.get(key)
        try:
            stored[key.removeprefix(NODES)] = (
                former[1] if former is not None and former[0] == entry else read_stored(entry)
            )
        except Malformed as error:
            faults.append(f"{error}; mend Consul's key {key}, or delete it")
    return Records(stored=stored, faults=tuple(faults))


Place = tuple[str, str]
"""Consul node and instance id."""


@dataclass(slots=True)
class Before:
    """What was assembled the last time, for one and the same settings. Whatever follows from unchanged records and
    instances stays the same object: of thousands of nodes only those that changed are looked at again."""

    tagged: Earlier = field(default_factory=Earlier)
    meant: dict[Place, tuple[Instance, Node]] = field(default_factory=dict)
    checked: dict[str, tuple[Node, Instance | None, Node]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)


def assemble(
    records: Records, instances: Iterable[Instance], settings: FabioSettings, before: Before | None = None
) -> Assembled:
    """All nodes: those of the records, with what Consul's checks say of them, and those of services that others
    registered, with the intents that the records hold for them. `before` is brought up to date."""
    before = before if before is not None else Before()
    pictures: dict[str, Instance] = {}
    tagged: list[Instance] = []
    plain: list[Instance] = []
    for instance in instances:
        if RECORD in instance.meta:
            pictures[instance.meta[RECORD]] = instance
        elif instance.tags and concerns(instance, settings):
            tagged.append(instance)
        elif instance.meta:
            plain.append(instance)
    nodes = _own(records, pictures, settings, before)
    found_by_tags = nodes_of(tagged, settings, before.tagged)
    found_by_meta, faults = _of_meta(plain, settings, before.meant)
    faults = [*records.faults, *found_by_tags.faults, *faults]
    for found in (*found_by_tags.nodes, *found_by_meta):
        if found.id in nodes:
            faults.append(
                f"service instance {found.id!r} has the id of another node and is left out; rename one of them"
            )
            continue
        nodes[found.id] = _intended(found, records.stored.get(found.id))
    former = before.nodes
    before.nodes = {name: _same(former.get(name), nodes[name]) for name in sorted(nodes)}
    return Assembled(
        nodes=tuple(before.nodes.values()), routes=found_by_tags.routes, faults=tuple(faults),
        registers=found_by_tags.registers,
    )  # fmt: skip


def _same(former: Node | None, node: Node) -> Node:
    """`former` where it says the same."""
    return former if former is not None and (former is node or former == node) else node


def _own(
    records: Records, pictures: Mapping[str, Instance], settings: FabioSettings, before: Before
) -> dict[str, Node]:
    """The nodes of the records, with what the checks of their services say."""
    checked: dict[str, tuple[Node, Instance | None, Node]] = {}
    for node_id, one in records.stored.items():
        if one.node.source is Source.SERVICE:
            continue
        picture, former = pictures.get(node_id), before.checked.get(node_id)
        same = former is not None and former[0] is one.node and former[1] is picture
        checked[node_id] = (
            former
            if same and former is not None
            else (one.node, picture, _checked(one.node, picture, settings))
        )
    before.checked = checked
    return {node_id: node for node_id, (_, _, node) in checked.items()}


def places_of(nodes: Iterable[Node], instances: Iterable[Instance], agent: str) -> dict[str, str]:
    """The service ids of nodes that others registered on the Consul node `agent`, by node id."""
    foreign = {node.id: node for node in nodes if node.source is Source.SERVICE}
    places = {}
    for instance in instances:
        if instance.node != agent or RECORD in instance.meta:
            continue
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", instance.id)[:63].lstrip("._-")
        longer = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{plain[:40]}-{instance.node}")[:63]
        for name in (longer, plain):
            if name in foreign and name not in places and f":{instance.port}" in foreign[name].url:
                places[name] = instance.id
                break
    return places


def _checked(node: Node, picture: Instance | None, settings: FabioSettings) -> Node:
    """`node` with what the checks of its service say.

    The service sits on the agent of the gateway that registered it, not on the node's machine: an agent that is
    lost says nothing about the node. Neither does a check that has not run yet, since the node is new or its agent
    has just started: those of such a service always say why they fail.
    """
    if picture is None or any(check.status == CRITICAL for check in picture.node_checks):
        return node
    ran = tuple(
        check for check in picture.checks if check.output or check.status != CRITICAL or check.id[0] == "_"
    )
    found = standing(replace(picture, checks=ran, node_checks=()), settings)
    if found.maintenance and node.intent is Intent.SERVE:
        node = replace(node, intent=Intent.DRAIN)
    return replace(node, failing=found.failing)


def _intended(node: Node, record: Stored | None) -> Node:
    """A service's node with the intent that its record holds; maintenance in Consul wins."""
    if node.source is not Source.SERVICE:
        node = replace(node, source=Source.SERVICE)
    if record is None or record.node.source is not Source.SERVICE:
        return node
    intent = Intent.DRAIN if Intent.DRAIN in {node.intent, record.node.intent} else record.node.intent
    return replace(node, intent=intent, version=record.node.version)


def _of_meta(
    instances: Iterable[Instance], settings: FabioSettings, known: dict[Place, tuple[Instance, Node]]
) -> tuple[list[Node], list[str]]:
    """Services without tags for a router whose meta name a kind of node."""
    nodes: dict[str, Node] = {}
    former = known.copy()
    known.clear()
    faults = []
    for instance in sorted(instances, key=lambda one: (one.service, one.node, one.id)):
        if f"{META}kind" not in instance.meta:
            continue
        place = (instance.node, instance.id)
        try:
            same = place in former and former[place][0] is instance
            node = former[place][1] if same else _meta_node(instance, settings)
        except ValueError as error:
            faults.append(f"service {instance.service!r}, instance {instance.id!r}: {error}")
            continue
        known[place] = (instance, node)
        if node.id in nodes:
            node = replace(node, id=f"{node.id[:40]}-{instance.node}"[:63])
        if NAME.fullmatch(node.id) is None or node.id in nodes:
            faults.append(
                f"service {instance.service!r}, instance {instance.id!r}: no free name for a node; give it another id"
            )
            continue
        nodes[node.id] = node
    return list(nodes.values()), faults


_BOUNDS = {"weight": (0, 256), "maxconn": (1, 1_000_000)}


def _meta_node(instance: Instance, settings: FabioSettings) -> Node:
    """Raises ValueError, in words, for meta that cannot be meant so."""
    said = {key.removeprefix(META): text for key, text in instance.meta.items() if key.startswith(META)}
    for key, allowed in (("scheme", ("http", "https")), ("tls_verify", ("true", "false"))):
        if said.get(key, allowed[0]) not in allowed:
            raise ValueError(f"meta {META}{key}: {said[key]!r} is neither {allowed[0]} nor {allowed[1]}")
    numbers = {}
    for key, (least, most) in _BOUNDS.items():
        text = said.pop(key, None)
        if text is not None:
            if not re.fullmatch(r"[0-9]{1,7}", text) or not least <= int(text) <= most:
                raise ValueError(f"meta {META}{key}: {text!r} is no number from {least} to {most}")
            numbers[key] = int(text)
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    url = checked_url(f"{said.pop('scheme', 'http')}://{host}:{instance.port}{said.pop('path', '')}")
    kind, pool = said.pop("kind"), said.pop("pool", "main")
    for key, text in (("kind", kind), ("pool", pool)):
        if NAME.fullmatch(text) is None:
            raise ValueError(f"meta {META}{key}: {text!r} is no name")
    node_id = re.sub(r"[^A-Za-z0-9._-]+", "-", instance.id)[:63].lstrip("._-")
    seen = standing(instance, settings)
    return Node(
        id=node_id, url=url, kind=kind, pool=pool,
        # Consul's weights are shares of a sum, and 1 unless set: that is a node like all others.
        weight=numbers.get("weight", 100 if instance.weights_passing == 1 else min(256, instance.weights_passing)),
        maxconn=numbers.get("maxconn"), tls_verify=said.pop("tls_verify", "true") == "true",
        intent=Intent.DRAIN if seen.maintenance else Intent.SERVE, failing=seen.failing, source=Source.SERVICE,
        options={"path" if key == OPTION_PATH else key: scalar(text) for key, text in said.items()},
    )  # fmt: skip
