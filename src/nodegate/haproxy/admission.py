"""The frontend's rules for a request: who it counts for, what is left of the limits, what the guard says.

They end with `txn.pass`; whatever does not get there is refused, also when a rule failed to evaluate. What most
requests do not need comes last, behind an `allow` that ends the rules for them.
"""

from __future__ import annotations

from nodegate.haproxy import peers
from nodegate.haproxy.conditions import cond, if_found, leave_if_ruled, set_var, unless_found, unless_str
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.counters import (
    BANS,
    CLIENTS,
    CLIENTS_1M,
    METHODS,
    TRACK_LONG,
    TRACK_METHOD,
    TRACK_SHORT,
)
from nodegate.haproxy.guarded import (
    ACCOUNTS,
    KEY_METHODS,
    PROXY,
    UNMAPPED,
    Enforcement,
    Guarded,
    guarded_only,
    only,
    own_map,
)
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.rates import rate_lines
from nodegate.haproxy.shortcuts import lookup_lines

HOPS = 4
"""Proxies that are believed at most in one X-Forwarded-For, as in `policy.clients`."""


def request_lines(guarded: Guarded) -> tuple[Words, ...]:
    """The rules up to the verdict, once the pool is known and its prefix is cut."""
    if not guarded.used:
        return ()
    return (
        *(line for policy in guarded.used for line in _identify(policy, only(guarded, policy), guarded)),
        *_refuse_early(guarded),
        *_limits_of(guarded),
        *(line for policy in guarded.used for line in _api_key(policy, only(guarded, policy))),
        *_account(guarded),
        *lookup_lines(guarded),
        *_limits_before(guarded),
        *_ask_guard(guarded),
        *_limits_after(),
    )


def admission_lines(guarded: Guarded) -> tuple[Words, ...]:
    """The last rules of all: count the request and let it pass, at once if its method has no rate."""
    if not guarded.used:
        return ()
    unrated = unless_found("txn.rated")
    is_rated = ("!", *cond("var(txn.line),field(9,|,4)", "-m", "str", "0|0|0|0"))
    return (
        set_var("rated", "bool(true)", *if_found("txn.method"), *is_rated),
        *_admit(*unrated),
        words("http-request", "allow", "if", *unrated),
        *rate_lines(guarded.sharing),
        leave_if_ruled(),
        *_admit(),
    )


def _admit(*when: str) -> tuple[Words, ...]:
    """What the request costs is counted by its lane (`guarding.lane_lines`)."""
    return (
        words("http-request", f"track-sc{TRACK_METHOD}", "var(txn.kind),concat(/,txn.method)", "table", METHODS,
              "if", *if_found("txn.method"), *when),
        # Whatever went wrong before, what the guard did not judge does not pass.
        set_var("pass", "bool(true)", *if_found("txn.line"), *when),
    )  # fmt: skip


def _identify(policy: Enforcement, these: Words, guarded: Guarded) -> tuple[Words, ...]:
    """The client behind trusted proxies, and its network's standing."""
    proxies = f"var(txn.client),map_ip({map_reference(own_map('proxies', policy.kind))})"
    believed = cond("var(txn.via)", "-m", "str", PROXY)
    lines: list[Words] = []
    if policy.proxied:
        lines += [set_var("via", proxies, *these), _unquoted(*believed)]
        for number in range(1, HOPS + 1):
            lines += [
                set_var("hop", f"req.hdr_ip(x-forwarded-for,-{number})", *believed),
                words("http-request", "unset-var(txn.via)", "if", *if_found("txn.via")),
                # What is no address ends the walk: the last believed speaker is the client then.
                set_var("client", f"var(txn.hop),concat(),{UNMAPPED}", *if_found("txn.hop")),
                set_var("via", proxies, *if_found("txn.hop")),
                words("http-request", "unset-var(txn.hop)", "if", *if_found("txn.hop")),
            ]
    client = "var(txn.client)" if guarded.proxied else guarded.source
    networks = f"{client},map_ip({map_reference(own_map('networks', policy.kind))})"
    return (*lines, set_var("standing", networks, *these))


