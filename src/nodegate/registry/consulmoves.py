"""Nodes as a file of service definitions for Consul, and services of a Consul as nodes for any registry. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nodegate.catalog import Instance
from nodegate.fabio.reading import META
from nodegate.model import Intent, Node, Source
from nodegate.ports import Adapter
from nodegate.registry.consulnodes import RECORD, Records, assemble
from nodegate.registry.consulservices import DIGEST, definition
from nodegate.routes import Route, Treatment
from nodegate.settings import FabioSettings, ProbeSettings, RegistrySettings

_KEYS = {"TLSSkipVerify": "tls_skip_verify", "CheckID": "id", "TCP": "tcp", "HTTP": "http", "ID": "id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Nodes for another registry, and a sentence for everything that it cannot hold."""

    nodes: tuple[Node, ...]
    left: tuple[str, ...]


def taken_over(instances: Iterable[Instance], settings: FabioSettings) -> Taken:
    """The services of a catalogue as nodes. Failing instances come along: nodegate will probe them.

    Routes belong to a registry that knows services; what they would be in nodegate.toml is said, and so is what
    could not be written there.
    """
    forgiving = settings.model_copy(update={"strict": False, "unchecked": True})
    found = assemble(Records(), [_without_marks(one) for one in instances], forgiving)
    nodes = tuple(
        replace(node, source=Source.REGISTRY, version=0, failing="", intent=node.intent)
        for node in found.nodes
    )
    return Taken(nodes=nodes, left=(*found.faults, *_left(found.routes)))


def _without_marks(instance: Instance) -> Instance:
    """A service that another nodegate registered is a node like all others here."""
    if RECORD not in instance.meta:
        return instance
    meta = {key: text for key, text in instance.meta.items() if key not in {RECORD, DIGEST}}
    return replace(instance, meta=meta, id=instance.meta[RECORD])


def _left(routes: Sequence[Route]) -> list[str]:
    """One sentence for each route and pool."""
    sentences: dict[str, None] = {}
    for route in routes:
        source = route.host + route.path
        pools = {target.pool for target in route.targets}
        for target in route.targets:
            lost = _not_in_a_file(target.treatment, route)
            if len(pools) > 1:
                lost.append("several services share it")
            if target.weight:
                lost.append(f"weight={target.weight:g}")
            if not lost:
                how = "true" if target.treatment.strip else "false"
                host = f'hosts = ["{route.host}"], ' if route.host else ""
                path = route.path.rstrip("/")
                sentences[
                    f"route {source} to {target.pool}: write {host}"
                    f'paths = ["{path}"], strip_path = {how} below [pools.{target.pool}] of nodegate.toml'
                ] = None
            else:
                sentences[
                    f"route {source} to {target.pool}: only a Consul registry can hold it ({', '.join(lost)})"
                ] = None
    return list(sentences)


def _not_in_a_file(treatment: Treatment, route: Route) -> list[str]:
    """What of a route the tables of pools have no word for."""
    facts = {
        "access rules": bool(treatment.closed or treatment.allow or treatment.deny),
        "auth": bool(treatment.auth),
        "redirect": treatment.redirect is not None,
        "prepend": bool(treatment.prepend),
        "strip of another path": treatment.strip not in {"", route.path.rstrip("/")},
        "host": bool(treatment.host),
        "a host that is a pattern or has a port": re.fullmatch(r"[a-z0-9.-]*", route.host) is None,
        "a path with special characters": re.fullmatch(r"/[A-Za-z0-9._~!$&'()+,;=:@%/-]*", route.path)
        is None,
    }
    return [name for name, is_so in facts.items() if is_so]


def service_definitions(
    nodes: Iterable[Node],
    commands: str,
    adapters: Mapping[str, Adapter],
    registry: RegistrySettings,
    probe: ProbeSettings,
    prefix: str,
) -> dict[str, Any]:
    """The nodes as a document for `consul services register`: definitions with checks, meta and tags.

    `commands` are the routes as route commands; a node's routes become its tags again. Nodes that are to be
    removed are left out; a drained one is registered as any other, which the caller should say.
    """
    routed = _tags_by_place(commands, prefix)
    services = []
    for node in nodes:
        if node.intent is Intent.REMOVE:
            continue
        document = definition(node, adapters.get(node.kind), registry, probe)
        document["ID"] = node.id
        document["Meta"] = {
            key: text for key, text in document["Meta"].items() if key not in {RECORD, DIGEST}
        } | _more_meta(node)
        if node.address is not None:
            document["Address"] = node.address
        tags = routed.get(f"{document['Address']}:{document['Port']}")
        if tags is not None:
            document["Name"], document["Tags"] = tags[0], list(tags[1])
            document["Meta"] = {
                key: text for key, text in document["Meta"].items() if key not in _SAID_BY_TAGS
            }
            document["Weights"] = {"Passing": max(1, node.weight), "Warning": 1}
        if node.kind == "http" and "path" not in node.options:
            # Nobody said what its root answers; Consul wants 2xx there.
            place = f"{document['Address']}:{document['Port']}"
            document["Checks"] = [{"Name": "port is open", "TCP": place, "Interval": "10s", "Timeout": "3s"}]
        for check in document.get("Checks", ()):
            check["CheckID"] = f"service:{node.id}"
        services.append(_in_file_form(document))
    return {"services": services}


_SAID_BY_TAGS = (f"{META}path", f"{META}scheme", f"{META}tls_verify", f"{META}weight")


def _more_meta(node: Node) -> dict[str, str]:
    meta = {f"{META}weight": str(node.weight)}
    if node.maxconn is not None:
        meta[f"{META}maxconn"] = str(node.maxconn)
    if not node.tls_verify:
        meta[f"{META}tls_verify"] = "false"
    return meta


def _tags_by_place(commands: str, prefix: str) -> dict[str, tuple[str, list[str]]]:
    """By `HOST:PORT` the service's name and its tags, from route commands."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in commands.splitlines():
        _, _, service, source, url, *more = shlex.split(line)
        said = dict(zip(more[::2], more[1::2], strict=True))
        scheme, _, place = url.rstrip("/").partition("://")
        words = [
            f"{prefix}{source}",
            *([f"weight={said['weight']}"] if "weight" in said else []),
            *(["proto=https"] if scheme == "https" else []),
            *said.get("opts", "").split(),
        ]
        _, tags = found.setdefault(place, (service, []))
        tags += [
            tag
            for tag in (" ".join(words), *filter(None, said.get("tags", "").split(",")))
            if tag not in tags
        ]
    return found


def _in_file_form(value: Any, *, names: bool = True) -> Any:
    """Names as Consul's files write them (`EnableTagOverride` → `enable_tag_override`); those of headers and of
    meta stay."""
    if isinstance(value, list):
        return [_in_file_form(item, names=names) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        (_KEYS.get(key) or re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower()) if names else key: _in_file_form(
            item, names=names and key not in {"Header", "Meta"}
        )
        for key, item in value.items()
    }
