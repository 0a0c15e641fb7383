"""The registry's own checks, joined with what nodegate's probes say: the worse of the two counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nodegate.model import Instant, Inventory, Judgement, Node, Status, Verdict

RULE = "registry check"
"""The rule's name in a verdict."""


def with_registered_checks(
    judgement: Judgement, inventory: Inventory, before: Mapping[str, Verdict], now: Instant
) -> Judgement:
    """`judgement` in which each node that fails its registry's checks is down, with the reason in front.

    `before` are the verdicts that were joined last, for `since`. What nodegate itself judged goes on beside
    this: a node whose check passes again is at once what its probes say.
    """
    failing = [node for node in inventory.nodes if node.failing]
    if not failing:
        return judgement
    joined = {
        node.id: _down(node, judgement.verdicts.get(node.id), before.get(node.id), now) for node in failing
    }
    return replace(judgement, verdicts={**judgement.verdicts, **joined})


def _down(node: Node, verdict: Verdict | None, before: Verdict | None, now: Instant) -> Verdict:
    since = now
    for known in (verdict, before):
        if known is not None and known.status is Status.DOWN:
            since = min(since, known.since)
    if verdict is None:
        verdict = Verdict(node_id=node.id, status=Status.DOWN, since=since)
    return replace(
        verdict,
        status=Status.DOWN,
        since=since,
        reasons=(node.failing, *verdict.reasons),
        rules=(RULE, *verdict.rules),
        # The check has counted for itself; nothing here is the first failure of a node that only just came.
        failures=0,
    )
