"""A node as a document: what operators write, what registries store, what is imported and exported. Pure.

One strict model for all of them: unknown fields are faults, and nothing is converted in silence
(`"100"` is no weight). Every fault names the field.
"""

from __future__ import annotations

from nodegate.registry.records.files import (
    FORMATS,
    Format,
    NodesDocument,
    duplicate_faults,
    format_nodes,
    format_of,
    parse_nodes,
)
from nodegate.registry.records.node import (
    NodeDocument,
    declared_nodes,
    document_of,
    kind_faults,
    new_node,
    revise,
)
from nodegate.registry.records.pools import conflicts, of_one_kind
from nodegate.registry.records.stored import RECORD_FORMAT, read_record, write_record

__all__ = [
    "FORMATS",
    "RECORD_FORMAT",
    "Format",
    "NodeDocument",
    "NodesDocument",
    "conflicts",
    "declared_nodes",
    "document_of",
    "duplicate_faults",
    "format_nodes",
    "format_of",
    "kind_faults",
    "new_node",
    "of_one_kind",
    "parse_nodes",
    "read_record",
    "revise",
    "write_record",
]
