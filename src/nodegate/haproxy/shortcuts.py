"""Verdicts that are looked up: the commonest requests, for which the guard's answer is known beforehand.

What the guard would look at is either the same for all requests that are looked up at all, or part of the key: the
path, and the body's shape (`nodegate.haproxy.shapes`). HAProxy cuts texts at a zero byte, and would not see what
follows it; a body with one is not looked up.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.haproxy.accesslog import told_call
from nodegate.haproxy.conditions import cond, set_var, unless_found
from nodegate.haproxy.config import Words, words
from nodegate.haproxy.guarded import MAIN_LANE, SUSPECTS, TRIVIAL, Guarded
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.shapes import Form

FAST_HEAD = 2048
"""Bytes of headers below which a request may be looked up: what browsers send fits. A policy with a lower bound on
them has no such requests."""

FAST_BODY = 1024
"""Bytes of a body below which it may be looked up: eleven addresses of trytes."""

METHOD_FIELD, TOLD_FIELD = -3, -2
"""Fields of a line that needs no further rule, from its end (they are found there sooner): the key of the method's
counters, and what the access log says of the call."""

PLAIN_MAIN, PLAIN_LANE = "|plain", "|aside"
"""The ends of lines whose requests need no further rule (no rates, no key required), by their lane: the pool's own, or
another one."""


def fast_key(kind: str, path: str, shape: str) -> str:
    """The key of a request in the map of verdicts."""
    return f"{kind}|{path}|{shape}"


def entry(key: str, line: str, *, key_required: bool) -> str:
    """The guard's line as it stands in the map under `key`: with what else is known of the call beforehand."""
    kind, path, _ = key.split("|", 2)
    _, method, class_, lane, cost, _, _, _, *rates, _ = line.split("|")
    plain = PLAIN_MAIN if lane == MAIN_LANE else PLAIN_LANE
    needs_more = set(rates) != {"0"} or key_required
    call = told_call(path=path, method=method, class_=class_, lane=lane, cost=cost)
    return f"{line}|{kind}/{method}|{call}{'' if needs_more else plain}"


def known_verdict(forms: Mapping[Form, Words], kind: str, *when: str) -> tuple[Words, ...]:
    """Set `txn.line` to the guard's line if it is known. `kind` may be a log-format; `forms` come with the conditions
    for a request to be of theirs: the marks of one mean something else in another. `when` are more conditions."""
    few = (*cond("req.fhdr_cnt(content-encoding)", "eq", 0), *cond("req.fhdr_cnt(upgrade)", "eq", 0))
    head = cond("req.hdrs,length", "lt", FAST_HEAD)
    return (
        set_var("size", "req.body_len", *cond("method", "POST"), *few, *head),
        *(_key(form, kind, *these) for form, these in forms.items()),
        set_var("line", f"var(txn.fast),map_str({map_reference(TRIVIAL)})", *when),
    )


def _key(form: Form, kind: str, *these: str) -> Words:
    """Set `txn.fast` to the key of a request of this form, if it may be looked up."""
    headers = tuple(
        word
        for name, value in form.headers
        for word in (*cond(f"req.fhdr({name})", "-m", "str", value), *cond(f"req.fhdr_cnt({name})", "eq", 1))
    )
    small = cond("var(txn.size)", "lt", FAST_BODY)
    uncut = cond("req.body,concat(),length,sub(txn.size)", "eq", 0)
    denied = cond(f"req.body,map_sub({map_reference(SUSPECTS)})", "-m", "found")
    key = fast_key(kind, "%[pathq]", f"%[req.body,{form.converters()}]")
    return words("http-request", "set-var-fmt(txn.fast)", key, "if", *these, *small, *headers, *uncut,
                 "!", *form.own_marks("req.body"), "!", *denied)  # fmt: skip


def lookup_lines(guarded: Guarded) -> tuple[Words, ...]:
    """Look the verdict up unless it is known already, and set `txn.price` to the cost. An unknown one costs 1 for
    now: who cannot pay that is refused before the guard reads the body."""
    kinds: dict[Form, list[str]] = {}
    for policy in guarded.used:
        if policy.form is not None:
            kinds.setdefault(policy.form, []).append(policy.kind)
    forms = {
        form: cond("var(txn.kind)", "-m", "str", *these) if len(these) < len(guarded.used) else ()
        for form, these in kinds.items()
    }
    return (
        *(known_verdict(forms, "%[var(txn.kind)]", *unless_found("txn.line")) if forms else ()),
        set_var("price", "var(txn.line),field(5,|),add(0)"),
        set_var("price", "int(1)", *unless_found("txn.line")),
    )
