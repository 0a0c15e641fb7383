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

# The last three of 13 digits are the milliseconds.
_TIME = "%[var(txn.at),div(1000),utime(%Y-%m-%dT%H:%M:%S)].%[var(txn.at),concat(),bytes(10,3)]Z"


_DASH = '"-"'


def _text(sample: str) -> str:
    """What a client or an operator may have written: it may hold anything."""
    return f'"%[{sample},json(utf8s)]"'


def _word(sample: str) -> str:
    """Addresses and names, which have no character that JSON would want escaped. Escaping costs CPU."""
    return f'"%[{sample}]"'


CALL: dict[str, str] = {
    "pool": _word("var(txn.pool,-)"),
    "kind": _word("var(txn.kind,-)"),
    "http": _word("method"),
    "path": _text("var(txn.path,-)"),
    "method": _word("var(txn.method,-)"),
    "class": _word("var(txn.class,-)"),
    "lane": _word("var(txn.lane,-)"),
    "cost": "%[var(txn.cost,0)]",
}
"""What is asked for, and what a line says of it. The defaults are named, because a variable that is made of others
would have nothing for what is not there."""

_UNKNOWN = ",".join(f'"{name}":{0 if name == "cost" else _DASH}' for name in CALL)

FIELDS: dict[str, str] = {
    "time": f'"{_TIME}"',
    "id": _word("unique-id"),
    "client": _word("var(txn.client)"),
    "peer": _word("var(sess.client)"),
    "key": _word("var(txn.key)"),
    **CALL,
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
"""The fields of a line, with what HAProxy writes for each. Those of CALL are one text in `txn.told`."""

NO_REQUEST: dict[str, str] = FIELDS | {
    "time": '"%[date,utime(%Y-%m-%dT%H:%M:%S)].000Z"',
    "client": _word("var(sess.client)"),
    "verdict": '"refused"',
    "rule": '"bad-request"',
    "reason": '"what came is no HTTP"',
}
"""The same for what HAProxy could not read as a request: there are no variables then."""

_BODY = "var(txn.body),json(utf8s)"


def request_lines(bodies: int) -> tuple[Words, ...]:
    """What has to be remembered of every request while it is whole. `bodies` is how many bytes of it are logged.

    Runs of 27 trytes and more say who owns what: they are shortened.
    """
    lines = [words("http-request", "set-var(txn.at)", "date(0,ms)")]
    if bodies:
        shortened = "regsub([A-Z9]{27}[A-Z9]*,~,g)"
        lines.append(words("http-request", "set-var(txn.body)", f"req.body,bytes(0,{bodies}),{shortened}"))
    return tuple(lines)


def path_lines() -> tuple[Words, ...]:
    """The path as the client wrote it, before anything cuts it."""
    return (words("http-request", "set-var(txn.path)", "path,bytes(0,256)"),)


def told_lines() -> tuple[Words, ...]:
    """Put together what is asked for, when all of it is known. What is answered before that is told at the answer."""
    call = ",".join(f'"{name}":{value}' for name, value in CALL.items())
    unless = ("unless", "{", "var(txn.told)", "-m", "found", "}")
    return (
        words("http-request", "set-var-fmt(txn.told)", call),
        words("http-after-response", "set-var-fmt(txn.told)", call, *unless),
    )


def told_known(pool: str, kind: str, call: str) -> str:
    """The same for a call that was looked up; `call` is what `told_call` made, or where it is to be found."""
    return f'"pool":"{pool}","kind":"{kind}","http":"POST",{call}'


def told_call(*, path: str, method: str, class_: str, lane: str, cost: str) -> str:
    """The part that does not depend on the pool. What a policy names has nothing that JSON would want escaped."""
    return f'"path":"{path}","method":"{method}","class":"{class_}","lane":"{lane}","cost":{cost}'


def log_lines(bodies: int, client: str) -> tuple[Words, ...]:
    """Where the log goes and what a line says; `client` is the variable that has who asked."""
    fields = FIELDS | {"client": _word(f"var({client})")} | ({"body": f'"%[{_BODY}]"'} if bodies else {})
    return (
        words("log", f"fd@{DESCRIPTOR}", "len", LONGEST + 6 * bodies, "format", "raw", "local0", "info"),
        words("log-format", _line(fields, _told())),
        words("error-log-format", _line(NO_REQUEST, _UNKNOWN)),
    )


def _told() -> str:
    default = _UNKNOWN.replace('"', '\\"')
    return f'%[var(txn.told,"{default}")]'


def _line(fields: Mapping[str, str], told: str) -> str:
    parts = (told if name == "pool" else f'"{name}":{value}' for name, value in fields.items()
             if name == "pool" or name not in CALL)  # fmt: skip
    return "{" + ",".join(parts) + "}"
