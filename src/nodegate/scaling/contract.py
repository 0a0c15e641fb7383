"""What is said between nodegate and a provider's commands: docs/scaling.md, "The contract"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nodegate.errors import Malformed
from nodegate.scaling.values import Action, Decision, Facts
from nodegate.settings import Scalar, Url

VERSION = 1
LIMIT = 65_536
"""Bytes of output that are read of a command."""
_ENVIRONMENT = {
    "action": "NODEGATE_ACTION",
    "pool": "NODEGATE_POOL",
    "kind": "NODEGATE_KIND",
    "node": "NODEGATE_NODE",
    "url": "NODEGATE_URL",
    "reason": "NODEGATE_REASON",
}


class Started(BaseModel):
    """What the start command answers. `url` is None only for a node that `registers_itself`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    url: Url | None = None
    kind: str | None = None
    weight: int = Field(100, ge=0, le=256)
    maxconn: int | None = Field(None, ge=1)
    tls_verify: bool = True
    options: dict[str, Scalar] = Field(default_factory=dict)
    registers_itself: bool = False


def request_document(
    facts: Facts, decision: Decision, *, action: Action, node: str, kind: str, url: str
) -> dict[str, Any]:
    """What a command gets on its standard input."""
    return {
        "version": VERSION,
        "action": action.value,
        "pool": facts.pool,
        "kind": kind,
        "node": node,
        "url": url or None,
        "reason": decision.why,
        "healthy": decision.healthy,
        "wanted": decision.wanted,
        "nodes": [
            {"id": item.id, "url": item.url, "status": item.status.value, "intent": item.intent.value}
            for item in facts.members
        ],
    }


def environment(document: Mapping[str, Any], inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: the inherited one less NODEGATE_*, with the document's words."""
    own = {name: str(document[key] or "") for key, name in _ENVIRONMENT.items()}
    return {name: value for name, value in inherited.items() if not name.startswith("NODEGATE_")} | own


def started_from(output: bytes) -> Started:
    """What a start command's output says. Raises Malformed, in words for the provider's author."""
    if len(output) > LIMIT:
        raise Malformed(f"the start command wrote more than {LIMIT} bytes")
    try:
        started = Started.model_validate_json(output)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(
            f"the start command's output: {place + ': ' if place else ''}{first['msg']}"
        ) from error
    if started.url is None and not started.registers_itself:
        raise Malformed("the start command's output: url is missing, and registers_itself is not true")
    return started


def stdin_of(document: Mapping[str, Any]) -> bytes:
    """The document as a command reads it."""
    return json.dumps(document).encode() + b"\n"
