"""A rule that refused a request, as the policy has it: its number, and the key to change. Pure.

The gateway has rules of its own beside those of the guard; `GATEWAY_RULES` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodegate.policy.difference import rate_words
from nodegate.policy.reasons import RULES
from nodegate.policy.values import ClassLimits, Method, Policy, Rate
from nodegate.policy.windows import budget_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """`text` is the rule with its number, None where it would only repeat the refusal; `key` is where the policy says
    so, None where it is no setting."""

    text: str | None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    policy: Policy
    name: str
    method: Method
    key: str | None

    @property
    def limits(self) -> ClassLimits:
        return self.policy.classes.get(self.method.class_, ClassLimits())

    @property
    def who(self) -> str:
        return f"the key {self.key}" if self.key is not None else "one client"

    def budget(self) -> tuple[Rate, str]:
        own = self.policy.keys.get(self.key) if self.key is not None else None
        return budget_of(self.policy, self.key), "budget" if own is None else f"keys.{self.key}"


def limit_of(policy: Policy, rule: str, *, method: str | None, key: str | None) -> Limit | None:
    """What `policy` says of the rule that refused a call of `method`; None for a rule it does not know."""
    if rule in _WORDS:
        name = method or "the method"
        return _WORDS[rule](_Case(policy, name, policy.methods.get(name, policy.unlisted), key))
    if rule in _GUARD:
        place = _GUARD[rule].replace("METHOD", method or "METHOD")
        return Limit(text=_sentence(policy, rule, method), key=place)
    return Limit(text=_sentence(policy, rule, method)) if rule in RULES else None


def _sentence(policy: Policy, rule: str, method: str | None) -> str | None:
    bounds = {
        "head-size": policy.head.max_bytes,
        "body-size": policy.body.max_bytes,
        "json-depth": policy.body.max_depth,
        "json-values": policy.body.max_values,
        "batch-size": policy.body.max_batch,
        "cost": policy.body.max_cost,
    }
    text = RULES[rule][1]
    if text == "{}":
        return f"an argument of {method or 'the method'} is not what its rules ask for"
    if rule in bounds:
        return text.replace("{}", str(bounds[rule]))
    about = method if rule.startswith(("method-", "key-", "batch-", "arg-", "range-")) else None
    return None if "{}" in text and about is None else text.replace("{}", about or "")


def _banned(case: _Case) -> Limit:
    budget = case.policy.budget
    return Limit(
        text=f"{budget.ban_after} refusals within a minute ban a client for {budget.ban_seconds} s; "
        "operators ban with `nodegate clients ban`",
        key="budget.ban_after",
    )


def _concurrent(case: _Case) -> Limit:
    count = case.policy.client.max_concurrent
    return Limit(text=f"{case.who} may have {count} requests under way at once", key="client.max_concurrent")


def _connections(case: _Case) -> Limit:
    count = case.policy.client.max_connections
    return Limit(text=f"{case.who} may have {count} connections at once", key="client.max_connections")


def _budget_10s(case: _Case) -> Limit:
    rate, place = case.budget()
    return Limit(text=f"{case.who} may spend {rate.per_10s} units in 10 s", key=f"{place}.per_10s")


def _budget_1m(case: _Case) -> Limit:
    rate, place = case.budget()
    return Limit(text=f"{case.who} may spend {rate.per_1m} units in 1 min", key=f"{place}.per_1m")


def _rate(case: _Case) -> Limit:
    words = rate_words(case.method.rate)
    return Limit(text=f"{case.who} may call {case.name} so often: {words}", key=f"methods.{case.name}.rate")


def _rate_overall(case: _Case) -> Limit:
    words = rate_words(case.method.rate_overall)
    return Limit(
        text=f"all clients together may call {case.name} so often: {words}",
        key=f"methods.{case.name}.rate_overall",
    )


def _queue(case: _Case) -> Limit:
    count = case.policy.lane_concurrency(case.method)
    lane = case.policy.lane(case.name, case.method)
    places = f"{count} at once per node" if count is not None else "as many as the node's maxconn"
    own = case.method.concurrency is not None
    return Limit(
        text=f"the lane {lane} holds {places}; others wait {case.limits.queue_timeout:g} s at most",
        key=f"methods.{case.name}.concurrency" if own else f"classes.{case.method.class_}.concurrency",
    )


def _timeout(case: _Case) -> Limit:
    return Limit(
        text=f"a node has {case.method.timeout:g} s to answer {case.name}",
        key=f"methods.{case.name}.timeout",
    )


def _no_node(_: _Case) -> Limit:
    return Limit(text="no node of the pool serves; `nodegate nodes list` tells why")


def _node_failed(_: _Case) -> Limit:
    return Limit(text="the node gave no proper answer, and the call could not be sent to another one")


def _slow_request(_: _Case) -> Limit:
    return Limit(text="the client took too long to send its request; gateway.client_timeout bounds it")


_WORDS: Mapping[str, Callable[[_Case], Limit]] = {
    "banned": _banned,
    "concurrent": _concurrent,
    "connections": _connections,
    "budget-10s": _budget_10s,
    "budget-1m": _budget_1m,
    "rate": _rate,
    "rate-overall": _rate_overall,
    "queue": _queue,
    "timeout": _timeout,
    "no-node": _no_node,
    "node-failed": _node_failed,
    "slow-request": _slow_request,
}

GATEWAY_RULES = frozenset(_WORDS)
"""Rules that the gateway has beside those of the guard."""

_GUARD: Mapping[str, str] = {
    "head-size": "head.max_bytes",
    "http-method": "head.http",
    "upgrade": "head.websocket",
    "header-required": "head.headers",
    "header-forbidden": "head.headers",
    "header-malformed": "head.headers",
    "user-agent": "head.user_agents_denied",
    "path-unknown": "head.paths",
    "query": "head.query",
    "network-denied": "client.denied",
    "network-not-allowed": "client.allowed",
    "key-unknown": "keys",
    "key-required": "client.key_required",
    "key-method": "keys",
    "body-size": "body.max_bytes",
    "body-pattern": "body.denied",
    "json-depth": "body.max_depth",
    "json-values": "body.max_values",
    "batch-forbidden": "body.max_batch",
    "batch-size": "body.max_batch",
    "batch-method": "methods.METHOD.batch",
    "method-unknown": "methods",
    "method-denied": "methods.METHOD.deny",
    "arg-unknown": "methods.METHOD.args",
    "arg-missing": "methods.METHOD.args",
    "arg-forbidden": "methods.METHOD.args",
    "arg-value": "methods.METHOD.args",
    "range-open": "methods.METHOD.range",
    "range-size": "methods.METHOD.range.max",
    "cost": "body.max_cost",
}
"""Rule of the guard → key of the document; rules without one are no settings."""
