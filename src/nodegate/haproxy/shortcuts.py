"""Verdicts that are looked up: the commonest requests, for which the guard's answer is known beforehand.

A request's key holds all that the guard would look at. Of the body it holds the shape: each run of 81 trytes (an
address or a hash) is written as `@`, so that one entry stands for all requests that differ in nothing else. A
body with an `@` of its own is not looked up. HAProxy cuts texts at a zero byte, and what follows it would not be
seen; that is why the body's whole length stands in the key, too.
"""

from __future__ import annotations

from nodegate.haproxy.conditions import cond, if_found, set_var, unless_found
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.guarded import SUSPECTS, TRIVIAL, Guarded, guarded_only
from nodegate.haproxy.paths import map_reference

FAST_HEAD = 512
"""Bytes of headers below which the policy's bound on them (at least 512) cannot be met."""

FAST_BODY = 1024
"""Bytes of a body below which it may be looked up: eleven addresses."""

TRYTES = 81
"""Trytes of an address or a hash."""

STAND_IN = "@"
"""What such a run is in a shape: no tryte, and nothing that a longer or shorter run could turn into."""

_SHAPE = f"req.body,regsub([A-Z9]{{{TRYTES}}},{STAND_IN},g)"
_KEY = (
    "%[var(txn.kind)]|%[method]|%[pathq]|%[req.fhdr_cnt(x-iota-api-version)]|%[req.fhdr(x-iota-api-version)]"
    "|%[req.fhdr_cnt(content-encoding)]|%[req.fhdr_cnt(upgrade)]|%[req.body_len]|%[var(txn.shape)]"
)


def fast_key(kind: str, method: str, target: str, version: str | None, shape: str) -> str:
    """The key of a request in the map of verdicts. `version` is the value of X-IOTA-API-Version, None when it is
    not sent; `shape` is the body with `@` for each run of trytes."""
    given = "0|" if version is None else f"1|{version}"
    return f"{kind}|{method}|{target}|{given}|0|0|{len(body_of(shape, '9'))}|{shape}"


def body_of(shape: str, tryte: str) -> str:
    """A body of this shape, all runs of one tryte."""
    return shape.replace(STAND_IN, tryte * TRYTES)


def lookup_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Set `txn.line` to the guard's line if it is known, and `txn.price` to the cost. An unknown one costs 1 for
    now: who cannot pay that is refused before the guard reads the body."""
    small = (*cond("req.body_len", "lt", FAST_BODY), *cond("req.hdrs,length", "lt", FAST_HEAD))
    own = cond("req.body", "-m", "sub", STAND_IN)
    suspect = cond(f"req.body,map_sub({map_reference(SUSPECTS)})", "-m", "found")
    return (
        set_var("shape", _SHAPE, *guarded_only(guarded), *small, "!", *own, "!", *suspect),
        words("http-request", "set-var-fmt(txn.fast)", _KEY, "if", *if_found("txn.shape")),
        set_var("line", f"var(txn.fast),map_str({map_reference(TRIVIAL)})"),
        set_var("price", "var(txn.line),field(5,|),add(0)"),
        set_var("price", "int(1)", *unless_found("txn.line")),
    )
