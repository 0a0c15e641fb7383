"""`policy try`: one request's verdict as a document, with no traffic."""

from __future__ import annotations

from typing import Any

from nodegate.policy.guard import Facts, GuardRequest, GuardVerdict, guard
from nodegate.policy.values import Policy, Rate


def try_request(policy: Policy, request: GuardRequest) -> dict[str, Any]:
    """The verdict on `request`, ready for JSON: verdict, rule, status, reason, client, and for an allowed
    call its facts (cost in units, timeout and cache in seconds, rates per window)."""
    return verdict_document(guard(policy, request))


def verdict_document(verdict: GuardVerdict) -> dict[str, Any]:
    """A verdict as `try_request` writes it."""
    client = verdict.client
    document: dict[str, Any] = {
        "verdict": "allow" if verdict.allowed else "refuse",
        "client": {
            "address": client.address,
            "counted_as": client.counted_as,
            "trusted": client.trusted,
            "key": client.key,
        },
    }
    if not verdict.allowed:
        refusal = {"rule": verdict.rule, "status": verdict.status, "reason": verdict.reason}
        return {**document, **refusal}
    if verdict.facts is None:
        return {**document, "outcome": verdict.outcome.value}
    return {**document, **_facts(verdict.facts)}


def _facts(facts: Facts) -> dict[str, Any]:
    return {
        "method": facts.method,
        "methods": list(facts.methods),
        "class": facts.class_,
        "lane": facts.lane,
        "cost": facts.cost,
        "idempotent": facts.idempotent,
        "timeout": facts.timeout,
        "cache": facts.cache,
        "rate": _rate(facts.rate),
        "rate_overall": _rate(facts.rate_overall),
    }


def _rate(rate: Rate) -> dict[str, int]:
    windows = {"10s": rate.per_10s, "1m": rate.per_1m}
    return {window: count for window, count in windows.items() if count is not None}
