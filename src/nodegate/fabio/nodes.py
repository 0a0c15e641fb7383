"""From Consul's service instances to nodes and routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nodegate.catalog import Instance
from nodegate.fabio import checks, predecessor, tags
from nodegate.fabio.checks import Standing
from nodegate.fabio.tags import BadTag, Tag
from nodegate.model import Intent, Node, Scalar
from nodegate.routes import Route, Target, Treatment
from nodegate.routes.weights import weights
from nodegate.settings import NAME, checked_url
from nodegate.settings.fabio import FabioSettings

META = "nodegate-"
"""What the keys of a service's meta that speak to nodegate begin with: `nodegate-kind`, `nodegate-pool`,
`nodegate-maxconn`, and `nodegate-OPTION` for each option of the kind."""

OPTION_PATH = "probe_path"
"""The meta that gives the option `path` of kind http; `nodegate-path` is the path of a node's URL."""

_SAID_BY_TAGS = ("path", "scheme", "tls_verify", "weight")
"""Meta that counts for services without tags only: here tags and Consul's Weights say it."""

UNCONCERNED_STATUS = "200-499"
"""What a service must answer to nodegate's own probe where Consul checks it too: anything but a failure. Nobody
said that its root must be a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the tags of a catalogue mean. `registers` are the further names under which the gateway should
    register itself in Consul. Each fault is a sentence that begins with the service and the instance."""

    nodes: tuple[Node, ...] = ()
    routes: tuple[Route, ...] = ()
    faults: tuple[str, ...] = ()
    registers: tuple[str, ...] = ()


