"""A policy's part of the configuration: who a request counts for, the guard, the limits, the refusals.

The frontend's rules end with `txn.pass`. Whatever does not get there goes to the backend `refusals:KIND`,
also when a rule failed to evaluate: the default is a refusal. Limits and lists are read from maps for each
request, so that they change without a reload. docs/decisions/0007-enforcement.md tells why it is so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodegate.haproxy import replies
from nodegate.haproxy.config import Backend, Words, words
from nodegate.haproxy.paths import map_reference

GUARD = "guard"
LIMITS = "limits"
KEY_METHODS = "key_methods"
TRIVIAL = "trivial"
TEXTS = "texts"
SHARED_MAPS = (GUARD, LIMITS, KEY_METHODS, TRIVIAL, TEXTS)
"""Maps of all kinds together; those of one kind are named by `own_map`."""

OWN_MAPS = ("networks", "proxies", "keys", "cors")

UNLIMITED = 2_000_000_000
"""No limit, in numbers."""

COUNTERS = 8
"""Stick counters: connections, account in two windows, method, rates in two scopes, rule, ban."""
_CONNECTIONS, _SHORT, _LONG, _METHOD, _RATE, _RATE_ALL, _RULE, _BAN = range(COUNTERS)

CONNECTIONS = "st_connections"
CLIENTS = "st_clients"
CLIENTS_1M = "st_clients_1m"
METHODS = "st_methods"
RATES = "st_rates"
RULES = "st_rules"
BANS = "st_bans"

TABLES: Mapping[str, tuple[int, str, str, str]] = {
    # name: (length of a key, entries, forgotten after, counters)
    CONNECTIONS: (48, "200k", "10m", "conn_cur"),
    CLIENTS: (112, "200k", "10m", "conn_cur,http_req_cnt,http_req_rate(10s),gpc(1),gpc_rate(1,10s)"),
    CLIENTS_1M: (112, "200k", "10m", "gpc(2),gpc_rate(2,1m)"),
    METHODS: (160, "10k", "24h", "http_req_cnt,http_req_rate(10s),http_err_cnt,http_fail_cnt,bytes_out_cnt"),
    RATES: (192, "200k", "10m", "gpc0,gpc0_rate(10s),gpc1,gpc1_rate(1m)"),
    RULES: (128, "10k", "24h", "gpc0,gpc0_rate(1m)"),
    BANS: (48, "100k", "25h", "gpt0,gpc0"),
}
"""Made always, so that any limit can change at run time. An entry costs about 200 bytes."""

REFUSED_UNITS = 20
"""What a request that the guard refused costs: reading it cost the gateway as much as a call that works."""

HOPS = 4
"""Proxies that are believed at most in one X-Forwarded-For, as in `policy.clients`."""

FAST_HEAD = 512
"""Bytes of headers below which the policy's bound on them (at least 512) cannot be met."""

FAST_BODY = 128

