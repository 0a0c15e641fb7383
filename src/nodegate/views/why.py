"""One request of the access log in words: who asked what, what decided, where the time went. Pure.

Codes of termination: HAProxy's configuration manual, "Session state at disconnection".
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from nodegate.views.access import AccessLine, document
from nodegate.views.models import View

ENDED_BY: Mapping[str, str] = {
    "-": "nobody cut it short",
    "C": "the client broke it off",
    "S": "the node broke it off or refused it",
    "P": "the gateway ended it by one of its rules",
    "L": "the gateway answered it by itself",
    "R": "the gateway ran out of something (memory, sockets, ports)",
    "I": "an error inside HAProxy ended it",
    "D": "the gateway ended it because the node went down",
    "U": "the gateway ended it because a better node came back",
    "K": "an operator ended it",
    "c": "the client was silent for too long",
    "s": "the node was silent for too long",
}
"""First letter of the code."""

STAGE: Mapping[str, str] = {
    "-": "at the end",
    "R": "while the client sent its request",
    "Q": "while it waited for a free place",
    "C": "while the gateway connected to the node",
    "H": "while the gateway waited for the node's answer to begin",
    "D": "while the answer was on its way",
    "L": "while the last of the answer was being sent to the client",
    "T": "while the client was held up on purpose",
}
"""Second letter of the code."""

TOGETHER: Mapping[str, str] = {
    "--": "ended as it should",
    "LR": "the gateway answered it by itself",
    "PR": "the gateway refused it",
    "cR": "the client took too long to send its request",
    "CR": "the client went away before it had sent its request",
    "CQ": "the client went away while it waited for a free place",
    "sQ": "no node had a free place in time",
    "SC": "the node refused the connection",
    "sC": "the node could not be reached in time",
    "SH": "the node closed the connection without an answer",
    "sH": "the node did not answer in time",
    "SD": "the node closed the connection in mid-answer",
    "sD": "the node stalled in mid-answer",
    "CD": "the client went away before it had the whole answer",
    "cD": "the client did not take its answer in time",
}
"""Codes whose letters together say it more plainly."""


class Termination(View):
    """How HAProxy says that a request ended."""

    code: str
    text: str


class Stretch(View):
    """Where some of the time went."""

    name: str = Field(description="queue, connect, node (until its answer began), rest")
    ms: int


class Explanation(View):
    """The answer to "why": sentences for people, and the line of the log they come from."""

    id: str
    asked: str = Field(description="who asked what, and when")
    outcome: str = Field(description="what became of it")
    rule: str | None = Field(description="rule or limit that refused it")
    reason: str | None = Field(None, description="what the client was told")
    limit: str | None = Field(description="that rule or limit with its number, by the policy in force now")
    node: str | None
    times: tuple[Stretch, ...] = ()
    total_ms: int | None = None
    retries: int | None = None
    termination: Termination | None = None
    advice: tuple[str, ...] = Field((), description="what to do, if anything")
    line: Mapping[str, str | int | float | None] = Field(description="the line of the access log")


def termination(code: str) -> Termination:
    """A code such as `sH--` in words; letters that are not known are said to be so."""
    letters = (code + "--")[:2]
    if letters in TOGETHER:
        return Termination(code=code, text=TOGETHER[letters])
    first, second = letters[0], letters[1]
    by = ENDED_BY.get(first, f"the letter {first!r} is not known")
    stage = STAGE.get(second, f"the letter {second!r} is not known")
    if first == "-":
        return Termination(code=code, text=stage)
    return Termination(code=code, text=by if second == "-" else f"{by}, {stage}")


def explain(line: AccessLine, *, limit: str | None = None, remedy: str | None = None) -> Explanation:
    """The line in words. `limit` is what the policy says of the rule that refused it, `remedy` what an
    operator could do about it."""
    ended = termination(line.termination) if line.termination is not None else None
    return Explanation(
        id=line.id,
        asked=asked(line),
        outcome=_outcome(line),
        rule=line.rule,
        reason=line.reason,
        limit=limit,
        node=line.node,
        times=_times(line),
        total_ms=line.total_ms,
        retries=line.retries,
        termination=ended,
        advice=tuple(_advice(line, remedy)),
        line=document(line),
    )


def asked(line: AccessLine) -> str:
    """Who asked what."""
    who = line.client
    if line.peer is not None and line.peer != line.client:
        who += f" (through the proxy {line.peer})"
    if line.key is not None:
        who += f" with the key {line.key}"
    what = line.method or " ".join(part for part in (line.http, line.path) if part) or "something unreadable"
    where = f" of the pool {line.pool}" if line.pool is not None else ""
    facts = [
        part
        for part in (
            f"class {line.class_}" if line.class_ is not None else "",
            f"{line.cost} unit{'' if line.cost == 1 else 's'}" if line.cost is not None else "",
            f"lane {line.lane}" if line.lane is not None and line.lane != line.class_ else "",
        )
        if part
    ]
    aside = f" ({', '.join(facts)})" if facts else ""
    return f"{who} asked for {what}{aside}{where} at {line.time}"


def _outcome(line: AccessLine) -> str:
    status = f" with status {line.status}" if line.status is not None else ""
    if line.verdict == "served":
        return f"served by {line.node}{status}" if line.node is not None else f"answered{status}"
    if line.verdict == "refused":
        by = f" by the rule {line.rule}" if line.rule is not None else ""
        return f"refused{by}{status}"
    where = f"at {line.node}" if line.node is not None else "before a node was reached"
    rule = f" (rule {line.rule})" if line.rule is not None else ""
    return f"failed {where}{status}{rule}"


def _times(line: AccessLine) -> tuple[Stretch, ...]:
    known = (("queue", line.queue_ms), ("connect", line.connect_ms), ("node", line.response_ms))
    times = [Stretch(name=name, ms=value) for name, value in known if value is not None]
    rest = (line.total_ms or 0) - sum(stretch.ms for stretch in times)
    return (*times, Stretch(name="rest", ms=rest)) if times and rest > 0 else tuple(times)


def _advice(line: AccessLine, remedy: str | None) -> list[str]:
    found = [remedy] if remedy is not None else []
    code = (line.termination or "") + "--"
    first, second = code[0], code[1]
    if line.verdict == "failed" or first not in {"-", "P", "L"}:
        found += [text for when, text in _ADVICE.items() if when in {first + second, f"{first}?"}]
    if line.verdict == "served" and line.node is not None and (line.status or 0) >= 400:
        found.append("status and body are the node's own; the gateway let the request through")
    if line.retries:
        where = ", the last one at another node" if line.moved else ""
        found.append(f"it took {_more(line.retries)}{where}; `nodegate nodes list` shows which nodes fail")
    slow = max(_times(line), key=lambda stretch: stretch.ms, default=None)
    if line.verdict == "served" and slow is not None and slow.ms >= SLOW_MS:
        found.append(_SLOW[slow.name])
    return found


def _more(tries: int) -> str:
    return "one more try" if tries == 1 else f"{tries} more tries"


SLOW_MS = 1000
"""Milliseconds from which on a stretch of time is worth a word."""

_SLOW: Mapping[str, str] = {
    "queue": "it waited for a free place: add nodes, or raise the concurrency of its class",
    "connect": "reaching the node took long: look at the network and at the node's backlog",
    "node": "the node took long to answer: `nodegate nodes show` tells how it is",
    "rest": "most of the time went into carrying request and answer: the client's line is slow, or much was sent",
}

_ADVICE: Mapping[str, str] = {
    "C?": "nothing to do here: the client went away before it had its answer",
    "c?": "the client was too slow; gateway.client_timeout says how long it may be silent",
    "sQ": "all places were taken: add nodes, or raise the concurrency or queue_timeout of its class",
    "sH": "the node was slower than the method's timeout: look at the node, or raise the timeout in the policy",
    "sC": "the node could not be reached in time: pools.NAME.connect_timeout, and the node's network",
    "sD": "the node stalled in mid-answer: look at the node's own log",
    "SC": "the node refused the connection: is it running, and does it listen on that address?",
    "SH": "the node closed the connection without an answer: look at the node's own log",
    "SD": "the node closed the connection in mid-answer: look at the node's own log",
    "R?": "raise the limits of the gateway's process (ulimit -n), or gateway.maxconn",
    "I?": "HAProxy's own log has more; please report it",
}
"""By both letters of the termination code; `X?` is any second letter."""
