"""An access log under another policy: who would be treated differently. Pure.

Both policies judge the same lines with counters of their own, so that a policy replayed against itself
changes nothing. `agrees` says for how many lines the former policy's verdict is the one that the log has:
where it is far below all, the log was written under yet another policy.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nodegate.model import Instant
from nodegate.policy.arguments import Refusal
from nodegate.policy.clients import counted_as, standing
from nodegate.policy.difference import is_open
from nodegate.policy.guard import judge_body
from nodegate.policy.prices import converted, varying
from nodegate.policy.reasons import RULES, sentence
from nodegate.policy.values import Method, Policy
from nodegate.policy.windows import Call, Limits

SIMULATED = frozenset({"rate", "rate-overall", "budget-10s", "budget-1m"})
"""Rules whose counters are run again."""
BY_NAME = frozenset(
    {"network-denied", "network-not-allowed", "key-method", "key-required", "method-denied", "cost"}
)
"""Rules that a line without a body is enough for."""
IN_BODY = ("arg-", "batch-", "body-", "cost", "json-", "method-", "range-", "rpc-")
"""Beginnings of the names of rules that a whole body is enough for."""
SHORTENED = "…"
"""Stands in a logged body where something was left out."""

NO_BODY = "no body in the log"
CONTENT = "refused for its content, which the log does not hold"
EARLY = "refused before it was known what was asked"
NOT_COUNTED = "refused by a limit that a log cannot run again"
NO_HEAD = "an open block range, whose size depends on the chain's head then"
NO_PRICE = "its cost cannot be worked out without the body; the logged cost, or the base, was taken"


class Logged(Protocol):
    """What is needed of a line: see `nodegate.views.access.AccessLine`."""

    @property
    def at(self) -> Instant: ...
    @property
    def client(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def method(self) -> str | None: ...
    @property
    def cost(self) -> int | None: ...
    @property
    def rule(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def body(self) -> str | None: ...


@dataclass(slots=True)
class Tally:
    """How the lines of one client, key or method fare; costs in units."""

    requests: int = 0
    now_refused: int = 0
    now_allowed: int = 0
    cost_before: int = 0
    cost_after: int = 0
    rules: Counter[str] = field(default_factory=Counter)

    @property
    def differs(self) -> bool:
        """Whether anything is treated differently."""
        return bool(self.now_refused or self.now_allowed or self.cost_before != self.cost_after)

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "requests": self.requests,
            "now_refused": self.now_refused,
            "now_allowed": self.now_allowed,
            "cost_before": self.cost_before,
            "cost_after": self.cost_after,
            "rules": dict(self.rules.most_common()),
        }


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One policy's verdict on one line: the refusing rule (None: let through) and the cost."""

    rule: str | None
    cost: int


