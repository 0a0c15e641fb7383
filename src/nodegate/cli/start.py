"""The settings a command line asks for: the file's, the environment's, and the options on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from nodegate.documents import Document, faults_of
from nodegate.errors import BadDocument, Fault
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
    data = settings.model_dump(exclude_unset=True)
    gateway = data.setdefault("gateway", {})
    if listen:
        gateway["listen"] = list(listen)
    if admin:
        gateway["admin"] = admin
    declared = [_node(text, number) for number, text in enumerate(nodes)]
    if declared:
        data["nodes"] = [*data.get("nodes", ()), *_in_pools(declared, settings, data)]
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise BadDocument(faults_of(error, Document(file="command line", data={}, lines={}))) from error


def _node(text: str, number: int) -> NodeSettings:
    kind, equals, url = text.partition("=")
    where = f"--node {text}"
    if not equals or "://" in kind:
        raise BadDocument(
            [
                Fault(
                    file=where,
                    line=None,
                    key="",
                    message="write KIND=URL, such as iri=http://192.0.2.1:14265",
                )
            ]
        )
    try:
        return NodeSettings.model_validate({"kind": kind, "url": url})
    except ValidationError as error:
        raise BadDocument(faults_of(error, Document(file=where, data={}, lines={}))) from error


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
