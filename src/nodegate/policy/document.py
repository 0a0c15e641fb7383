"""Policy documents: the shipped default of a kind, and the operator's document laid over it.

Tables merge key by key, at any depth; lists and single values replace. `deny = true` for a method is all it
takes to close it. Every fault points into the document that holds the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from nodegate.documents import Document, load, parse, validate
from nodegate.errors import BadDocument, Fault
from nodegate.policy.values import Policy

KINDS = ("evm", "http", "iri")
"""Kinds with a shipped policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered(Document):
    """The operator's document merged over a default; `data` is the merged whole, `lines` the operator's."""

    base: Document

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """A fault at `key`, in whichever document says more of that key."""
        if _depth(self.base, key) > _depth(self, key):
            return self.base.fault(key, message)
        return Fault(
            file=self.file, line=self.line_of(key), key=".".join(str(part) for part in key), message=message
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPolicy:
    """A policy with the document that findings point into."""

    policy: Policy
    document: Document


def default_document(kind: str) -> Document:
    """The shipped document of `kind`; kinds without their own get that of `http`."""
    name = kind if kind in KINDS else "http"
    file = resources.files("nodegate.policy") / "defaults" / f"{name}.toml"
    document = parse(file.read_text(encoding="utf-8"), file=f"defaults/{name}.toml")
    return Document(file=document.file, data={**document.data, "kind": kind}, lines=document.lines)


def load_policy(kind: str, operator: Document | Path | None = None) -> LoadedPolicy:
    """The policy of `kind`, with the operator's document (or the file at that path) over the default.

    Raises BadDocument with every fault.
    """
    base = default_document(kind)
    if operator is None:
        return LoadedPolicy(policy=validate(Policy, base), document=base)
    own = load(operator) if isinstance(operator, Path) else operator
    if own.data.get("kind", kind) != kind:
        message = f"this policy is for {own.data['kind']!r}, not for {kind!r}"
        raise BadDocument([own.fault(("kind",), message)])
    document = Layered(file=own.file, data=merge(base.data, own.data), lines=own.lines, base=base)
    return LoadedPolicy(policy=validate(Policy, document), document=document)


def kind_of(document: Document) -> str:
    """The kind a policy document is for. Raises BadDocument when it does not say."""
    kind = document.data.get("kind")
    if not isinstance(kind, str):
        raise BadDocument([document.fault(("kind",), 'say which nodes this is for: kind = "iri"')])
    return kind


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: tables key by key, everything else replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        tables = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below or {}, value) if tables else value
    return merged


def _depth(document: Document, key: Sequence[str | int]) -> int:
    """How much of `key` the document has a line for."""
    path = tuple(key)
    while path and path not in document.lines:
        path = path[:-1]
    return len(path)
