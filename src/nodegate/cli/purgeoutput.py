"""What `nodegate openstack purge` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.tree import Tree

from nodegate.cli import output
from nodegate.openstack.purgeplan import PurgePlan, to_json
from nodegate.openstack.purging import Outcome, Result

FEW = 10
"""Things of one kind that are named; of more, the others are counted."""


def print_plan(made: PurgePlan) -> None:
    """The counted tree of what goes, and of what stays with its reasons."""
    counts = made.counts()
    top = Tree(output.cell(f"{made.project} ({made.project_id}): {len(made.goes)} things go"))
    for kind, count in counts.items():
        branch = top.add(output.cell(f"{count} {kind.value}"))
        things = [each for each in made.goes if each.kind is kind]
        for each in things[:FEW]:
            branch.add(
                output.cell(" ".join(filter(None, (each.name or each.id, each.note and f"({each.note})"))))
            )
        if count > FEW:
            branch.add(output.cell(f"… and {count - FEW} more"))
    output.console().print(top)
    if made.stays:
        stay = Tree(output.cell(f"{len(made.stays)} stay"))
        for why, group in _by_reason(made).items():
            branch = stay.add(output.cell(f"{len(group)}: {why}"))
            for label in group[:FEW]:
                branch.add(output.cell(label))
            if len(group) > FEW:
                branch.add(output.cell(f"… and {len(group) - FEW} more"))
        output.console().print(stay)


def _by_reason(made: PurgePlan) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for each, why in made.stays:
        groups.setdefault(why, []).append(each.label)
    return groups


def print_results(results: Sequence[Result]) -> None:
    """What went, and what stayed with the server's reason."""
    counts = Counter(result.outcome for result in results)
    for result in results:
        if result.outcome is Outcome.STAYED:
            print(output.clean(f"{result.resource.label} ({result.resource.id}) stays: {result.why}"))
    words = [f"{counts[Outcome.DELETED]} deleted"]
    if counts[Outcome.GONE]:
        words.append(f"{counts[Outcome.GONE]} were gone already")
    words.append(f"{counts[Outcome.STAYED]} left")
    print(", ".join(words))


def results_document(made: PurgePlan, results: Sequence[Result]) -> dict[str, Any]:
    """Plan and results as one document."""
    done = [
        {
            "kind": each.resource.kind.value,
            "id": each.resource.id,
            "name": each.resource.name,
            "outcome": each.outcome.value,
            "why": each.why,
        }
        for each in results
    ]
    return {**to_json(made), "results": done}
