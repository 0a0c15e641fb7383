"""Kind `iri`: the IOTA Reference Implementation's HTTP API, and HORNET 0.5 which speaks it too.

One question, `getNodeInfo`. Field names, status codes and error bodies are those of IRI 1.4 to 1.8: every
request needs the header X-IOTA-API-Version (else 400 "Invalid API Version"), errors are `{"error": …}` or
`{"exception": …}`, a command in the node's remote limit answers 401 (HORNET and proxies: 403).

Options: `check_exposed` (default false) also tries the commands that should be closed to the public;
`pow` (default false) says that the node offers proof of work, so that attachToTangle is meant to be open;
`api_version` (default "1") is the header's value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Answer, Criteria, Node, Question, Reading, Scalar, Seconds, Traffic
from nodegate.protocols import options
from nodegate.protocols.fields import integer, optional_text, optional_texts, parse_object, quote, text

ATTACH = "attachToTangle"
INTERRUPT = "interruptAttachingToTangle"
# IRI's own default remote limit. They are tried without parameters, which makes all of them fail after the
# limit was passed and before anything is done; only INTERRUPT needs none, see `_commands`.
LIMITED = ("getNeighbors", "addNeighbors", "removeNeighbors", ATTACH, INTERRUPT)
REMOTE_POW = "RemotePOW"
BLOCKED = frozenset({401, 403})
# A proxy's own answers: they say nothing about whether the node would refuse the command.
UNCLEAR = frozenset({429, 502, 503, 504})


def _header_value(value: Scalar) -> str | None:
    good = isinstance(value, str) and 0 < len(value) <= 32 and value.isascii() and value.isprintable()
    return None if good else f'write a short string such as "1", not {value!r}'


class Iri:
    """The adapter of kind `iri`."""

    kind = "iri"
    # Not in the list: getTransactionsToApprove, although it changes nothing. It holds IRI's lock, and old
    # nodes can be made to hold it for minutes: a call that hangs one node must not be handed to the next.
    # Broadcasting or storing a transaction twice is the same as once (they are keyed by their hash).
    traffic = Traffic(
        method_key="command",
        idempotent=frozenset(
            {
                "getNodeInfo",
                "getNodeAPIConfiguration",
                "getNeighbors",
                "getTips",
                "findTransactions",
                "getTrytes",
                "getInclusionStates",
                "getBalances",
                "getMissingTransactions",
                "checkConsistency",
                "wereAddressesSpentFrom",
                "broadcastTransactions",
                "storeTransactions",
            }
        ),
    )
    # max_lag: IRI calls itself synchronised up to one milestone behind, and so did node_check. min_peers:
    # without any neighbour nothing new is heard; node_check's registrations asked for one. max_latency:
    # between the 1 s and the 3 s that node_check meant for a getNodeInfo.
    criteria = Criteria(max_lag=1, min_peers=1, max_latency=Seconds(2.0))

    _options: Mapping[str, options.Check] = {
        "check_exposed": options.truth,
        "pow": options.truth,
        "api_version": _header_value,
        "maxconn_pow": options.count,
    }

    def faults(self, node: Node) -> tuple[str, ...]:
        """See `nodegate.ports.Adapter.faults`."""
        return options.faults(node, self._options)

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        """getNodeInfo first; then, if it was answered, the commands whose limits are to be checked."""
        if not answers:
            return (_command(node, "getNodeInfo"),)
        if not (
            options.is_on(node, "check_exposed", default=False) or options.is_on(node, "pow", default=False)
        ):
            return ()
        try:
            info = _info(answers[0])
        except Malformed:
            return ()
        later = _commands(node, info, answers[1:])
        return tuple(_command(node, name) for name in later[len(answers) - 1 :])

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        """The reading of a getNodeInfo. Raises Malformed as `nodegate.ports.Adapter.read` says."""
        if not answers:
            raise Malformed("no answer to getNodeInfo")
        info = _info(answers[0])
        height = integer(info, "latestSolidSubtangleMilestoneIndex")
        tip = integer(info, "latestMilestoneIndex")
        if height > tip:
            raise Malformed(
                f"latestSolidSubtangleMilestoneIndex {height} is above latestMilestoneIndex {tip}"
            )
        commands = _commands(node, info, answers[1:])
        if len(answers) - 1 != len(commands):
            raise Malformed(f"{len(answers) - 1} answers to {len(commands)} commands of the limits check")
        limits = {name: _is_open(name, answer) for name, answer in zip(commands, answers[1:], strict=True)}
        return Reading(
            height=height,
            claimed_tip=tip,
            peers=integer(info, "neighbors"),
            chain=optional_text(info, "coordinatorAddress"),
            app=text(info, "appName"),
            version=text(info, "appVersion"),
            exposed=_exposed(node, limits),
            features=_features(info, limits),
        )


def _command(node: Node, name: str) -> Question:
    headers = {
        "Content-Type": "application/json",
        "X-IOTA-API-Version": str(node.options.get("api_version", "1")),
    }
    return Question(headers=headers, body=json.dumps({"command": name}).encode())


def _info(answer: Answer) -> Mapping[str, Any]:
    """The fields of a getNodeInfo. Raises Malformed with the node's own words for any error."""
    if answer.status != 200:
        raise Malformed(f"getNodeInfo: {explain(answer)}")
    info = parse_object(answer.body)
    for name in ("error", "exception"):
        if name in info:
            raise Malformed(f"getNodeInfo: {explain(answer)}")
    return info


def explain(answer: Answer) -> str:
    """A refusal in words: the status, and the node's error text or the beginning of what it sent."""
    try:
        fields = parse_object(answer.body)
    except Malformed:
        return f"status {answer.status}" + (f", body {quote(answer.body)}" if answer.body else "")
    for name in ("error", "exception"):
        if isinstance(fields.get(name), str):
            return f"status {answer.status}, {name} {quote(fields[name])}"
    return f"status {answer.status}, body {quote(answer.body)}"


def _commands(node: Node, info: Mapping[str, Any], answers: Sequence[Answer]) -> tuple[str, ...]:
    """The limited commands to try, in order, as far as `answers` lets this be known.

    INTERRUPT cancels the proof of work that a node does for others, so it is tried last and only when
    ATTACH is closed: where clients may attach, the check would disturb them.
    """
    if not options.is_on(node, "check_exposed", default=False):
        # Before 1.5.6 there is no list of features: only trying tells whether proof of work is offered.
        undeclared = options.is_on(node, "pow", default=False) and info.get("features") is None
        return (ATTACH,) if undeclared else ()
    first = LIMITED[:-1]
    attach_closed = len(answers) >= len(first) and answers[len(first) - 1].status in BLOCKED
    return LIMITED if attach_closed else first


def _is_open(name: str, answer: Answer) -> bool:
    """Whether the node took the command. Raises Malformed when the answer does not tell."""
    if answer.status in BLOCKED:
        return False
    if answer.status in UNCLEAR or 300 <= answer.status < 400:
        raise Malformed(f"cannot tell whether {name} is closed: {explain(answer)}")
    return not (answer.status in {400, 404} and b"is unknown" in answer.body)


def _exposed(node: Node, limits: Mapping[str, bool]) -> tuple[str, ...]:
    meant = {ATTACH} if options.is_on(node, "pow", default=False) else set()
    return tuple(name for name, is_open in limits.items() if is_open and name not in meant)


def _features(info: Mapping[str, Any], limits: Mapping[str, bool]) -> tuple[str, ...] | None:
    declared = optional_texts(info, "features")
    if declared is None and ATTACH in limits:
        return (REMOTE_POW,) if limits[ATTACH] else ()
    return declared