def _unquoted(*when: str) -> Words:
    """Cut X-Forwarded-For after its last quote. HAProxy takes what stands in quotes for one value, commas and all: a
    client that sends a lone quote would hide what proxies say of it behind it."""
    return words("http-request", "replace-header", "X-Forwarded-For", '^.*"([^"]*)$', r"-\1", "if", *when)


def _refuse_early(guarded: Guarded) -> tuple[Words, ...]:
    """Networks and bans, which need nothing of the request."""
    trusted = unless_str("txn.standing", "trusted")
    left = f"var({guarded.who}),table_gpt0({BANS}),sub(txn.now)"
    counted = set_var("who", "var(txn.client),ipmask(32,64),concat()")
    return (
        *([counted] if guarded.proxied else []),
        set_var("rule", "str(network-denied)", *cond("var(txn.standing)", "-m", "str", "denied")),
        set_var("rule", "str(network-not-allowed)", *cond("var(txn.standing)", "-m", "str", "closed")),
        set_var(
            "now", "date", *guarded_only(guarded), *cond(f"var({guarded.who}),in_table({BANS})"), *trusted
        ),
        set_var("rule", "str(banned)", *if_found("txn.now"), *cond(left, "gt", 0)),
        leave_if_ruled(),
    )


def _limits_of(guarded: Guarded) -> tuple[Words, ...]:
    """The numbers that hold for this request: requests at once, units in 10 s and in 1 m, whether a key is needed."""
    return (set_var("limits", f"var(txn.kind),map_str({map_reference(ACCOUNTS)})", *guarded_only(guarded)),)


def _api_key(policy: Enforcement, these: Words) -> tuple[Words, ...]:
    known = f"req.fhdr(x-api-key),sha2(256),hex,lower,map_str({map_reference(own_map('keys', policy.kind))})"
    given, count = if_found("txn.keys"), "var(txn.keys)"
    return (
        set_var("keys", "req.fhdr_cnt(x-api-key)", *these, *cond("req.fhdr(x-api-key)", "-m", "found")),
        # No browser sends a key with the question whether it may send one.
        set_var("rule", "str(key-required)", *these, "!", *given, *cond("var(txn.limits),field(4,|)", "-m", "str", "1"),
                "!", *cond("method", "OPTIONS")),
        set_var("key", known, *these, *given, *cond(count, "eq", 1)),
        set_var("rule", "str(key-unknown)", *these, *given, *unless_found("txn.key")),
        set_var("rule", "str(header-repeated)", *these, *given, *cond(count, "gt", 1)),
    )  # fmt: skip


def _account(guarded: Guarded) -> tuple[Words, ...]:
    """Whose counters and limits count. A key's are its own, wherever it is used; trusted clients have none."""
    counted = (*guarded_only(guarded), *unless_str("txn.standing", "trusted"))
    key, account = if_found("txn.key"), if_found("txn.account")
    own = peers.own_key("var(txn.account)", guarded.sharing)
    of_key = f"var(txn.kind),concat(/key/,txn.key),map_str({map_reference(ACCOUNTS)})"
    return (
        set_var("account", f"var(txn.kind),concat(|,{guarded.who})", *counted),
        set_var("account", "var(txn.kind),concat(|key:,txn.key)", *account, *key),
        set_var("limits", of_key, *key),
        words("http-request", "unset-var(txn.limits)", "if", *unless_found("txn.account")),
        words("http-request", f"track-sc{TRACK_SHORT}", own, "table", CLIENTS, "if", *account),
        words("http-request", f"track-sc{TRACK_LONG}", own, "table", CLIENTS_1M, "if", *account),
        leave_if_ruled(),
    )


