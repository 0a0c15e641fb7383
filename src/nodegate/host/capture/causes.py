"""Why requests are never answered: a table of likely causes, with what the operator can do. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from nodegate.views import span

LOCKED = frozenset({"attachToTangle", "findTransactions", "getTips", "getTrytes"})
"""Commands that share a lock with `getTransactionsToApprove`: the synchronized methods of IRI's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Requests of one command that got no answer: how many, and the shortest and longest wait in seconds."""

    command: str
    reference: bool
    count: int
    shortest: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row of the table. `rule` is the rule that refuses it, as in X-Nodegate-Rule, and `key` the setting of
    the default policy iri that it comes from; both are empty for none."""

    name: str
    holds: Callable[[Silence, bool], bool]
    words: str
    advice: str
    rule: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an operator should know: `count` requests of `command`, whose waits are in seconds."""

    cause: str
    command: str
    count: int
    shortest: float
    longest: float
    rule: str
    key: str
    text: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _is_stall(silence: Silence, stalled: bool) -> bool:
    return silence.command == "getTransactionsToApprove" and silence.reference


CAUSES: tuple[Cause, ...] = (
    Cause(
        name="old-reference-stall",
        holds=_is_stall,
        words="{count} getTransactionsToApprove with a reference unanswered for > {shortest}: the old-reference stall",
        advice="the node walks from it for minutes and holds the lock that other commands need; see policy rule {rule} "
        "({key} of policy iri), and restart the node to be rid of the walks",
        rule="body-pattern",
        key="body.denied",
    ),
    Cause(
        name="behind-the-stall",
        holds=lambda silence, stalled: stalled and silence.command in LOCKED,
        words="{count} {command} unanswered for > {shortest}: they wait behind the stall",
        advice="they need what getTransactionsToApprove holds, and end with it",
        rule="body-pattern",
        key="body.denied",
    ),
    Cause(
        name="tip-selection",
        holds=lambda silence, stalled: silence.command == "getTransactionsToApprove",
        words="{count} getTransactionsToApprove unanswered for > {shortest}: tip selection takes too long",
        advice="few at once and a bounded depth keep it short; see policy rule {rule} ({key} of policy iri)",
        rule="queue",
        key="methods.getTransactionsToApprove.concurrency",
    ),
    Cause(
        name="proof-of-work",
        holds=lambda silence, stalled: silence.command == "attachToTangle",
        words="{count} attachToTangle unanswered for > {shortest}: proof of work on the node",
        advice="it takes whole cores, one request after the other; see policy rule {rule} "
        "({key} of policy iri)",
        rule="method-denied",
        key="methods.attachToTangle.deny",
    ),
    Cause(
        name="unanswered",
        holds=lambda silence, stalled: True,
        words="{count} {command} unanswered for > {shortest}",
        advice="the node takes the request and never answers it: look at its threads and its database",
    ),
)
"""In order of precedence: the first that holds is told."""


def findings_of(silences: list[Silence]) -> tuple[Finding, ...]:
    """One finding for each command without answers, the most first."""
    stalled = any(_is_stall(silence, False) for silence in silences)
    found = [_finding(silence, stalled) for silence in silences]
    return tuple(sorted(found, key=lambda finding: (finding.cause != CAUSES[0].name, -finding.count)))


def _finding(silence: Silence, stalled: bool) -> Finding:
    cause = next(each for each in CAUSES if each.holds(silence, stalled))
    values = {
        "count": f"{silence.count:,}",
        "command": silence.command,
        "shortest": span(silence.shortest),
        "rule": cause.rule,
        "key": cause.key,
    }
    return Finding(
        cause=cause.name,
        command=silence.command,
        count=silence.count,
        shortest=silence.shortest,
        longest=silence.longest,
        rule=cause.rule,
        key=cause.key,
        text=f"{cause.words}; {cause.advice}".format_map(values),
    )
