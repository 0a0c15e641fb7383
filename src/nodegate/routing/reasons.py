"""The cause behind each change, in words: from the verdict, the operator's intent, or the inventory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodegate.model import (
    Change,
    ChangeKind,
    Intent,
    Inventory,
    Judgement,
    Node,
    Server,
    ServerState,
    Verdict,
)
from nodegate.routing.plan import backend_of, pool_of

_MOST_REASONS = 2


def explain(
    changes: Iterable[Change], inventory: Inventory, judgement: Judgement, emptied: frozenset[str]
) -> list[Change]:
    """`changes`, each `why` led by its cause. `emptied` are the backends that will have no server ready."""
    nodes: dict[str, Node] = {}
    explained = []
    for change in changes:
        server = change.server
        if server is None:
            explained.append(change)
            continue
        nodes = nodes or {node.id: node for node in inventory.nodes}
        cause = _cause(server, nodes.get(server.name), judgement.verdicts)
        after = _aftermath(change, server, nodes.get(server.name), emptied)
        explained.append(Change(kind=change.kind, why=f"{cause} ({change.why}){after}", server=server))
    return explained


def _cause(server: Server, node: Node | None, verdicts: Mapping[str, Verdict]) -> str:
    if node is None:
        return "not in the inventory any more"
    if backend_of(node.pool) != server.backend:
        return f"moved to pool {node.pool}"
    if node.intent is Intent.DRAIN:
        return "the operator drains it"
    if node.intent is Intent.REMOVE:
        return "the operator removes it"
    verdict = verdicts.get(server.name)
    if verdict is None:
        return "not judged yet"
    reasons = "; ".join(verdict.reasons[:_MOST_REASONS])
    return f"{verdict.status}: {reasons}" if reasons else str(verdict.status)


def _aftermath(change: Change, server: Server, node: Node | None, emptied: frozenset[str]) -> str:
    """What an operator should know that a drain leaves behind."""
    if change.kind is not ChangeKind.SET_STATE or server.state is ServerState.READY:
        return ""
    if server.backend not in emptied or (node is not None and node.intent is Intent.SERVE):
        return ""
    return f"; pool {pool_of(server.backend)} is left without a ready server"
