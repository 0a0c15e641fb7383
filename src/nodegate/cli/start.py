"""The settings a command line asks for: the file's, the environment's, and the options on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from nodegate.alerting.defaults import rules_of
from nodegate.documents import Document, faults_of, load
from nodegate.errors import BadDocument, Fault
from nodegate.protocols import adapters
from nodegate.registry.records import declared_nodes
from nodegate.settings import NodeSettings, Settings, load_settings


def settings_for(
    config: Path | None,
    environ: Mapping[str, str],
    *,
    nodes: Sequence[str] = (),
    listen: Sequence[str] = (),
    admin: str | None = None,
) -> Settings:
    """Settings with the options of `nodegate up` laid over file and environment.

    `nodes` are KIND=URL. The first kind goes to the pool `main`, any other kind to a pool of its own name,
    since nodes of two kinds cannot answer for each other. Raises BadDocument.
    """
    settings = load_settings(config, environ)
    # Asked again when the daemon starts, but only here are the lines of the file known.
    document = load(config) if config is not None else None
    declared_nodes(settings, adapters(), document)
    rules_of(settings.alerts, document)
    data = settings.model_dump(exclude_unset=True)
    gateway = data.setdefault("gateway", {})
    if listen:
        gateway["listen"] = list(listen)
    if admin:
        gateway["admin"] = admin
    declared = [_node(text) for text in nodes]
    if declared:
        _must_be_new(settings, nodes, declared)
        data["nodes"] = [*data.get("nodes", ()), *_in_pools(declared, settings, data)]
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise BadDocument(faults_of(error, Document(file="command line", data=data, lines={}))) from error


def _node(text: str) -> NodeSettings:
    kind, equals, url = text.partition("=")
    if not equals or "://" in kind:
        raise _bad_node(text, "write KIND=URL, such as iri=http://192.0.2.1:14265")
    try:
        node = NodeSettings.model_validate({"kind": kind, "url": url})
    except ValidationError as error:
        where = Document(file=f"--node {text}", data={}, lines={})
        raise BadDocument(faults_of(error, where)) from error
    if kind not in (known := adapters()):
        raise _bad_node(text, f"{kind!r} is no kind of node; known: {', '.join(sorted(known))}")
    return node


def _must_be_new(settings: Settings, texts: Sequence[str], declared: Sequence[NodeSettings]) -> None:
    """Raises BadDocument for an option whose node the file, or an option before it, declares already."""
    taken = {node.node_id: f"the file's node {node.url}" for node in settings.nodes}
    for text, node in zip(texts, declared, strict=True):
        if node.node_id in taken:
            raise _bad_node(text, f"its id {node.node_id!r} is taken by {taken[node.node_id]}")
        taken[node.node_id] = f"--node {text}"


def _bad_node(text: str, message: str) -> BadDocument:
    return BadDocument([Fault(file=f"--node {text}", line=None, key="", message=message)])


def _in_pools(
    declared: list[NodeSettings], settings: Settings, data: dict[str, object]
) -> list[dict[str, object]]:
    """The nodes with their pools; a pool takes on the path of its nodes' API."""
    kinds = {name: pool.kind for name, pool in settings.pools.items()}
    for node in settings.nodes:
        kinds.setdefault(node.pool, node.kind)
    pools: dict[str, dict[str, object]] = data.setdefault("pools", {})  # type: ignore[assignment]
    placed = []
    for node in declared:
        pool = "main" if kinds.setdefault("main", node.kind) == node.kind else node.kind
        path = urlsplit(node.url).path
        if path and "upstream_path" not in pools.setdefault(pool, {}):
            pools[pool]["upstream_path"] = path
        placed.append({**node.model_dump(exclude_unset=True), "pool": pool})
    return placed
