"""Findings on a policy: rules that cannot be met, contradict, hide each other, or leave a door open.

Errors stop an apply, warnings do not. Each finding points at file, line and key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from nodegate.errors import BadDocument, Fault
from nodegate.policy.compile import MAX_HEAD_RESERVE
from nodegate.policy.document import LoadedPolicy
from nodegate.policy.patterns import PathRule, parse_path
from nodegate.policy.values import ArgRule, ItemRule, Method, Policy

Where = tuple[str | int, ...]
Found = tuple["Level", Where, str]

_NUMBERS = frozenset({"integer", "quantity"})


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding with its place."""

    level: Level
    fault: Fault

    def __str__(self) -> str:
        return f"{self.level.value}: {self.fault}"


def check(loaded: LoadedPolicy) -> tuple[Finding, ...]:
    """All findings, errors first."""
    found = [each for rule in _RULES for each in rule(loaded.policy)]
    findings = [Finding(level=level, fault=loaded.document.fault(key, text)) for level, key, text in found]
    return tuple(sorted(findings, key=lambda finding: (finding.level, finding.fault.key)))


def require_sound(loaded: LoadedPolicy) -> tuple[Finding, ...]:
    """The warnings. Raises BadDocument with every error."""
    findings = check(loaded)
    errors = [finding.fault for finding in findings if finding.level is Level.ERROR]
    if errors:
        raise BadDocument(errors)
    return findings


def _error(key: Where, text: str) -> Found:
    return Level.ERROR, key, text


def _warning(key: Where, text: str) -> Found:
    return Level.WARNING, key, text


def _open(policy: Policy) -> Iterable[tuple[str, Method]]:
    return ((name, method) for name, method in policy.methods.items() if not method.deny)


def _arguments(policy: Policy) -> Iterable[Found]:
    for name, method in _open(policy):
        for path, rule in method.args.items():
            key: Where = ("methods", name, "args", path)
            yield from _argument(key, rule)
            for parent in method.args:
                if path.startswith(f"{parent}.") and method.args[parent].forbidden:
                    yield _error(key, f"never looked at, because {parent} is forbidden")


def _argument(key: Where, rule: ArgRule) -> Iterable[Found]:
    if rule.required and rule.forbidden:
        yield _error(key, "is both required and forbidden: nobody could call this method")
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield _error((*key, "min"), f"min {rule.min} is over max {rule.max}")
    if (rule.min is not None or rule.max is not None) and rule.type not in _NUMBERS | {"any", "block"}:
        yield _error(
            (*key, "type"), f"min and max need type integer, quantity, block or any, not {rule.type}"
        )
    if rule.min_items is not None and rule.max_items is not None and rule.min_items > rule.max_items:
        yield _error((*key, "min_items"), f"min_items {rule.min_items} is over max_items {rule.max_items}")
    lists = rule.min_items is not None or rule.max_items is not None or rule.items is not None
    if lists and not rule.single and rule.type not in {"any", "array"}:
        yield _error((*key, "type"), f"rules on items need type array, not {rule.type}")
    if rule.forbidden and (lists or rule.min is not None or rule.max is not None or rule.pattern is not None):
        yield _warning(key, "is forbidden, so its other rules never count")
    if (rule.type == "array" or lists) and rule.max_items is None and not rule.forbidden:
        yield _warning(key, "the list has no max_items: only the body's size bounds it")
    yield from _text(key, rule)
    if rule.items is not None:
        yield from _text((*key, "items"), rule.items)


def _text(key: Where, rule: ItemRule) -> Iterable[Found]:
    if rule.min_length is not None and rule.max_length is not None and rule.min_length > rule.max_length:
        yield _error(
            (*key, "min_length"), f"min_length {rule.min_length} is over max_length {rule.max_length}"
        )
    texts = rule.pattern is not None or rule.min_length is not None or rule.max_length is not None
    if texts and rule.type in {"integer", "boolean", "array", "object"}:
        yield _error((*key, "type"), f"lengths and patterns need a string, not {rule.type}")


def _limits(policy: Policy) -> Iterable[Found]:
    if not policy.budget.bounded:
        yield _warning(("budget",), "no budget: a client's cost is unbounded")
    for name, method in _open(policy):
        key: Where = ("methods", name)
        if not _rated(method) and not policy.budget.bounded:
            yield _warning(key, "neither a rate nor a budget bounds this method")
        if method.class_ == "pow" and not method.rate_overall.bounded:
            yield _error((*key, "rate_overall"), "proof of work needs a limit for all clients together")
        if method.class_ == "pow" and policy.lane_concurrency(method) is None:
            yield _error((*key, "concurrency"), "proof of work needs a concurrency: it takes whole cores")
        if not _rated(method) and not method.cost.base:
            yield _warning(
                (*key, "cost"), "a call may cost nothing, and no rate bounds it: it is never too much"
            )
        for path in method.cost.per_value:
            if not _is_number(method.args.get(path)):
                text = f"{path} may be something else than a number, which costs nothing: give it a type, or a max"
                yield _warning((*key, "cost", "per_value", path), text)
        if _rated(method) and method.batch:
            yield _warning((*key, "batch"), "a batch counts once for a rate; forbid batches of rated methods")


def _is_number(rule: ArgRule | None) -> bool:
    """Whether only numbers are let through: with a bound, nothing else is but the tags of a block."""
    if rule is None:
        return False
    bounded = rule.min is not None or rule.max is not None
    return rule.type in _NUMBERS or (rule.type == "any" and bounded)


def _rated(method: Method) -> bool:
    return method.rate.bounded or method.rate_overall.bounded