class Replay:
    """Feed it lines in order; `document` tells the result at any time."""

    def __init__(self, before: Policy, after: Policy) -> None:
        self._before, self._after = before, after
        self._counters = (Limits(before), Limits(after))
        self._methods: dict[str, Tally] = {}
        self._clients: dict[str, Tally] = {}
        self._keys: dict[str, Tally] = {}
        self._whole = Tally()
        self._unjudged: Counter[str] = Counter()
        self._first: Instant | None = None
        self._last: Instant | None = None
        self._others = 0
        self._agrees = 0
        self._same: dict[str, bool] = {}

    def feed(self, line: Logged) -> None:
        """Judge one line by both policies; lines of other kinds are only counted."""
        if line.kind != self._after.kind:
            self._others += 1
            return
        self._first = line.at if self._first is None else min(self._first, line.at)
        self._last = line.at if self._last is None else max(self._last, line.at)
        doubts: set[str] = set()
        was = self._judge(line, self._before, self._counters[0], doubts)
        now = self._judge(line, self._after, self._counters[1], doubts)
        self._unjudged.update(doubts)
        self._agrees += (was.rule is not None) == (line.verdict == "refused")
        for tallies, name in (
            (self._methods, _named(line)),
            (self._clients, line.client),
            (self._keys, line.key),
        ):
            if name is not None:
                _count(tallies.setdefault(name, Tally()), was, now)
        _count(self._whole, was, now)

    def document(self, *, top: int = 10) -> dict[str, Any]:
        """The result: `methods`, `clients` and `keys` hold the `top` that differ most."""
        return {
            "kind": self._after.kind,
            "first": self._first,
            "last": self._last,
            "other_kinds": self._others,
            "agrees": self._agrees,
            **self._whole.document(),
            "not_judged": dict(self._unjudged.most_common()),
            "methods": _most(self._methods, top),
            "clients": _most(self._clients, top),
            "clients_that_differ": sum(tally.differs for tally in self._clients.values()),
            "keys": _most(self._keys, top),
        }

    def _judge(self, line: Logged, policy: Policy, limits: Limits, doubts: set[str]) -> _Outcome:
        try:
            address = ipaddress.ip_address(line.client)
            trusted = standing(policy, address) == "trusted"
            client = counted_as(address)
        except ValueError:
            client, trusted = line.client, False
        except Refusal as refusal:
            return _Outcome(refusal.rule, 0)
        if not trusted and limits.banned(client, line.at):
            return _Outcome("banned", 0)
        try:
            name, method, cost = self._guarded(line, policy, doubts)
        except Refusal as refusal:
            if not trusted:
                limits.refused(line.at, client, line.key, refusal.rule)
            return _Outcome(refusal.rule, 0)
        if name is None or method is None:
            rule = line.rule if line.verdict == "refused" else None
            if rule is not None and rule in RULES and not trusted:
                limits.refused(line.at, client, line.key, rule)
            return _Outcome(rule, line.cost or 0)
        if trusted:
            return _Outcome(None, cost)
        call = Call(at=line.at, client=client, key=line.key, name=name, method=method, cost=cost)
        return _Outcome(limits.judge(call), cost)

    def _guarded(
        self, line: Logged, policy: Policy, doubts: set[str]
    ) -> tuple[str | None, Method | None, int]:
        """The called method with its cost; no name where the line's own verdict has to stand. Raises
        Refusal."""
        _check_key(policy, line)
        if _body_decides(line) and policy.form != "rest":
            assert line.body is not None
            try:
                facts = judge_body(policy, line.body.encode("utf-8", "surrogatepass"), None)
            except Refusal as refusal:
                # A body that was let through and is no JSON in the log was cut there.
                cut = refusal.rule.startswith("json-") and line.verdict != "refused"
                if refusal.rule != "range-open" and not cut:
                    raise
                doubts.add(NO_BODY if cut else NO_HEAD)
            else:
                return facts.method, policy.methods.get(facts.method, policy.unlisted), facts.cost
        name = _named(line)
        if (reason := _stands(line)) is not None or name is None:
            doubts.add(reason or EARLY)
            return None, None, 0
        if not is_open(policy, name):
            raise Refusal("method-denied" if name in policy.methods else "method-unknown", name)
        method = policy.methods.get(name, policy.unlisted)
        if name not in self._same:
            self._same[name] = _same_rules(self._before, self._after, name)
        if not self._same[name]:
            doubts.add(NO_BODY)
        cost = self._cost(line, policy, name, method, doubts)
        if cost > policy.body.max_cost:
            raise Refusal("cost", str(policy.body.max_cost))
        return name, method, cost

    def _cost(self, line: Logged, policy: Policy, name: str, method: Method, doubts: set[str]) -> int:
        """What the call costs under `policy`, worked out from what it cost under the former one."""
        former = self._before.methods.get(name, self._before.unlisted).cost
        if not line.cost:  # it was refused before its price was known
            if varying(method.cost):
                doubts.add(NO_PRICE)
            return method.cost.base
        if method.cost == former:
            return line.cost
        found = converted(line.cost, former, method.cost)
        if found is None:
            doubts.add(NO_PRICE)
            return line.cost
        return found


def _check_key(policy: Policy, line: Logged) -> None:
    if line.key is None:
        if policy.client.key_required:
            raise Refusal("key-required")
        return
    key = policy.keys.get(line.key)
    if key is None or key.disabled:
        raise Refusal("key-unknown")
    if key.methods is not None and line.method is not None and line.method not in key.methods:
        raise Refusal("key-method", line.method)


def _body_decides(line: Logged) -> bool:
    """Whether the line has a whole body, and nothing else stood against the request."""
    if line.body is None or SHORTENED in line.body:
        return False
    return line.verdict != "refused" or line.rule in SIMULATED or (line.rule or "").startswith(IN_BODY)


def _stands(line: Logged) -> str | None:
    """Why the line's own verdict has to stand; None when it can be found again."""
    if line.verdict != "refused" or line.rule in SIMULATED or line.rule in BY_NAME:
        return None
    if line.rule == "banned":
        return EARLY
    return CONTENT if line.rule in RULES else NOT_COUNTED


def _named(line: Logged) -> str | None:
    """The method; of a closed one only the sentence that the client got has the name."""
    if line.method is not None or line.rule != "method-denied" or line.reason is None:
        return line.method
    _, rest = sentence("method-denied", "\n").split("\n")
    return line.reason.removesuffix(rest) if line.reason.endswith(rest) else None


def _same_rules(before: Policy, after: Policy, name: str) -> bool:
    """Whether both policies read the arguments of `name`, and bodies and heads, by the same rules."""
    was, now = before.methods.get(name, before.unlisted), after.methods.get(name, after.unlisted)
    return (
        (was.args, was.any_of, was.unknown_args, was.range)
        == (now.args, now.any_of, now.unknown_args, now.range)
        and before.head == after.head
        and before.body == after.body
    )


def _count(tally: Tally, was: _Outcome, now: _Outcome) -> None:
    tally.requests += 1
    if was.rule is None and now.rule is not None:
        tally.now_refused += 1
        tally.rules[now.rule] += 1
    elif was.rule is not None and now.rule is None:
        tally.now_allowed += 1
        tally.rules[was.rule] += 1
    tally.cost_before += was.cost
    tally.cost_after += now.cost


def _most(tallies: Mapping[str, Tally], top: int) -> dict[str, Any]:
    def weight(item: tuple[str, Tally]) -> tuple[int, int]:
        tally = item[1]
        return tally.now_refused + tally.now_allowed, abs(tally.cost_after - tally.cost_before)

    differing = [item for item in tallies.items() if item[1].differs]
    return {name: tally.document() for name, tally in sorted(differing, key=weight, reverse=True)[:top]}
