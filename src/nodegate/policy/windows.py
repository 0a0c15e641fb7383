"""The limits of a policy over a stretch of time: rates, budgets and bans, as HAProxy counts them. Pure.

Concurrency and connections are not here: an access log does not hold enough to count them again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from nodegate.haproxy.refusals import REFUSED_UNITS, SUSPECT
from nodegate.model import Instant
from nodegate.policy.values import Method, Policy, Rate

SHORT, LONG = 10.0, 60.0
"""Seconds of the two windows of every limit."""
CLIENTS = 100_000
"""Counters kept at most; those that nobody used for two minutes are forgotten first. HAProxy's tables have
their own ceilings."""


@dataclass(slots=True)
class Window:
    """HAProxy's sliding counter: the present period, and the past one weighted by what is left of it."""

    period: float
    start: float = 0.0
    current: float = 0.0
    past: float = 0.0

    def total(self, now: float) -> float:
        """What was added within the period up to `now`."""
        self._turn(now)
        return self.current + self.past * min(1.0, 1 - (now - self.start) / self.period)

    def add(self, now: float, amount: float) -> None:
        """Count `amount` at `now`."""
        self._turn(now)
        self.current += amount

    def _turn(self, now: float) -> None:
        # A log's lines are written when requests end, so that times may step back a little.
        passed = now - self.start
        if passed >= 2 * self.period:
            self.start, self.current, self.past = now, 0.0, 0.0
        elif passed >= self.period:
            self.start, self.past, self.current = self.start + self.period, self.current, 0.0


@dataclass(slots=True)
class _Counter:
    """One subject's two windows."""

    short: Window = field(default_factory=lambda: Window(SHORT))
    long: Window = field(default_factory=lambda: Window(LONG))
    used: float = 0.0

    def add(self, now: float, amount: float) -> None:
        self.used = now
        self.short.add(now, amount)
        self.long.add(now, amount)

    def beyond(self, now: float, amount: float, bounds: Rate, rules: tuple[str, str]) -> str | None:
        """Which of the two rules `amount` more would break."""
        for window, bound, rule in (
            (self.short, bounds.per_10s, rules[0]),
            (self.long, bounds.per_1m, rules[1]),
        ):
            if bound is not None and window.total(now) + amount > bound:
                return rule
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that the guard lets through: who (`client` as it is counted), with which key, what, and its
    cost in units."""

    at: Instant
    client: str
    key: str | None
    name: str
    method: Method
    cost: int


def budget_of(policy: Policy, key: str | None) -> Rate:
    """The units a client may spend, as a Rate; a key's own numbers replace the shared ones."""
    shared = policy.budget
    own = policy.keys.get(key) if key is not None else None
    if own is None:
        return Rate(per_10s=shared.per_10s, per_1m=shared.per_1m)
    return Rate(per_10s=own.per_10s or shared.per_10s, per_1m=own.per_1m or shared.per_1m)


class Limits:
    """The counters of one policy. Feed calls in the order of time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._counters: dict[Hashable, _Counter] = {}
        self._banned: dict[str, float] = {}

    def banned(self, client: str, now: Instant) -> bool:
        """Whether the client is banned at `now`."""
        until = self._banned.get(client)
        if until is not None and until <= now:
            del self._banned[client]
            return False
        return until is not None

    def judge(self, call: Call) -> str | None:
        """The limit that refuses the call, by the name of its rule; None: none does, and the call is counted.
        What is refused spends nothing."""
        who = f"key:{call.key}" if call.key is not None else call.client
        bounds = budget_of(self._policy, call.key)
        budget = self._counter(("budget", who))
        rates = [
            (rule, self._counter(subject), rate)
            for rule, subject, rate in (
                ("rate", ("rate", who, call.name), call.method.rate),
                ("rate-overall", ("overall", call.name), call.method.rate_overall),
            )
            if rate.bounded
        ]
        broken = budget.beyond(call.at, call.cost, bounds, ("budget-10s", "budget-1m"))
        for rule, counter, rate in rates:
            broken = broken or counter.beyond(call.at, 1, rate, (rule, rule))
        if broken is not None:
            self._suspect(call.at, call.client, broken)
            return broken
        budget.add(call.at, call.cost)
        for _, counter, _ in rates:
            counter.add(call.at, 1)
        return None

    def refused(self, at: Instant, client: str, key: str | None, rule: str) -> None:
        """Count a request that the guard refused: reading it has a price, and some rules lead to bans."""
        who = f"key:{key}" if key is not None else client
        self._counter(("budget", who)).add(at, REFUSED_UNITS)
        self._suspect(at, client, rule)

    def _suspect(self, at: Instant, client: str, rule: str) -> None:
        after = self._policy.budget.ban_after
        if not after or rule not in SUSPECT:
            return
        refusals = self._counter(("refusals", client))
        refusals.add(at, 1)
        if refusals.long.total(at) >= after:
            self._banned[client] = at + self._policy.budget.ban_seconds

    def _counter(self, subject: Hashable) -> _Counter:
        found = self._counters.get(subject)
        if found is None:
            if len(self._counters) >= CLIENTS:
                self._forget()
            found = self._counters[subject] = _Counter()
        return found

    def _forget(self) -> None:
        newest = max(counter.used for counter in self._counters.values())
        kept = {
            subject: counter
            for subject, counter in self._counters.items()
            if counter.used > newest - 2 * LONG
        }
        # Most are in use: the older half goes, as HAProxy's tables give up their oldest entries. Fewer would
        # have to be looked for again at once.
        if len(kept) > CLIENTS // 2:
            order = sorted(kept.items(), key=lambda item: item[1].used)
            kept = dict(order[len(order) // 2 :])
        self._counters = kept