def _unreachable(policy: Policy) -> Iterable[Found]:
    """Limits that can never be reached, and prices that nobody can pay."""
    budget = min((most for most in (policy.budget.per_10s, policy.budget.per_1m) if most), default=None)
    for name, method in _open(policy):
        key: Where = ("methods", name)
        for window in ("per_10s", "per_1m"):
            client, overall = getattr(method.rate, window), getattr(method.rate_overall, window)
            if client is not None and overall is not None and client > overall:
                yield _warning(
                    (*key, "rate"), f"never reached: the limit for all clients, {overall}, is lower"
                )
        if method.cost.base > policy.body.max_cost:
            yield _error(
                (*key, "cost"), f"costs more than body.max_cost {policy.body.max_cost}: never allowed"
            )
        elif budget is not None and method.cost.base > budget:
            yield _error((*key, "cost"), f"costs more than the budget of {budget}: never allowed")


def _doors(policy: Policy) -> Iterable[Found]:
    for name, method in _open(policy):
        if method.class_ == "admin" and not _guarded_admin(policy, name):
            key = ("methods", name)
            yield _error(key, "an admin method is open: deny it, or require keys and name it in one of them")
    if policy.default == "allow":
        yield _warning(("default",), "methods that are not listed are let through")
        if policy.form == "rest":
            yield _error(("default",), "REST paths that are not listed cannot be let through; list /**")
    if policy.head.websocket:
        yield _warning(("head", "websocket"), "calls inside a WebSocket pass the guard unseen")
    for network in policy.client.trusted_proxies:
        if ipaddress.ip_network(network).prefixlen == 0:
            yield _error(("client", "trusted_proxies"), f"{network} believes every client's X-Forwarded-For")
    for network in policy.client.trusted:
        if ipaddress.ip_network(network).prefixlen == 0:
            yield _error(("client", "trusted"), f"{network} exempts everybody from the limits")


def _guarded_admin(policy: Policy, name: str) -> bool:
    if not policy.client.key_required or not policy.keys:
        return False
    return all(key.methods is not None for key in policy.keys.values()) and any(
        name in (key.methods or ()) for key in policy.keys.values()
    )


def _networks(policy: Policy) -> Iterable[Found]:
    seen: dict[str, str] = {}
    for word in ("denied", "trusted", "allowed"):
        for network in getattr(policy.client, word):
            if network in seen:
                yield _error(("client", word), f"{network} is in {seen[network]} already")
            seen[network] = word


def _keys(policy: Policy) -> Iterable[Found]:
    if policy.client.key_required and not any(not key.disabled for key in policy.keys.values()):
        yield _error(("client", "key_required"), "keys are required and there is none: nobody could come in")
    hashes: dict[str, str] = {}
    for name, key in policy.keys.items():
        if key.hash in hashes:
            yield _error(("keys", name, "hash"), f"is the same key as {hashes[key.hash]}")
        hashes.setdefault(key.hash, name)
        for method in key.methods or ():
            listed = policy.methods.get(method)
            if (listed is None and policy.default == "deny") or (listed is not None and listed.deny):
                yield _warning(("keys", name, "methods"), f"{method} is not served, with a key or without")


def _headers(policy: Policy) -> Iterable[Found]:
    for name, rule in policy.head.headers.items():
        if rule.required and rule.forbidden:
            yield _error(("head", "headers", name), "is both required and forbidden: nobody could come in")
    if "*" in policy.head.user_agents_denied:
        yield _error(("head", "user_agents_denied"), "* denies everybody")
    if any(not pattern.strip("*") for pattern in policy.body.denied):
        yield _error(("body", "denied"), "a pattern of only * denies everybody")
    for origin in policy.cors.origins if policy.cors is not None else ():
        if " " in origin:
            yield _error(
                ("cors", "origins"), f"{origin!r} has a space, which no origin has: name each on its own"
            )
    if policy.body.max_bytes + policy.head.max_bytes + MAX_HEAD_RESERVE > 1_048_576:
        yield _warning(("body", "max_bytes"), "over 1 MiB of buffer for every connection: mind the memory")


def _shadows(policy: Policy) -> Iterable[Found]:
    """REST paths that an earlier path takes all of, and JSON methods that only differ by case."""
    folded: dict[str, str] = {}
    for name in policy.methods:
        if (other := folded.setdefault(name.lower(), name)) != name:
            yield _warning(
                ("methods", name), f"differs from {other} only by case; some nodes read both alike"
            )
    if policy.form != "rest":
        for name, method in policy.methods.items():
            if method.path is not None:
                yield _warning(("methods", name, "path"), f"paths do not count in the form {policy.form}")
        return
    rules = [(name, method, parse_path(method.path or "/")) for name, method in policy.methods.items()]
    rules.sort(key=lambda each: not each[2].literal)
    for number, (name, method, rule) in enumerate(rules):
        for earlier, before, covering in rules[:number]:
            if set(method.http) <= set(before.http) and covers(covering, rule):
                yield _error(("methods", name, "path"), f"never reached: {earlier} takes these paths first")


def covers(wide: PathRule, narrow: PathRule) -> bool:
    """Whether every path that fits `narrow` fits `wide`."""
    if len(wide.segments) > len(narrow.segments):
        return False
    if not wide.rest and (narrow.rest or len(wide.segments) < len(narrow.segments)):
        return False
    for over, under in zip(wide.segments, narrow.segments, strict=False):
        if over.literal is not None:
            if over.literal != under.literal:
                return False
        elif over.atoms is not None and over.atoms != under.atoms:
            return False
    return True


_RULES: tuple[Callable[[Policy], Iterable[Found]], ...] = (
    _arguments,
    _limits,
    _unreachable,
    _doors,
    _networks,
    _keys,
    _headers,
    _shadows,
)
