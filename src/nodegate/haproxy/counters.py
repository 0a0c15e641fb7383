"""Stick tables: what is counted, for whom, and the ceilings on connections."""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.haproxy import peers
from nodegate.haproxy.conditions import cond
from nodegate.haproxy.config import Backend, Words, words
from nodegate.haproxy.guarded import LIMITS, PROXY, UNLIMITED, Guarded, own_map
from nodegate.haproxy.paths import map_reference

COUNTERS = 8
"""Stick counters: connections, account in two windows, method, rates in two scopes, rule, ban."""
(
    TRACK_CONNECTIONS,
    TRACK_SHORT,
    TRACK_LONG,
    TRACK_METHOD,
    TRACK_RATE,
    TRACK_RATE_ALL,
    TRACK_RULE,
    TRACK_BAN,
) = range(COUNTERS)

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
    BANS: (48, "100k", "595h", "gpt0,gpc0"),
}
"""Made always, so that any limit can change at run time. An entry costs about 200 bytes. A ban is forgotten so long
after it was made, however long it is: 24 days at most, and HAProxy knows no more than 596 hours."""

LIMITING = (CLIENTS, CLIENTS_1M, RATES)
"""Tables that several gateways add up, each in entries of its own (`nodegate.haproxy.peers`)."""


def tables(guarded: Guarded) -> tuple[Backend, ...]:
    """The counters, each table in a backend of its name."""
    if not guarded.used:
        return ()
    shared = {BANS, *(LIMITING if guarded.sharing.limits else ())}
    return tuple(
        Backend(
            name=name,
            lines=(
                words(
                    "stick-table", "type", "string", "len", length, "size", size, "expire", expire, "store", store,
                    *(peers.table_words(guarded.sharing) if name in shared else ()),
                ),
            ),
        )
        for name, (length, size, expire, store) in TABLES.items()
    )  # fmt: skip


def connection_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Ceilings on connections, before anything of a request is read. The bound is the largest of all
    policies, because nobody knows yet which one the request is for."""
    if not guarded.used:
        return ()
    exempt = [
        cond(f"{guarded.source},map_ip({map_reference(own_map(name, policy.kind))})", "-m", "str", value)
        for policy in guarded.used
        for name, value in (("networks", "trusted"), ("proxies", PROXY))
    ]
    bound = f"str(connections),map_str_int({map_reference(LIMITS)},{UNLIMITED}),sub(sess.connections)"
    return (
        *(words("tcp-request", "connection", "accept", "if", *each) for each in exempt),
        words(
            "tcp-request", "connection", f"track-sc{TRACK_CONNECTIONS}", "var(sess.who)", "table", CONNECTIONS
        ),
        words("tcp-request", "connection", "set-var(sess.connections)", f"sc_conn_cur({TRACK_CONNECTIONS})"),
        words("tcp-request", "connection", "reject", "if", *cond(bound, "lt", 0)),
    )
