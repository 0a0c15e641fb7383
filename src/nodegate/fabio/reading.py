"""What one service instance says by itself: a node in draft and its routing tags. Nothing here depends on any other
instance, so it has to be worked out only once for each registration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nodegate.catalog import Instance
from nodegate.fabio import checks, predecessor, tags
from nodegate.fabio.checks import Standing
from nodegate.fabio.tags import BadTag, Tag
from nodegate.model import Intent, Node, Scalar, Source
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
class Draft:
    """What one instance says. `node` has the id and the pool that it asks for, which may be taken, and no weight
    yet; it is None for an instance that is not routed. `part` is its share among the instances of its pool.
    Each fault is a sentence that begins with the service and the instance."""

    node: Node | None = None
    routing: tuple[Tag, ...] = ()
    part: int = 1
    faults: tuple[str, ...] = ()


def concerns(instance: Instance, settings: FabioSettings) -> bool:
    """Whether an instance has any tag that is understood here."""
    if settings.enabled and any(tags.is_routing(tag, settings.tag_prefix) for tag in instance.tags):
        return True
    return settings.predecessor and predecessor.is_described(instance.tags)


def read_instance(instance: Instance, settings: FabioSettings) -> Draft:
    """The draft of an instance that `concerns`. Never raises, whatever was registered."""
    who = f"service {instance.service!r}, instance {instance.id!r}"
    faults: list[str] = []
    routing = _tags_of(instance, settings, faults, who)
    described: predecessor.Described | None = None
    if settings.predecessor and predecessor.is_described(instance.tags):
        described, said = predecessor.read(instance.tags)
        faults += (f"{who}: {fault}" for fault in said)
    if not routing and described is None:
        return Draft(faults=tuple(faults))
    standing = checks.standing(instance, settings)
    if standing.unchecked and not settings.unchecked and described is None:
        faults.append(
            f"{who}: it has no check of its own, so it is not routed; give it one, or set fabio.unchecked"
        )
        return Draft(faults=tuple(faults))
    if settings.strict and standing.failing:
        return Draft(faults=tuple(faults))
    node = _node(instance, routing, described, standing, faults, who)
    part = described.weight if described is not None else 1 if settings.strict else instance.weights_passing
    return Draft(node=node, routing=tuple(routing), part=max(0, part), faults=tuple(faults))


def _tags_of(instance: Instance, settings: FabioSettings, faults: list[str], who: str) -> list[Tag]:
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
            faults.append(f"{who}: tag {text!r}: {tag.why}")
            continue
        faults += (f"{who}: tag {text!r}: {remark}" for remark in tag.remarks)
        if tag.meaning.treatment.auth and tag.meaning.treatment.auth not in settings.auth:
            faults.append(
                f"{who}: tag {text!r}: there is no fabio.auth.{tag.meaning.treatment.auth}; everybody is refused"
            )
        known = found.setdefault((tag.host, tag.path), tag)
        if known is not tag and known.text != tag.text:
            faults.append(f"{who}: tag {text!r}: another tag has the same host and path; that one counts")
    return list(found.values())


def _node(
    instance: Instance, routing: Sequence[Tag], described: predecessor.Described | None, standing: Standing,
    faults: list[str], who: str,
) -> Node | None:  # fmt: skip
    """The node of an instance, None (with a fault) for one that cannot be reached."""
    https = described.https if described is not None else any(tag.meaning.https for tag in routing)
    if routing and len({tag.meaning.https for tag in routing}) > 1:
        faults.append(f"{who}: its tags disagree on proto; it is spoken to in HTTPS")
    faults += (
        f"{who}: meta {META}{key} has no effect beside tags that say the same"
        for key in _SAID_BY_TAGS
        if META + key in instance.meta
    )
    verify = described.verify if described is not None else all(tag.meaning.verify for tag in routing)
    kind, pool, maxconn, options = _from_meta(instance, described)
    if described is not None and described.maxconn_pow is not None and kind != "iri":
        faults.append(f"{who}: tag haproxy.maxconnpow has no effect: kind {kind} knows no proof of work")
    host = f"[{instance.address}]" if ":" in instance.address else instance.address
    name = next((tag.meaning.treatment.host for tag in routing if tag.meaning.treatment.host), "")
    named = https and name and re.fullmatch(r"[0-9.]+|.*:.*", name) is None and _is_ip(instance.address)
    try:
        url = checked_url(f"{'https' if https else 'http'}://{name if named else host}:{instance.port}")
    except ValueError as error:
        faults.append(f"{who}: it cannot be reached: {error}")
        return None
    return Node(
        id=as_name(instance.id), url=url, kind=kind, pool=pool, tls_verify=verify or not https, maxconn=maxconn,
        options=options, failing=standing.failing, source=Source.SERVICE,
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
        "path" if key == OPTION_PATH else key: scalar(text) for key, text in said.items()
    }
    if kind == "http" and not {"expect_status", "expect_body"} & options.keys() and instance.checks:
        options["expect_status"] = UNCONCERNED_STATUS
    if kind == "iri" and described is not None and described.pow != "false":
        options.setdefault("pow", True)
    if kind == "iri" and described is not None and described.maxconn_pow is not None:
        options.setdefault("maxconn_pow", described.maxconn_pow)
    return as_name(kind), as_name(pool), maxconn, options


def _pool_of(described: predecessor.Described) -> str:
    return "pow" if described.pow == "only" else "main"


def scalar(text: str) -> Scalar:
    """A text of meta as an option: true, false, a whole number, or the text itself."""
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", text) else text


def as_name(text: str) -> str:
    """`text` as a name of nodegate's: what it may not hold becomes a dash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].lstrip("._-")
    return name if NAME.fullmatch(name) else "unnamed"
