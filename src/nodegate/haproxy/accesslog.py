"""The access log: one JSON object per request, written by HAProxy itself into a file that it was given open.

Nothing of it passes through Python. Texts go through `json(utf8s)`, which escapes what JSON cannot hold, so a
client cannot break a line. What has no value is "-", and -1 for a phase that was not reached.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.haproxy.config import Words, words

DESCRIPTOR = 3
"""The file descriptor that HAProxy inherits; it survives reloads, since the master starts itself anew."""

LONGEST = 4000
"""Bytes of a line. What fits into a pipe's page (4096) is written as a whole or not at all; a
byte of a body takes six at most."""

_TIME = "%[var(txn.at),div(1000),utime(%Y-%m-%dT%H:%M:%S)].%[var(txn.at),mod(1000),add(1000),concat(),bytes(1,3)]Z"


def _text(sample: str) -> str:
    """What a client or an operator may have written: it may hold anything."""
    return f'"%[{sample},json(utf8s)]"'


def _word(sample: str) -> str:
    """Addresses and names, which have no character that JSON would want escaped. Escaping costs CPU."""
    return f'"%[{sample}]"'


FIELDS: dict[str, str] = {
    "time": f'"{_TIME}"',
    "id": _word("unique-id"),
    "client": _word("var(txn.client)"),
    "peer": _word("var(sess.client)"),
    "key": _word("var(txn.key)"),
    "pool": _word("var(txn.pool)"),
    "kind": _word("var(txn.kind)"),
    "http": _word("var(txn.http)"),
    "path": _text("var(txn.path)"),
    "method": _word("var(txn.method)"),
    "class": _word("var(txn.class)"),
    "lane": _word("var(txn.lane)"),
    "cost": "%[var(txn.cost,0)]",
    "verdict": _word("var(txn.verdict,failed)"),
    "rule": _word("var(txn.rule)"),
    "reason": _text("var(txn.reason)"),
    "status": "%ST",
    "node": _word("srv_name"),
    "bytes_in": "%U",
    "bytes_out": "%B",
    "queue_ms": "%Tw",
    "connect_ms": "%Tc",
    "response_ms": "%Tr",
    "total_ms": "%Ta",
    "retries": '"%rc"',
    "termination": '"%ts"',
}
"""The fields of a line, with what HAProxy writes for each."""

NO_REQUEST: dict[str, str] = FIELDS | {
    "time": '"%[date,utime(%Y-%m-%dT%H:%M:%S)].000Z"',
    "client": _word("var(sess.client)"),
    "cost": "0",
    "verdict": '"refused"',
    "rule": '"bad-request"',
    "reason": '"what came is no HTTP"',
}
"""The same for what HAProxy could not read as a request: there are no variables then."""

_BODY = "var(txn.body),json(utf8s)"


def request_lines(bodies: int) -> tuple[Words, ...]:
    """What has to be remembered of a request while it is whole. `bodies` is how many bytes of it are logged.

    Runs of 27 trytes and more say who owns what: they are shortened.
    """
    lines = [
        words("http-request", "set-var(txn.at)", "date(0,ms)"),
        words("http-request", "set-var(txn.path)", "path,bytes(0,256)"),
        words("http-request", "set-var(txn.http)", "method"),
    ]
    if bodies:
        shortened = "regsub([A-Z9]{27}[A-Z9]*,~,g)"
        lines.append(words("http-request", "set-var(txn.body)", f"req.body,bytes(0,{bodies}),{shortened}"))
    return tuple(lines)


def log_lines(bodies: int) -> tuple[Words, ...]:
    """Where the log goes and what a line says."""
    fields = FIELDS | ({"body": f'"%[{_BODY}]"'} if bodies else {})
    return (
        words("log", f"fd@{DESCRIPTOR}", "len", LONGEST + 6 * bodies, "format", "raw", "local0", "info"),
        words("log-format", _line(fields)),
        words("error-log-format", _line(NO_REQUEST)),
        words("http-response", "set-var(txn.verdict)", "str(served)"),
    )


def _line(fields: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"
