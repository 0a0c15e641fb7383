"""Verdicts that are looked up: the commonest requests, for which the guard's answer is known beforehand.

What the guard would look at is either the same for all requests that are looked up at all, or part of the key. Of
the body the key holds the shape: each run of 81 trytes (an address or a hash) is written as `@`, so that one entry
stands for all requests that differ in nothing else, and each space as `~`, which keys of a map cannot have. A body with
an `@` or `~` of its own is not looked up. HAProxy cuts texts at a zero byte, and what follows it would not be seen;
that is why the body's whole length stands in the key, too.
"""

from __future__ import annotations

from nodegate.haproxy.accesslog import told_call
from nodegate.haproxy.conditions import cond, set_var, unless_found
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.guarded import MAIN_LANE, SUSPECTS, TRIVIAL, Guarded
from nodegate.haproxy.paths import map_reference

FAST_HEAD = 512
"""Bytes of headers below which the policy's bound on them (at least 512) cannot be met."""

FAST_BODY = 1024
"""Bytes of a body below which it may be looked up: eleven addresses."""

FAST_VERSION = "1"
"""The value of X-IOTA-API-Version in all requests that are looked up: what clients send."""

TRYTES = 81
"""Trytes of an address or a hash."""

STAND_IN = "@"
"""What such a run is in a shape: no tryte, and nothing that a longer or shorter run could turn into."""

SPACE = "~"
"""What a space is in a shape."""

METHOD_FIELD, TOLD_FIELD = -3, -2
"""Fields of a plain line, from its end (they are found there sooner): the key of the method's counters, and what the
access log says of the call."""

IS_PLAIN = "|plain"
"""The end of lines whose requests need no further rule: no rates, no key required, the pool's own lane."""

_SHAPE = f'req.body,regsub([A-Z9]{{{TRYTES}}},{STAND_IN},g),regsub(" ",{SPACE},g)'
_VERSION = "x-iota-api-version"


def fast_key(kind: str, shape: str) -> str:
    """The key of a request in the map of verdicts; `shape` is the body as `shape_of` writes it."""
    return f"{kind}|{len(body_of(shape, '9'))}|{shape}"


def shape_of(text: str) -> str:
    """The shape of a body whose runs of trytes are written as `@` already."""
    return text.replace(" ", SPACE)


def body_of(shape: str, tryte: str) -> str:
    """A body of this shape, all runs of one tryte."""
    return shape.replace(STAND_IN, tryte * TRYTES).replace(SPACE, " ")


def entry(kind: str, line: str, *, key_required: bool) -> str:
    """The guard's line as it stands in the map: with what else is known of the call beforehand."""
    _, method, class_, lane, cost, _, _, _, *rates, _ = line.split("|")
    plain = lane == MAIN_LANE and set(rates) == {"0"} and not key_required
    call = told_call(method=method, class_=class_, lane=lane, cost=cost)
    return f"{line}|{kind}/{method}|{call}{IS_PLAIN if plain else ''}"


def known_verdict(kind: str, *when: str) -> tuple[Words, ...]:
    """Set `txn.line` to the guard's line if it is known. `kind` may be a log-format; `when` are more conditions."""
    few = (*cond("req.fhdr_cnt(content-encoding)", "eq", 0), *cond("req.fhdr_cnt(upgrade)", "eq", 0))
    version = (
        *cond(f"req.fhdr({_VERSION})", "-m", "str", FAST_VERSION),
        *cond(f"req.fhdr_cnt({_VERSION})", "eq", 1),
    )
    small = (*cond("req.body_len", "lt", FAST_BODY), *cond("req.hdrs,length", "lt", FAST_HEAD))
    suspect = cond(f"req.body,map_sub({map_reference(SUSPECTS)})", "-m", "found")
    key = f"{kind}|%[req.body_len]|%[{_SHAPE}]"
    return (
        words("http-request", "set-var-fmt(txn.fast)", key, "if", *cond("method", "POST"), *cond("pathq", "/"), *version, *few, *small, "!", *suspect),
        set_var("line", f"var(txn.fast),map_str({map_reference(TRIVIAL)})", *when),
    )  # fmt: skip


def lookup_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Look the verdict up unless it is known already, and set `txn.price` to the cost. An unknown one costs 1 for
    now: who cannot pay that is refused before the guard reads the body."""
    known = any(policy.known for policy in guarded.used)
    return (
        *(known_verdict("%[var(txn.kind)]", *unless_found("txn.line")) if known else ()),
        set_var("price", "var(txn.line),field(5,|),add(0)"),
        set_var("price", "int(1)", *unless_found("txn.line")),
    )
