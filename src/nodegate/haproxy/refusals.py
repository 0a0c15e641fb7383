"""What is answered to a request that did not pass, what it costs, and when it leads to a ban."""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.haproxy import replies
from nodegate.haproxy.conditions import cond, if_found, set_var, unless_found
from nodegate.haproxy.config import Backend, Words, words
from nodegate.haproxy.counters import (
    BANS,
    RULES,
    TRACK_BAN,
    TRACK_LONG,
    TRACK_RULE,
    TRACK_SHORT,
)
from nodegate.haproxy.guarded import TEXTS, Enforcement, Guarded, limit
from nodegate.haproxy.paths import map_reference

REFUSED_UNITS = 20
"""What a request that the guard refused costs: reading it cost the gateway as much as a call that works."""

GATEWAY_ANSWERS: Mapping[str, tuple[int, str, int]] = {
    # rule: (status, sentence, seconds for Retry-After)
    "network-denied": (403, "this network is not served", 0),
    "network-not-allowed": (403, "only listed networks are served", 0),
    "header-repeated": (400, "the header x-api-key is given more than once", 0),
    "key-unknown": (401, "the API key is not known", 0),
    "key-required": (401, "an API key is required", 0),
    "key-method": (403, "this API key does not cover this method", 0),
    "banned": (429, "this client is banned for a while", 60),
    "concurrent": (429, "too many requests of this client at once", 1),
    "budget-10s": (429, "the budget of this client for 10 seconds is spent", 10),
    "budget-1m": (429, "the budget of this client for a minute is spent", 30),
    "rate": (429, "this client calls this method too often", 10),
    "rate-overall": (429, "all clients together call this method too often", 10),
}
"""Rules that HAProxy decides itself; those of the guard bring status and sentence along."""

SUSPECT = (
    "banned", "concurrent", "budget-10s", "budget-1m", "rate", "key-unknown", "body-size", "body-utf8",
    "body-pattern", "json-syntax", "json-trailing", "json-depth", "json-values", "json-duplicate", "json-name",
    "json-string", "json-number", "json-escape", "json-shape", "arg-escape", "arg-case", "path-form",
    "path-encoding", "content-encoding", "user-agent",
)  # fmt: skip
"""Refusals that lead to a ban: limits, and what no client writes by mistake. A missing header, a closed method
or an argument out of bounds do not: honest clients are careless."""

STATUSES = (400, 401, 403, 404, 405, 413, 415, 429, 431)


def refusals_name(kind: str) -> str:
    """The backend that answers refusals and preflights of a kind."""
    return f"refusals:{kind}"


def refusals(guarded: Guarded) -> tuple[Backend, ...]:
    """One backend per kind that answers what did not pass."""
    return tuple(
        Backend(name=refusals_name(policy.kind), lines=_refusal_lines(policy, guarded.who))
        for policy in guarded.used
    )


def _refusal_lines(policy: Enforcement, who: str) -> tuple[Words, ...]:
    no = cond("var(txn.line)", "-m", "beg", "no|")
    tracked = if_found("txn.account")
    suspect = cond("var(txn.rule)", "-m", "str", *SUSPECT)
    bound = limit(f"str({policy.kind}/ban/after)", "txn.refusals")
    return (
        *_preflight(policy),
        set_var("said", "bool(true)", *no, *unless_found("txn.rule")),
        set_var("status", "var(txn.line),field(3,|),add(0)", *if_found("txn.said")),
        set_var("reason", "var(txn.line),field(4,|,0)", *if_found("txn.said")),
        set_var("rule", "var(txn.line),field(2,|)", *if_found("txn.said")),
        *(line for rule in GATEWAY_ANSWERS for line in _own_rule(rule)),
        set_var("rule", "str(policy)", *unless_found("txn.rule")),
        set_var("reason", "str(the gateway could not judge the request)", *unless_found("txn.reason")),
        set_var("retry", f"var({who}),table_gpt0({BANS}),sub(txn.now)", *cond("var(txn.rule)", "-m", "str", "banned")),
        set_var("verdict", "str(refused)"),
        words("http-request", f"track-sc{TRACK_RULE}", f"str({policy.kind}/),concat(,txn.rule)", "table", RULES),
        words("http-request", f"sc-inc-gpc0({TRACK_RULE})"),
        words("http-request", f"sc-add-gpc(0,{TRACK_SHORT})", REFUSED_UNITS, "if", *tracked, *if_found("txn.said")),
        words("http-request", f"sc-add-gpc(0,{TRACK_LONG})", REFUSED_UNITS, "if", *tracked, *if_found("txn.said")),
        words("http-request", f"sc-inc-gpc(1,{TRACK_LONG})", "if", *tracked, *suspect),
        set_var("refusals", f"sc_gpc_rate(1,{TRACK_LONG})", *tracked, *suspect),
        set_var("penalty", limit(f"str({policy.kind}/ban/seconds)"), *cond(bound, "le", 0)),
        words("http-request", f"track-sc{TRACK_BAN}", f"var({who})", "table", BANS, "if", *if_found("txn.penalty")),
        words("http-request", f"sc-set-gpt0({TRACK_BAN})", "date,add(txn.penalty)", "if", *if_found("txn.penalty")),
        words("http-request", f"sc-inc-gpc0({TRACK_BAN})", "if", *if_found("txn.penalty")),
        *(_answer(policy.style, status, *cond("var(txn.status)", "eq", status)) for status in STATUSES),
        _answer(policy.style, 503),
    )  # fmt: skip


def _own_rule(rule: str) -> tuple[Words, ...]:
    status, sentence, retry = GATEWAY_ANSWERS[rule]
    this = (*cond("var(txn.rule)", "-m", "str", rule), *unless_found("txn.said"))
    after = (set_var("retry", f"int({retry})", *this),) if retry else ()
    return (set_var("status", f"int({status})", *this), set_var("reason", f"str({sentence})", *this), *after)


def _answer(style: replies.Style, status: int, *when: str) -> Words:
    text = "%[var(txn.reason),json(utf8s)] (rule %[var(txn.rule),json(utf8s)])"
    passing = ("hdr", "Retry-After", "%[var(txn.retry,1)]") if status in {429, 503} else ()
    return words(
        "http-request", "return", "status", status, "content-type", "application/json",
        "hdr", "Cache-Control", "no-store", "hdr", "X-Nodegate-Rule", "%[var(txn.rule)]", *passing,
        "lf-string", replies.body(style, status, text), *(("if", *when) if when else ()),
    )  # fmt: skip


def _preflight(policy: Enforcement) -> tuple[Words, ...]:
    is_one = cond("var(txn.line)", "-m", "str", "preflight")
    texts = f"map_str({map_reference(TEXTS)})"
    return (
        set_var("verdict", "str(served)", *is_one),
        words(
            "http-request", "return", "status", 204,
            "hdr", "Access-Control-Allow-Methods", f"%[str({policy.kind}/cors/methods),{texts}]",
            "hdr", "Access-Control-Allow-Headers", f"%[str({policy.kind}/cors/headers),{texts}]",
            "hdr", "Access-Control-Max-Age", f"%[str({policy.kind}/cors/age),{texts}]",
            "hdr", "Vary", "Origin", "if", *is_one,
        ),
    )  # fmt: skip