@dataclass(slots=True)
class _Growing:
    nodes: dict[str, Node] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    routes: dict[tuple[str, str], list[Target]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    registers: set[str] = field(default_factory=set)


def concerns(instance: Instance, settings: FabioSettings) -> bool:
    """Whether an instance has any tag that is understood here."""
    if settings.enabled and any(tags.is_routing(tag, settings.tag_prefix) for tag in instance.tags):
        return True
    return settings.predecessor and predecessor.is_described(instance.tags)


def nodes_of(instances: Iterable[Instance], settings: FabioSettings) -> Found:
    """The nodes and routes of all instances that `concerns`; the others are left out.

    A fault of one tag touches neither the instance's other tags nor any other service. An instance that fails
    Consul's checks stays a node and says so (`Node.failing`), so that safety can weigh it; with
    `settings.strict` it is left out, as Fabio does. Maintenance is an operator's word: such a node is drained.
    """
    growing = _Growing()
    for instance in sorted(instances, key=lambda item: (item.service, item.node, item.id)):
        if concerns(instance, settings):
            _add(growing, instance, settings)
    weighed = _weighed(growing)
    return Found(
        nodes=tuple(weighed[name] for name in sorted(weighed)),
        routes=tuple(
            Route(host=host, path=path, targets=tuple(targets))
            for (host, path), targets in sorted(growing.routes.items())
        ),
        faults=tuple(growing.faults),
        registers=tuple(sorted(growing.registers)),
    )


def _add(growing: _Growing, instance: Instance, settings: FabioSettings) -> None:
    who = f"service {instance.service!r}, instance {instance.id!r}"
    routing = _tags_of(growing, instance, settings, who)
    described: predecessor.Described | None = None
    if settings.predecessor and predecessor.is_described(instance.tags):
        described, faults = predecessor.read(instance.tags)
        growing.faults += (f"{who}: {fault}" for fault in faults)
    if not routing and described is None:
        return
    standing = checks.standing(instance, settings)
    if standing.unchecked and not settings.unchecked and described is None:
        growing.faults.append(
            f"{who}: it has no check of its own, so it is not routed; give it one, or set fabio.unchecked"
        )
        return
    if settings.strict and standing.failing:
        return
    node = _node(growing, instance, routing, described, standing, who)
    if node is None:
        return
    growing.nodes[node.id] = node
    part = described.weight if described is not None else 1 if settings.strict else instance.weights_passing
    growing.parts[node.id] = max(0, part)
    for tag in routing:
        growing.routes.setdefault((tag.host, tag.path), []).append(
            _target(tag, node, instance, growing.parts[node.id], settings)
        )
        if tag.meaning.registers:
            growing.registers.add(tag.meaning.registers)


def _tags_of(growing: _Growing, instance: Instance, settings: FabioSettings, who: str) -> list[Tag]:
    """The instance's routing tags that can be used; the first of several for one route counts."""
    found: dict[tuple[str, str], Tag] = {}
    if not settings.enabled:
        return []
    for text in instance.tags:
        if not tags.is_routing(text, settings.tag_prefix):
            continue
        tag = tags.parse(
            text, prefix=settings.tag_prefix, datacenter=instance.datacenter, strict=settings.strict,
            glob_hosts=settings.glob_hosts, glob_paths=settings.matcher == "glob",
        )  # fmt: skip
        if isinstance(tag, BadTag):
            growing.faults.append(f"{who}: tag {text!r}: {tag.why}")
            continue
        growing.faults += (f"{who}: tag {text!r}: {remark}" for remark in tag.remarks)
        if tag.meaning.treatment.auth and tag.meaning.treatment.auth not in settings.auth:
            growing.faults.append(
                f"{who}: tag {text!r}: there is no fabio.auth.{tag.meaning.treatment.auth}; everybody is refused"
            )
        known = found.setdefault((tag.host, tag.path), tag)
        if known is not tag and known.text != tag.text:
            growing.faults.append(
                f"{who}: tag {text!r}: another tag has the same host and path; that one counts"
            )
    return list(found.values())


def _node(
    growing: _Growing, instance: Instance, routing: Sequence[Tag], described: predecessor.Described | None,
    standing: Standing, who: str,
) -> Node | None:  # fmt: skip
    """The node of an instance, None (with a fault) for one that cannot be reached."""
    https = described.https if described is not None else any(tag.meaning.https for tag in routing)
    if routing and len({tag.meaning.https for tag in routing}) > 1:
        growing.faults.append(f"{who}: its tags disagree on proto; it is spoken to in HTTPS")
    growing.faults += (
        f"{who}: meta {META}{key} has no effect beside tags that say the same"
        for key in _SAID_BY_TAGS
        if META + key in instance.meta
    )
    verify = described.verify if described is not None else all(tag.meaning.verify for tag in routing)
    kind, pool, maxconn, options = _from_meta(instance, described)
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    name = next((tag.meaning.treatment.host for tag in routing if tag.meaning.treatment.host), "")
    named = https and name and re.fullmatch(r"[0-9.]+|.*:.*", name) is None and _is_ip(instance.address)
    try:
        url = checked_url(f"{'https' if https else 'http'}://{name if named else host}:{instance.port}")
    except ValueError as error:
        growing.faults.append(f"{who}: it cannot be reached: {error}")
        return None
    pool = _of_one_kind(growing, pool, kind)
    return Node(
        id=_free_id(growing, instance), url=url, kind=kind, pool=pool, tls_verify=verify or not https,
        maxconn=maxconn, options=options, failing=standing.failing,
        intent=Intent.DRAIN if standing.maintenance else Intent.SERVE,
        address=instance.address if named else None,
    )  # fmt: skip


def _is_ip(text: str) -> bool:
    return re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", text) is not None


def _from_meta(
    instance: Instance, described: predecessor.Described | None
) -> tuple[str, str, int | None, dict[str, Scalar]]:
    """Kind, pool, the bound on requests at once and the kind's options, as the meta says or by default."""
    said = {key.removeprefix(META): text for key, text in instance.meta.items() if key.startswith(META)}
    for key in _SAID_BY_TAGS:
        said.pop(key, None)
    most = said.pop("maxconn", "")
    maxconn = described.maxconn if described is not None else None
    if re.fullmatch(r"[1-9][0-9]{0,6}", most):
        maxconn = int(most)
    kind = said.pop("kind", "") or ("iri" if described is not None else "http")
    pool = said.pop("pool", "") or (_pool_of(described) if described is not None else instance.service)
    options: dict[str, Scalar] = {
        "path" if key == OPTION_PATH else key: _scalar(text) for key, text in said.items()
    }
    if kind == "http" and not {"expect_status", "expect_body"} & options.keys() and instance.checks:
        options["expect_status"] = UNCONCERNED_STATUS
    if kind == "iri" and described is not None and described.pow != "false":
        options.setdefault("pow", True)
    return _as_name(kind), _as_name(pool), maxconn, options


def _pool_of(described: predecessor.Described) -> str:
    return "pow" if described.pow == "only" else "main"


def _scalar(text: str) -> Scalar:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", text) else text


def _as_name(text: str) -> str:
    """`text` as a name of nodegate's: what it may not hold becomes a dash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].lstrip("._-")
    return name if NAME.fullmatch(name) else "unnamed"


def _of_one_kind(growing: _Growing, pool: str, kind: str) -> str:
    """A pool holds one kind; instances of another one have a pool beside it."""
    kinds = {node.kind for node in growing.nodes.values() if node.pool == pool}
    return pool if not kinds or kind in kinds else f"{pool[: 62 - len(kind)]}.{kind}"


def _free_id(growing: _Growing, instance: Instance) -> str:
    """Instances are named apart on one Consul node only."""
    plain = _as_name(instance.id)
    if plain not in growing.nodes:
        return plain
    longer = _as_name(f"{plain[:40]}-{instance.node}")
    number = 2
    while longer in growing.nodes:
        longer = f"{longer[:58]}-{number}"
        number += 1
    return longer


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


def _weighed(growing: _Growing) -> Mapping[str, Node]:
    """The nodes with HAProxy's weights, in proportion to what Consul or the tags say within each pool."""
    pools: dict[str, dict[str, float]] = {}
    for name, node in growing.nodes.items():
        pools.setdefault(node.pool, {})[name] = growing.parts[name]
    found = {name: weight for parts in pools.values() for name, weight in weights(parts).items()}
    return {name: replace(node, weight=found[name]) for name, node in growing.nodes.items()}