GATEWAY_RULES: Mapping[str, tuple[int, str, int]] = {
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneShape:
    """A bulkhead as a backend of its own: requests at once per node (None: as many as the node takes) and
    seconds to wait for a place."""

    concurrency: int | None
    queue_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """What the gateway has to know of one kind's compiled policy.

    `maps` are named as in HAProxy. `proxied` says whether any proxy is trusted, `buffer` is the least
    tune.bufsize in bytes. Lanes, `proxied` and `buffer` are part of the skeleton, the maps are not.
    """

    kind: str
    style: replies.Style
    version: str
    lanes: Mapping[str, LaneShape]
    maps: Mapping[str, Mapping[str, str]]
    buffer: int
    proxied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The pools under a policy. `kinds` is by pool; pools it lacks are not guarded. `program` is the guard's
    file, relative to the configuration."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Enforcement] = field(default_factory=dict)
    program: str = "guard.lua"
    crowded: frozenset[str] = frozenset()
    """Pools of so many nodes that all classes share the pool's one backend."""
    uniform: bool = False
    """All pools of the gateway have one and the same policy, so that no rule has to ask which one."""

    @property
    def used(self) -> tuple[Enforcement, ...]:
        """The policies of at least one pool, in order of kind."""
        return tuple(self.policies[kind] for kind in sorted(set(self.kinds.values())))

    def of(self, pool: str) -> Enforcement | None:
        """The policy of a pool, None when it has none."""
        kind = self.kinds.get(pool)
        return None if kind is None else self.policies[kind]

    def lanes(self, pool: str) -> Mapping[str, LaneShape]:
        """The lanes of a pool: those of its policy, none in a crowded pool or one without a policy."""
        policy = self.of(pool)
        return {} if policy is None or pool in self.crowded else policy.lanes

    def maps(self) -> dict[str, dict[str, str]]:
        """All maps that the rules refer to, by name."""
        if not self.used:
            return {}
        maps: dict[str, dict[str, str]] = {name: {} for name in SHARED_MAPS}
        for policy in self.used:
            maps |= {own_map(name, policy.kind): {} for name in OWN_MAPS}
            for name, entries in policy.maps.items():
                maps[name] = {**maps.get(name, {}), **entries}
        bounds = [int(policy.maps[LIMITS]["connections"]) for policy in self.used]
        maps[LIMITS]["connections"] = str(max(bounds))
        return {name: dict(sorted(entries.items())) for name, entries in maps.items()}


def why_reload(before: Guarded, after: Guarded) -> str:
    """What of a changed policy no running HAProxy can take on, in words."""
    reasons = []
    for policy in after.used:
        old = before.policies.get(policy.kind)
        if old is None:
            reasons.append(f"{policy.kind} had no policy so far")
            continue
        if lanes := sorted(set(policy.lanes) ^ set(old.lanes)):
            reasons.append(f"the lanes of {policy.kind} change: {', '.join(lanes)}")
        elif _waits(policy) != _waits(old):
            reasons.append(f"the time to wait for a place in a lane of {policy.kind} changes")
        if policy.buffer != old.buffer:
            reasons.append(f"the largest request of {policy.kind} changes")
        if policy.proxied != old.proxied:
            reasons.append(f"{policy.kind} gets its first trusted proxy or loses its last one")
    return "; ".join(reasons) or "the shape of the gateway changes"


def _waits(policy: Enforcement) -> dict[str, float]:
    return {name: lane.queue_timeout for name, lane in policy.lanes.items()}


def own_map(name: str, kind: str) -> str:
    """The map `name` of one kind."""
    return f"{name}-{kind}"


def process_lines(guarded: Guarded) -> tuple[Words, ...]:
    """What `global` needs for the guard."""
    if not guarded.used:
        return ()
    kinds = (policy.kind for policy in guarded.used)
    return (
        words("lua-load-per-thread", guarded.program, map_reference(GUARD), *kinds),
        words("tune.stick-counters", COUNTERS),
    )


def tables(guarded: Guarded) -> tuple[Backend, ...]:
    """The counters, each table in a backend of its name."""
    if not guarded.used:
        return ()
    return tuple(
        Backend(
            name=name,
            lines=(words("stick-table", "type", "string", "len", length, "size", size, "expire", expire, "store", store),),
        )
        for name, (length, size, expire, store) in TABLES.items()
    )  # fmt: skip


def connection_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Ceilings on connections, before anything of a request is read. The bound is the largest of all
    policies, because nobody knows yet which one the request is for."""
    if not guarded.used:
        return ()
    exempt = [
        cond(f"src,map_ip({map_reference(own_map(name, policy.kind))})", "-m", "str", value)
        for policy in guarded.used
        for name, value in (("networks", "trusted"), ("proxies", "1"))
    ]
    who = "src,ipmask(32,64),concat()"
    bound = f"str(connections),map_str_int({map_reference(LIMITS)},{UNLIMITED}),sub(sess.connections)"
    return (
        *(words("tcp-request", "connection", "accept", "if", *each) for each in exempt),
        words("tcp-request", "connection", f"track-sc{_CONNECTIONS}", who, "table", CONNECTIONS),
        words("tcp-request", "connection", "set-var(sess.connections)", f"sc_conn_cur({_CONNECTIONS})"),
        words("tcp-request", "connection", "reject", "if", *cond(bound, "lt", 0)),
    )


def request_lines(guarded: Guarded) -> tuple[Words, ...]:
    """The frontend's rules, once the pool is known and its prefix is cut."""
    if not guarded.used:
        return ()
    return (
        *(line for policy in guarded.used for line in _identify(policy, _only(guarded, policy))),
        *_refuse_early(guarded),
        *(line for policy in guarded.used for line in _api_key(policy, _only(guarded, policy))),
        *_limits_before(guarded),
        *_ask_guard(guarded),
        *_limits_after(guarded),
    )


def backend_choice(guarded: Guarded) -> tuple[Words, ...]:
    """Where a request of a guarded pool goes."""
    if not guarded.used:
        return ()
    not_passed = unless_found("txn.pass")
    return (
        *(
            words("use_backend", refusals_name(policy.kind), "if", *_is_kind(policy.kind), *not_passed)
            for policy in guarded.used
        ),
        *(
            words("use_backend", f"pool_{pool}", "if", "{", "var(txn.pool)", "-m", "str", pool, "}")
            for pool in sorted(guarded.crowded)
        ),
        words("use_backend", "pool_%[var(txn.pool)]:%[var(txn.lane)]", "if",
              *if_found("txn.lane"), *unless_str("txn.lane", "read")),
    )  # fmt: skip


def refusals_name(kind: str) -> str:
    """The backend that answers refusals and preflights of a kind."""
    return f"refusals:{kind}"


def lane_lines(policy: Enforcement | None) -> tuple[Words, ...]:
    """A backend's own rules: the method's time limit, what may be tried again, and which rule an answer of
    HAProxy itself comes from."""
    if policy is None:
        return ()
    return (
        words("http-request", "set-timeout", "server", "var(txn.line),field(7,|)"),
        words(
            "http-request", "disable-l7-retry", "unless", *cond("var(txn.line),field(6,|)", "-m", "str", "1")
        ),
        *_failure_lines(),
    )


def _failure_lines() -> tuple[Words, ...]:
    """Name the rule behind an error that is no node's answer. HAProxy's own answers do not run
    `http-response` rules, which is how they are told from those of nodes."""
    own = unless_found("txn.answered")
    rules = {502: "node-failed", 503: "queue", 504: "timeout"}
    return (
        words("http-response", "set-var(txn.answered)", "bool(true)"),
        *(
            words("http-after-response", "set-var(txn.rule)", f"str({rule})", "if", *cond("status", "eq", status), *own)
            for status, rule in rules.items()
        ),
        words("http-after-response", "set-var(txn.rule)", "str(no-node)", "if", *cond("status", "eq", 503), *own,
              *cond("nbsrv", "eq", 0)),
        words("http-after-response", "set-header", "X-Nodegate-Rule", "%[var(txn.rule)]", "if", *if_found("txn.rule")),
    )  # fmt: skip


def response_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Tell browsers what the policy says, on every answer; a node's own opinion is replaced."""
    if not guarded.used:
        return ()
    return (
        words("http-after-response", "set-header", "Access-Control-Allow-Origin", "%[var(txn.cors)]",
              "if", *if_found("txn.cors")),
    )  # fmt: skip


# ---- pieces of the frontend ----------------------------------------------------------------------------


def _identify(policy: Enforcement, only: Words) -> tuple[Words, ...]:
    """The client behind trusted proxies, and its network's standing."""
    proxies = f"var(txn.client),map_ip({map_reference(own_map('proxies', policy.kind))})"
    lines: list[Words] = []
    if policy.proxied:
        lines.append(_set("via", proxies, *only))
        for number in range(1, HOPS + 1):
            lines += [
                _set("hop", f"req.hdr_ip(x-forwarded-for,-{number})", *if_found("txn.via")),
                words("http-request", "unset-var(txn.via)", "if", *if_found("txn.via")),
                # What is no address ends the walk: the last believed speaker is the client then.
                _set("client", r"var(txn.hop),concat(),regsub(^::ffff:,)", *if_found("txn.hop")),
                _set("via", proxies, *if_found("txn.hop")),
                words("http-request", "unset-var(txn.hop)", "if", *if_found("txn.hop")),
            ]
    networks = f"var(txn.client),map_ip({map_reference(own_map('networks', policy.kind))})"
    return (*lines, _set("standing", networks, *only))


def _refuse_early(guarded: Guarded) -> tuple[Words, ...]:
    """Networks and bans, which need nothing of the request."""
    trusted = unless_str("txn.standing", "trusted")
    left = f"var(txn.who),table_gpt0({BANS}),sub(txn.now)"
    return (
        _set("who", "var(txn.client),ipmask(32,64),concat()"),
        _set("rule", "str(network-denied)", *cond("var(txn.standing)", "-m", "str", "denied")),
        _set("rule", "str(network-not-allowed)", *cond("var(txn.standing)", "-m", "str", "closed")),
        _set("now", "date", *_guarded_only(guarded), *cond(f"var(txn.who),in_table({BANS})"), *trusted),
        _set("rule", "str(banned)", *if_found("txn.now"), *cond(left, "gt", 0)),
        _leave_if_ruled(),
    )


def _api_key(policy: Enforcement, only: Words) -> tuple[Words, ...]:
    known = f"req.fhdr(x-api-key),sha2(256),hex,lower,map_str({map_reference(own_map('keys', policy.kind))})"
    required = _limit(f"str({policy.kind}/key/required)", default=0)
    count = "var(txn.keys)"
    return (
        _set("keys", "req.fhdr_cnt(x-api-key)", *only),
        _set("rule", "str(key-required)", *only, *cond(count, "eq", 0), *cond(required, "eq", 1)),
        _set("key", known, *only, *cond(count, "eq", 1)),
        _set("rule", "str(key-unknown)", *only, *cond(count, "eq", 1), *unless_found("txn.key")),
        _set("rule", "str(header-repeated)", *only, *cond(count, "gt", 1)),
    )


def _limits_before(guarded: Guarded) -> tuple[Words, ...]:
    """What is counted before the guard reads the body. A key's counters are its own, wherever it is used."""
    counted = (*_guarded_only(guarded), *unless_str("txn.standing", "trusted"))
    return (
        _set("account", "var(txn.kind),concat(|,txn.who)", *counted),
        _set("account", "var(txn.kind),concat(|key:,txn.key)", *counted, *if_found("txn.key")),
        words("http-request", f"track-sc{_SHORT}", "var(txn.account)", "table", CLIENTS, "if", *if_found("txn.account")),
        words("http-request", f"track-sc{_LONG}", "var(txn.account)", "table", CLIENTS_1M, "if", *if_found("txn.account")),
        _leave_if_ruled(),
        _set("budget", "var(txn.kind),concat(/budget)", *if_found("txn.account")),
        _set("budget", "var(txn.kind),concat(/budget/,txn.key)", *if_found("txn.account"), *if_found("txn.key")),
        _set("now_open", f"sc_conn_cur({_SHORT})"),
        _set("rule", "str(concurrent)", *cond(_limit("var(txn.kind),concat(/concurrent)", "txn.now_open"), "lt", 0)),
        _set("spent", f"sc_gpc_rate(0,{_SHORT})"),
        _set("left_10s", _limit("var(txn.budget),concat(/10s)", "txn.spent")),
        _set("spent", f"sc_gpc_rate(0,{_LONG})"),
        _set("left_1m", _limit("var(txn.budget),concat(/1m)", "txn.spent")),
        _set("rule", "str(budget-10s)", *cond("var(txn.left_10s)", "le", 0)),
        _set("rule", "str(budget-1m)", *cond("var(txn.left_1m)", "le", 0)),
        _leave_if_ruled(),
    )  # fmt: skip


def fast_key(kind: str, method: str, target: str, version: str | None, body: str) -> str:
    """The key under which the map of trivial requests holds the guard's line. `version` is the value of
    X-IOTA-API-Version, None when it is not sent. The body's length stands in the key because HAProxy cuts
    texts at a zero byte, and what follows it would not be seen."""
    given = "0|" if version is None else f"1|{version}"
    return f"{kind}|{method}|{target}|{given}|0|0|{len(body)}|{body}"


_FAST_FORMAT = (
    "%[var(txn.kind)]|%[method]|%[pathq]|%[req.fhdr_cnt(x-iota-api-version)]|%[req.fhdr(x-iota-api-version)]"
    "|%[req.fhdr_cnt(content-encoding)]|%[req.fhdr_cnt(upgrade)]|%[req.body_len]|%[req.body]"
)


def _ask_guard(guarded: Guarded) -> tuple[Words, ...]:
    """The verdict: looked up for the commonest requests, else the guard's."""
    small = (*cond("req.body_len", "lt", FAST_BODY), *cond("req.hdrs,length", "lt", FAST_HEAD))
    return (
        words("http-request", "set-var-fmt(txn.fast)", _FAST_FORMAT, "if", *_guarded_only(guarded), *small),
        _set("line", f"var(txn.fast),map_str({map_reference(TRIVIAL)})"),
        *(
            _set("line", f"lua.nodegate_guard({guarded.kinds[pool]},{pool})",
                 *unless_found("txn.line"), *cond("var(txn.pool)", "-m", "str", pool))
            for pool in sorted(guarded.kinds)
        ),
        words("http-request", "allow", "if", *_guarded_only(guarded), *unless_facts(), *unless_str("txn.line", "upgrade")),
    )  # fmt: skip


def _limits_after(guarded: Guarded) -> tuple[Words, ...]:
    """What needs the guard's facts: the key's methods, the cost, the rates. Then the request has passed."""
    key_methods = f"map_str({map_reference(KEY_METHODS)})"
    limited = cond(f"var(txn.kind),concat(/,txn.key),{key_methods}", "-m", "found")
    listed = cond(f"var(txn.kind),concat(/,txn.key,/),concat(,txn.method),{key_methods}", "-m", "found")
    return (
        _set("lane", "var(txn.line),field(4,|)"),
        _set("lane", "str(upgrade)", *cond("var(txn.line)", "-m", "str", "upgrade")),
        _set("method", "var(txn.line),field(2,|)"),
        _set("class", "var(txn.line),field(3,|)"),
        _set("cost", "var(txn.line),field(5,|),add(0)"),
        _set("rule", "str(key-method)", *if_found("txn.key"), *limited, "!", *listed),
        # A batch names its worst method only: a key that is limited to some cannot be checked against it.
        _set("rule", "str(key-method)", *if_found("txn.key"), *limited, *cond("var(txn.line),field(13,|),add(0)", "gt", 1)),
        _set("rule", "str(budget-10s)", *cond("var(txn.left_10s),sub(txn.cost)", "lt", 0)),
        _set("rule", "str(budget-1m)", *cond("var(txn.left_1m),sub(txn.cost)", "lt", 0)),
        *_rates(),
        _leave_if_ruled(),
        words("http-request", f"sc-add-gpc(0,{_SHORT})", "var(txn.cost)", "if", *if_found("txn.account")),
        words("http-request", f"sc-add-gpc(0,{_LONG})", "var(txn.cost)", "if", *if_found("txn.account")),
        words("http-request", f"track-sc{_METHOD}", "var(txn.kind),concat(/,txn.method)", "table", METHODS,
              "if", *if_found("txn.method")),
        words("http-request", "del-header", "X-Api-Key", "if", *if_found("txn.key")),
        _set("pass", "bool(true)", *_guarded_only(guarded)),
    )  # fmt: skip


def _rates() -> tuple[Words, ...]:
    """Rates per client and for all together, for the methods that have some. Only admitted requests count:
    a client that is refused does not keep itself or others out."""
    rated = if_found("txn.rated")
    mine = (*rated, *if_found("txn.account"))
    lines = [
        _set("rated", "bool(true)", *if_found("txn.method"), "!", *cond("var(txn.line),field(9,|,4)", "-m", "str", "0|0|0|0")),
        _set("pair", "var(txn.account),concat(|,txn.method)", *mine),
        words("http-request", f"track-sc{_RATE}", "var(txn.pair)", "table", RATES, "if", *mine),
        words("http-request", f"track-sc{_RATE_ALL}", "var(txn.kind),concat(/,txn.method)", "table", RATES, "if", *rated),
    ]  # fmt: skip
    places = ((9, 0, _RATE, "rate"), (10, 1, _RATE, "rate"), (11, 0, _RATE_ALL, "rate-overall"), (12, 1, _RATE_ALL, "rate-overall"))  # fmt: skip
    for place, counter, tracked, rule in places:
        bound = f"var(txn.line),field({place},|),add(0)"
        condition = mine if tracked == _RATE else rated
        lines += [
            _set("spent", f"sc_gpc{counter}_rate({tracked})", *condition),
            _set(
                "rule",
                f"str({rule})",
                *condition,
                *cond(bound, "gt", 0),
                *cond(f"{bound},sub(txn.spent)", "le", 0),
            ),
        ]
    fine = unless_found("txn.rule")
    for tracked, condition in ((_RATE, mine), (_RATE_ALL, rated)):
        for counter in (0, 1):
            lines.append(words("http-request", f"sc-inc-gpc{counter}({tracked})", "if", *condition, *fine))
    return tuple(lines)


def cors_requests(guarded: Guarded) -> tuple[Words, ...]:
    """Remember whether the browser's origin is allowed."""
    lines: list[Words] = []
    for policy in guarded.used:
        allowed = f"req.fhdr(origin),map_reg({map_reference(own_map('cors', policy.kind))})"
        lines.append(_set("cors", allowed, *_only(guarded, policy)))
    if lines:
        lines.append(_set("cors", "req.fhdr(origin)", *cond("var(txn.cors)", "-m", "str", "echo")))
    return tuple(lines)


# ---- refusals ------------------------------------------------------------------------------------------


def refusals(guarded: Guarded) -> tuple[Backend, ...]:
    """One backend per kind that answers what did not pass."""
    return tuple(
        Backend(name=refusals_name(policy.kind), lines=_refusal_lines(policy)) for policy in guarded.used
    )


def _refusal_lines(policy: Enforcement) -> tuple[Words, ...]:
    no = cond("var(txn.line)", "-m", "beg", "no|")
    tracked = if_found("txn.account")
    suspect = cond("var(txn.rule)", "-m", "str", *SUSPECT)
    bound = _limit(f"str({policy.kind}/ban/after)", "txn.refusals")
    return (
        *_preflight(policy),
        _set("said", "bool(true)", *no, *unless_found("txn.rule")),
        _set("status", "var(txn.line),field(3,|),add(0)", *if_found("txn.said")),
        _set("reason", "var(txn.line),field(4,|,0)", *if_found("txn.said")),
        _set("rule", "var(txn.line),field(2,|)", *if_found("txn.said")),
        *(line for rule in GATEWAY_RULES for line in _own_rule(rule)),
        _set("rule", "str(policy)", *unless_found("txn.rule")),
        _set("reason", "str(the gateway could not judge the request)", *unless_found("txn.reason")),
        _set("retry", f"var(txn.who),table_gpt0({BANS}),sub(txn.now)", *cond("var(txn.rule)", "-m", "str", "banned")),
        _set("verdict", "str(refused)"),
        words("http-request", f"track-sc{_RULE}", f"str({policy.kind}/),concat(,txn.rule)", "table", RULES),
        words("http-request", f"sc-inc-gpc0({_RULE})"),
        words("http-request", f"sc-add-gpc(0,{_SHORT})", REFUSED_UNITS, "if", *tracked, *if_found("txn.said")),
        words("http-request", f"sc-add-gpc(0,{_LONG})", REFUSED_UNITS, "if", *tracked, *if_found("txn.said")),
        words("http-request", f"sc-inc-gpc(1,{_LONG})", "if", *tracked, *suspect),
        _set("refusals", f"sc_gpc_rate(1,{_LONG})", *tracked, *suspect),
        _set("penalty", _limit(f"str({policy.kind}/ban/seconds)"), *cond(bound, "le", 0)),
        words("http-request", f"track-sc{_BAN}", "var(txn.who)", "table", BANS, "if", *if_found("txn.penalty")),
        words("http-request", f"sc-set-gpt0({_BAN})", "date,add(txn.penalty)", "if", *if_found("txn.penalty")),
        words("http-request", f"sc-inc-gpc0({_BAN})", "if", *if_found("txn.penalty")),
        *(_answer(policy.style, status, *cond("var(txn.status)", "eq", status)) for status in STATUSES),
        _answer(policy.style, 503),
    )  # fmt: skip


def _own_rule(rule: str) -> tuple[Words, ...]:
    status, sentence, retry = GATEWAY_RULES[rule]
    this = (*cond("var(txn.rule)", "-m", "str", rule), *unless_found("txn.said"))
    after = (_set("retry", f"int({retry})", *this),) if retry else ()
    return (_set("status", f"int({status})", *this), _set("reason", f"str({sentence})", *this), *after)


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
        _set("verdict", "str(served)", *is_one),
        words(
            "http-request", "return", "status", 204,
            "hdr", "Access-Control-Allow-Methods", f"%[str({policy.kind}/cors/methods),{texts}]",
            "hdr", "Access-Control-Allow-Headers", f"%[str({policy.kind}/cors/headers),{texts}]",
            "hdr", "Access-Control-Max-Age", f"%[str({policy.kind}/cors/age),{texts}]",
            "hdr", "Vary", "Origin", "if", *is_one,
        ),
    )  # fmt: skip


