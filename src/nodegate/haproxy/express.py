"""The way through the frontend for what most requests are: a call whose verdict is known, of a client without a key,
ban or listed network, well within all limits.

It only ever lets through what the other rules would let through, too; whatever is not as plain as that goes on to
them, and they say no where that is due. docs/decisions/0008-what-a-request-costs.md has what it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nodegate.haproxy import accesslog, peers
from nodegate.haproxy.conditions import cond, if_found, set_var
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
from nodegate.haproxy.guarded import ROOM_1M, ROOM_10S, ROOM_OPEN, Guarded, own_map
from nodegate.haproxy.paths import ROUTES, map_reference
from nodegate.haproxy.pools import SOLE
from nodegate.haproxy.services import Services
from nodegate.haproxy.shortcuts import METHOD_FIELD, PLAIN_LANE, PLAIN_MAIN, TOLD_FIELD, known_verdict


def settled(names: Sequence[str], guarded: Guarded, services: Services | None) -> Guarded:
    """`guarded` with what holds for all pools `names` of the gateway.

    The short way is for gateways with one pool, where neither routes of services nor a proxy in front change what a
    request is or whose it is. Where other gateways count too, what is left of a limit is not known at one look.
    """
    everywhere = all(map(guarded.of, names))
    uniform = everywhere and len(guarded.used) == 1
    special = services is not None or guarded.proxied or guarded.sharing.marks
    express = uniform and len(names) == 1 and guarded.used[0].form is not None and not special
    return replace(guarded, everywhere=everywhere, uniform=uniform, express=express)


def session_lines(guarded: Guarded) -> tuple[Words, ...]:
    """The account that the client's requests count for, once for each connection."""
    if not guarded.express:
        return ()
    account = f"str({guarded.used[0].kind}|),concat(,sess.who)"
    return (words("tcp-request", "session", "set-var(sess.account)", account),)


def express_lines(pool: str, guarded: Guarded, *, logged: bool) -> tuple[Words, ...]:
    """Let plain requests pass and end the rules for them. The counters are the same as those of other requests; the
    lane counts the cost."""
    if not guarded.express:
        return ()
    (policy,) = guarded.used
    assert policy.form is not None
    kind, passed, known = policy.kind, if_found("txn.pass"), if_found("txn.line")
    account = peers.own_key("var(sess.account)", guarded.sharing)
    told = accesslog.told_known(pool, kind, f"%[var(txn.line),field({TOLD_FIELD},|)]")
    return (
        *known_verdict({policy.form: ()}, kind, *_nobody_special(kind, guarded.source)),
        words("http-request", f"track-sc{TRACK_SHORT}", account, "table", CLIENTS, "if", *known),
        words("http-request", f"track-sc{TRACK_LONG}", account, "table", CLIENTS_1M, "if", *known),
        set_var("pass", "bool(true)", *cond("var(txn.line)", "-m", "end", PLAIN_MAIN, PLAIN_LANE), *_well_within(kind)),
        words("http-request", f"track-sc{TRACK_METHOD}", f"var(txn.line),field({METHOD_FIELD},|)", "table", METHODS,
              "if", *passed),
        *([words("http-request", "set-var-fmt(txn.told)", told, "if", *passed)] if logged else []),
        words("http-request", "allow", "if", *passed, *cond("var(txn.line)", "-m", "end", PLAIN_MAIN)),
        set_var("pool", f"str({pool})", *passed),
        set_var("lane", "var(txn.line),field(4,|)", *passed),
        words("http-request", "allow", "if", *passed),
    )  # fmt: skip


def _nobody_special(kind: str, source: str) -> Words:
    """The pool takes every request; the client has no key, no listed network and no ban, not even an old one."""
    return (
        *cond(f"str({SOLE}),map_str({map_reference(ROUTES)})", "-m", "found"),
        "!", *cond("req.fhdr(x-api-key)", "-m", "found"),
        "!", *cond(f"{source},map_ip({map_reference(own_map('networks', kind))})", "-m", "found"),
        "!", *cond(f"var(sess.who),in_table({BANS})"),
    )  # fmt: skip


def _well_within(kind: str) -> Words:
    """What the account has used lies in the ranges in which any plain call is fine."""
    used = {
        ROOM_OPEN: f"sc_conn_cur({TRACK_SHORT})",
        ROOM_10S: f"sc_gpc_rate(0,{TRACK_SHORT})",
        ROOM_1M: f"sc_gpc_rate(0,{TRACK_LONG})",
    }
    return tuple(
        word
        for name, sample in used.items()
        for word in cond(f"{sample},map_int({map_reference(own_map(name, kind))})", "-m", "found")
    )
