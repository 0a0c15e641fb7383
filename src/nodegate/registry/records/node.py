"""One node as operators write it: checked as a whole, made new, or revised."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from nodegate.documents import Document, KeyPath, validate
from nodegate.errors import BadDocument, Fault
from nodegate.model import Intent, Node, Source
from nodegate.ports import Adapter
from nodegate.settings import Name, Scalar, Settings, Url, default_id

# What the kind's options and the meaning of the URL depend on; a change of anything else needs no check
# by the kind, so that a node with an outdated option can still be drained.
_KIND_FIELDS = frozenset({"kind", "url", "options"})
_UNCHANGEABLE = frozenset({"id"})


def _checked_ip(text: str) -> str:
    """An IP address in its usual spelling, without zone."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IP address") from error
    if getattr(address, "scope_id", None) is not None:
        raise ValueError(f"{text!r} has a zone")
    return str(address)


IpAddress = Annotated[str, AfterValidator(_checked_ip)]


class NodeDocument(BaseModel):
    """A node as operators write it. `id` None: made from the URL's host and port. `address`: see `Node`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    url: Url
    kind: Name
    id: Name | None = None
    pool: Name = "main"
    weight: int = Field(100, ge=0, le=256)
    maxconn: int | None = Field(None, ge=1)
    intent: Annotated[Intent, Field(strict=False)] = Intent.SERVE
    tls_verify: bool = True
    options: dict[str, Scalar] = Field(default_factory=dict)
    address: IpAddress | None = None

    @field_validator("options")
    @classmethod
    def _is_text(cls, options: dict[str, Scalar]) -> dict[str, Scalar]:
        """JSON can spell halves of characters; no file, log or terminal could show them."""
        for text in (text for pair in options.items() for text in pair if isinstance(text, str)):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"{text!r} is not text")
        return options

    def node(self, *, source: Source = Source.REGISTRY, version: int = 0) -> Node:
        """The value that this document describes."""
        return Node(
            id=self.id or default_id(self.url),
            url=self.url,
            kind=self.kind,
            pool=self.pool,
            weight=self.weight,
            maxconn=self.maxconn,
            intent=self.intent,
            tls_verify=self.tls_verify,
            options=self.options,
            source=source,
            version=version,
            address=self.address,
        )


def document_of(node: Node) -> dict[str, Any]:
    """All that an operator can write of the node, in the order in which it is shown."""
    return {
        "id": node.id,
        "url": node.url,
        "kind": node.kind,
        "pool": node.pool,
        "weight": node.weight,
        "maxconn": node.maxconn,
        "intent": node.intent.value,
        "tls_verify": node.tls_verify,
        "options": dict(node.options),
        # Left out where there is none, so that a nodegate that does not know it yet can read the record.
        **({} if node.address is None else {"address": node.address}),
    }


def new_node(fields: Mapping[str, object], adapters: Mapping[str, Adapter], *, file: str = "node") -> Node:
    """The node that `fields` (url, kind, and any other of NodeDocument) describe.

    Raises BadDocument with the key of every fault; `file` is what they are said to be in.
    """
    document = Document(file=file, data=dict(fields), lines={})
    node = validate(NodeDocument, document).node()
    if faults := kind_faults(node, adapters, document):
        raise BadDocument(faults)
    return node


def revise(
    node: Node, changes: Mapping[str, object], adapters: Mapping[str, Adapter], *, file: str = "node"
) -> Node:
    """`node` with `changes` to its fields; `options` are replaced as a whole, source and version stay.

    Raises BadDocument with the key of every fault, also for a change of the id.
    """
    before = document_of(node)
    if "url" in changes:
        before.pop("address", None)  # it belonged to the old one
    document = Document(file=file, data={**before, **changes}, lines={})
    fixed = [
        document.fault((key,), f"cannot be changed; it is {node.id!r}. Add a new node instead")
        for key in sorted(_UNCHANGEABLE & changes.keys())
        if changes[key] != node.id
    ]
    if fixed:
        raise BadDocument(fixed)
    revised = validate(NodeDocument, document).node(source=node.source, version=node.version)
    checked = _KIND_FIELDS & changes.keys()
    if checked and (faults := kind_faults(revised, adapters, document)):
        raise BadDocument(faults)
    return revised


def kind_faults(
    node: Node, adapters: Mapping[str, Adapter], document: Document, key: KeyPath = ()
) -> list[Fault]:
    """What the node's kind finds wrong; `key` is where in the document the node stands."""
    adapter = adapters.get(node.kind)
    if adapter is None:
        known = ", ".join(sorted(adapters)) or "none installed"
        return [document.fault((*key, "kind"), f"{node.kind!r} is no kind of node; known: {known}")]
    faults = []
    for sentence in adapter.faults(node):
        option = _option_named_first(sentence, node.options)
        words = sentence[len(option) :].lstrip(" :") if option else sentence
        faults.append(document.fault((*key, "options", *([option] if option else [])), words))
    return faults


def declared_nodes(
    settings: Settings, adapters: Mapping[str, Adapter], document: Document | None = None
) -> tuple[Node, ...]:
    """The nodes of `[[nodes]]`, source FILE.

    Raises BadDocument for unknown kinds and options that the kind does not take; the faults have lines
    when the `document` that the settings came from is given.
    """
    origin = document or Document(file="nodegate.toml", data={}, lines={})
    nodes = tuple(
        Node(
            id=declared.node_id,
            url=declared.url,
            kind=declared.kind,
            pool=declared.pool,
            weight=declared.weight,
            maxconn=declared.maxconn,
            tls_verify=declared.tls_verify,
            options=dict(declared.options),
            source=Source.FILE,
        )
        for declared in settings.nodes
    )
    faults = [
        fault
        for number, node in enumerate(nodes)
        for fault in kind_faults(node, adapters, origin, ("nodes", number))
    ]
    if faults:
        raise BadDocument(faults)
    return nodes


def _option_named_first(sentence: str, options: Iterable[str]) -> str:
    """The option that a kind's finding is about: a declared one if it begins with it, else its first word."""
    declared = [
        name for name in options if name and re.match(rf"{re.escape(name)}(?![A-Za-z0-9_-])", sentence)
    ]
    first = re.match(r"[a-z][a-z0-9_]*(?=[: ])", sentence)
    return max(declared, key=len) if declared else first.group() if first else ""