def _limits_before(guarded: Guarded) -> tuple[Words, ...]:
    """What is refused before the guard reads the body."""
    sharing, account = guarded.sharing, if_found("txn.account")
    return (
        set_var("now_open", f"sc_conn_cur({TRACK_SHORT})"),
        set_var("rule", "str(concurrent)", *cond("var(txn.limits),field(1,|),sub(txn.now_open)", "lt", 0)),
        set_var("spent", f"sc_gpc_rate(0,{TRACK_SHORT})"),
        *peers.spent_elsewhere("var(txn.account)", f"table_gpc_rate(0,{CLIENTS})", sharing, *account),
        set_var("left_10s", "var(txn.limits),field(2,|),sub(txn.spent)"),
        set_var("spent", f"sc_gpc_rate(0,{TRACK_LONG})"),
        *peers.spent_elsewhere("var(txn.account)", f"table_gpc_rate(0,{CLIENTS_1M})", sharing, *account),
        set_var("left_1m", "var(txn.limits),field(3,|),sub(txn.spent)"),
        *_within_budget("txn.price"),
        leave_if_ruled(),
    )


def _within_budget(cost: str, *when: str) -> tuple[Words, ...]:
    return tuple(
        set_var("rule", f"str(budget-{window})", *when, *cond(f"var(txn.left_{window}),sub({cost})", "lt", 0))
        for window in ("10s", "1m")
    )


def _ask_guard(guarded: Guarded) -> tuple[Words, ...]:
    """The guard's verdict on what was not looked up."""
    asked, not_asked = if_found("txn.asked"), unless_found("txn.line")
    several = len(guarded.kinds) > 1 or not guarded.uniform
    no_facts = ("!", *cond("var(txn.line)", "-m", "beg", "ok|"))
    return (
        set_var("asked", "bool(true)", *guarded_only(guarded), *not_asked),
        *(
            set_var("line", f"lua.nodegate_guard({guarded.kinds[pool]},{pool})",
                    *asked, *(cond("var(txn.pool)", "-m", "str", pool) if several else ()))
            for pool in sorted(guarded.kinds)
        ),
        words("http-request", "allow", "if", *asked, *no_facts, *unless_str("txn.line", "upgrade")),
    )  # fmt: skip


def _limits_after() -> tuple[Words, ...]:
    """What needs the guard's facts: the key's methods and the cost."""
    key_methods = f"map_str({map_reference(KEY_METHODS)})"
    asked, key = if_found("txn.asked"), if_found("txn.key")
    limited = cond(f"var(txn.kind),concat(/,txn.key),{key_methods}", "-m", "found")
    listed = cond(f"var(txn.kind),concat(/,txn.key,/),concat(,txn.method),{key_methods}", "-m", "found")
    return (
        set_var("lane", "var(txn.line),field(4,|)"),
        set_var("lane", "str(upgrade)", *asked, *cond("var(txn.line)", "-m", "str", "upgrade")),
        set_var("method", "var(txn.line),field(2,|)"),
        set_var("class", "var(txn.line),field(3,|)"),
        set_var("cost", "var(txn.line),field(5,|),add(0)"),
        set_var("rule", "str(key-method)", *key, *limited, "!", *listed),
        # A batch names its worst method only: a key that is limited to some cannot be checked against it.
        set_var(
            "rule", "str(key-method)", *key, *limited, *cond("var(txn.line),field(13,|),add(0)", "gt", 1)
        ),
        *_within_budget("txn.cost", *asked),
        leave_if_ruled(),
        words("http-request", "del-header", "X-Api-Key", "if", *key),
    )


def cors_requests(guarded: Guarded) -> tuple[Words, ...]:
    """Remember whether the browser's origin is allowed."""
    lines: list[Words] = []
    for policy in guarded.used:
        allowed = f"req.fhdr(origin),map_regm({map_reference(own_map('cors', policy.kind))})"
        lines.append(set_var("cors", allowed, *only(guarded, policy)))
    return tuple(lines)
