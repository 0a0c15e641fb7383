"""One node as registries store it: a line of JSON with a version of its format."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from nodegate.documents import Document, faults_of, validate
from nodegate.errors import Malformed
from nodegate.model import Node, Source
from nodegate.registry.records.node import NodeDocument, document_of
from nodegate.registry.records.strictjson import strict_json
from nodegate.settings import Name

RECORD_FORMAT = 1
"""Version of the stored record; a record with another one is a fault, never guessed at."""


class _NodeRecord(NodeDocument):
    """A node as a registry stores it."""

    format: Literal[1]
    id: Name
    source: Annotated[Source, Field(strict=False)]


def write_record(node: Node) -> str:
    """The node as a registry stores it: JSON, ASCII, without the version, which is the registry's.

    Raises BadDocument for a node that `read_record` would not take back.
    """
    record = {"format": RECORD_FORMAT, **document_of(node), "source": node.source.value}
    validate(_NodeRecord, Document(file=f"node {node.id!r}", data=record, lines={}))
    return json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def read_record(text: str | bytes, *, node_id: str, version: int) -> Node:
    """The node of a stored record that is filed under `node_id`.

    Raises Malformed with one sentence that names the record, its version and the fields at fault.
    """
    name = f"record of node {node_id!r} (version {version})"
    try:
        data = strict_json(text)
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from error
    if not isinstance(data, dict):
        raise Malformed(f"{name}: it is no JSON object")
    if isinstance(data.get("format"), int) and data["format"] > RECORD_FORMAT:
        raise Malformed(
            f"{name}: written by a newer nodegate (format {data['format']}, this one knows {RECORD_FORMAT})"
        )
    try:
        record = _NodeRecord.model_validate(data)
    except ValidationError as error:
        found = faults_of(error, Document(file="", data=data, lines={}))
        words = "; ".join(f"{fault.key}: {fault.message}" if fault.key else fault.message for fault in found)
        raise Malformed(f"{name}: {words}") from error
    if record.id != node_id:
        raise Malformed(f"{name}: id: it says {record.id!r}")
    return record.node(source=record.source, version=version)
