"""Which commands a stranger is answered: what to ask, and how to read it. Pure.

IRI is asked as the health check asks it (`check_exposed`); of EVM nodes one harmless method of each namespace that
belongs to the operator. Nothing is changed by any of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from nodegate.errors import Malformed
from nodegate.model import Answer, Node, Question
from nodegate.protocols.iri import Iri

EVM_METHODS = (
    "admin_nodeInfo",
    "personal_listAccounts",
    "debug_memStats",
    "miner_stop",
    "txpool_status",
    "engine_exchangeCapabilities",
)
"""`miner_stop` is asked with a wrong parameter on purpose: it fails after the namespace was found open."""
_NOT_FOUND = -32601
_NO_PARAMETERS: dict[str, list[object]] = {"miner_stop": [{}], "engine_exchangeCapabilities": [[]]}


def questions(kind: str, answers: Sequence[Answer]) -> tuple[Question, ...]:
    """What to ask next; empty when all is asked."""
    if kind == "iri":
        return Iri().ask(_node(), tuple(answers))
    return tuple(_call(name) for name in EVM_METHODS) if not answers else ()


def exposed(kind: str, answers: Sequence[Answer]) -> tuple[str, ...]:
    """The commands that were taken. Raises Malformed when the answers are not those of such a node."""
    if kind == "iri":
        return Iri().read(_node(), tuple(answers)).exposed
    return tuple(name for name, answer in zip(EVM_METHODS, answers, strict=True) if _is_open(name, answer))


def _node() -> Node:
    return Node(id="audited", url="http://audited", kind="iri", options={"check_exposed": True})


def _call(name: str) -> Question:
    call = {"jsonrpc": "2.0", "id": 1, "method": name, "params": _NO_PARAMETERS.get(name, [])}
    return Question(headers={"Content-Type": "application/json"}, body=json.dumps(call).encode())


def _is_open(name: str, answer: Answer) -> bool:
    if answer.status in {401, 403}:
        return False
    try:
        reply = json.loads(answer.body)
        error = reply.get("error")
        code = error.get("code") if error is not None else None
    except (ValueError, AttributeError, RecursionError) as problem:
        raise Malformed(f"{name}: status {answer.status}, not an answer of JSON-RPC") from problem
    words = str(error.get("message", "")).lower() if error is not None else ""
    closed = code == _NOT_FOUND or "not available" in words or "not allowed" in words
    return not closed