# ---- words ---------------------------------------------------------------------------------------------


def cond(sample: str, *match: object) -> Words:
    """One anonymous condition. Variables have no type of their own, so numbers have to be called that."""
    number = ("-m", "int") if match and match[0] in {"eq", "lt", "le", "gt", "ge"} else ()
    return words("{", sample, *number, *match, "}")


def if_found(name: str) -> Words:
    """The variable has a value."""
    return cond(f"var({name})", "-m", "found")


def unless_found(name: str) -> Words:
    """The variable has no value."""
    return ("!", *if_found(name))


def unless_str(name: str, text: str) -> Words:
    """The variable is not this text."""
    return ("!", *cond(f"var({name})", "-m", "str", text))


def unless_facts() -> Words:
    """The guard did not let the request through with facts."""
    return ("!", *cond("var(txn.line)", "-m", "beg", "ok|"))


def _set(name: str, sample: str, *when: str) -> Words:
    return words("http-request", f"set-var(txn.{name})", sample, *(("if", *when) if when else ()))


def _leave_if_ruled() -> Words:
    return words("http-request", "allow", "if", *if_found("txn.rule"))


def _limit(key: str, spent: str = "", *, default: int = UNLIMITED) -> str:
    """A number from the map of limits, less what is spent of it."""
    less = f",sub({spent})" if spent else ""
    return f"{key},map_str_int({map_reference(LIMITS)},{default}){less}"


def _is_kind(kind: str) -> Words:
    return cond("var(txn.kind)", "-m", "str", kind)


def _only(guarded: Guarded, policy: Enforcement) -> Words:
    return () if guarded.uniform else _is_kind(policy.kind)


def _guarded_only(guarded: Guarded) -> Words:
    return () if guarded.uniform else if_found("txn.kind")
