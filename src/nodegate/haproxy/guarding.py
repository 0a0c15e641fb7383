"""A policy's part of the configuration, put together.

The frontend's rules end with `txn.pass`. Whatever does not get there goes to the backend `refusals:KIND`,
also when a rule failed to evaluate: the default is a refusal. Limits and lists are read from maps for each
request, so that they change without a reload. docs/decisions/0007-enforcement.md tells why it is so.
"""

from __future__ import annotations

from nodegate.haproxy import peers
from nodegate.haproxy.conditions import cond, if_found, is_kind, unless_found, unless_str
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.counters import COUNTERS, TRACK_LONG, TRACK_SHORT
from nodegate.haproxy.guarded import GUARD, UPGRADE_LANE, Enforcement, Guarded, guarded_only
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.refusals import refusals_name

STREAMS = 20
"""Requests at once on one HTTP/2 connection. A request takes a buffer while its body comes in, and counts for
`client.max_concurrent` only after that: with HAProxy's 100, one client's connections held 250 MB."""


def process_lines(guarded: Guarded) -> tuple[Words, ...]:
    """What `global` needs for the guard."""
    if not guarded.used:
        return ()
    kinds = (policy.kind for policy in guarded.used)
    return (
        words("lua-load-per-thread", guarded.program, map_reference(GUARD), *kinds),
        words("tune.stick-counters", COUNTERS),
        words("tune.h2.fe.max-concurrent-streams", STREAMS),
        *peers.process_lines(guarded.sharing),
    )


def backend_choice(guarded: Guarded) -> tuple[Words, ...]:
    """Where a request of a guarded pool goes."""
    if not guarded.used:
        return ()
    not_passed = unless_found("txn.pass")
    return (
        *(
            words("use_backend", refusals_name(policy.kind), "if", *is_kind(policy.kind), *not_passed)
            for policy in guarded.used
        ),
        *(
            words("use_backend", f"pool_{pool}", "if", "{", "var(txn.pool)", "-m", "str", pool, "}")
            for pool in sorted(guarded.crowded)
        ),
        words("use_backend", "pool_%[var(txn.pool)]:%[var(txn.lane)]", "if",
              *if_found("txn.lane"), *unless_str("txn.lane", "read")),
    )  # fmt: skip


def lane_lines(policy: Enforcement | None, lane: str) -> tuple[Words, ...]:
    """A backend's own rules: what the request costs its account (trusted clients have none), the method's time
    limit, what may be tried again, and which rule an answer of HAProxy itself comes from."""
    if policy is None:
        return ()
    cost = "var(txn.line),field(5,|)"
    counted = [
        words("http-request", f"sc-add-gpc(0,{tracked})", cost) for tracked in (TRACK_SHORT, TRACK_LONG)
    ]
    return (
        *(counted if lane != UPGRADE_LANE else ()),
        words("http-request", "set-timeout", "server", "var(txn.line),field(7,|)"),
        words(
            "http-request", "disable-l7-retry", "unless", *cond("var(txn.line),field(6,|)", "-m", "str", "1")
        ),
        *_failure_lines(),
    )


def _failure_lines() -> tuple[Words, ...]:
    """Remember the rule behind an error that is no node's answer; the answer itself names it (`replies`). HAProxy's
    own answers do not run `http-response` rules, which is how they are told from those of nodes."""
    named = words("http-after-response", "set-var(txn.rule)", "res.hdr(x-nodegate-rule)")
    return ((*named, "if", *unless_found("txn.verdict")),)


def response_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Tell browsers what the policy says, on every answer; a node's own opinion is replaced."""
    if not guarded.used:
        return ()
    header, allowed = "Access-Control-Allow-Origin", if_found("txn.cors")
    return (
        words("http-after-response", "del-header", header, "if", "!", *allowed, *guarded_only(guarded)),
        words("http-after-response", "set-header", header, "%[var(txn.cors)]", "if", *allowed),
    )
