"""The health listener: plain HTTP for keepalived, cloud load balancers and DNS, answered by HAProxy itself.

`GET /` counts the ready nodes of all pools, `GET /POOL` those of one; `?ready=N` asks for at least N of them
(default 1). 200 when there are, 503 when there are fewer, 404 for a pool that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodegate.haproxy.config import Frontend, Words, words
from nodegate.haproxy.guarded import MAIN_LANE
from nodegate.haproxy.pools import backend_name
from nodegate.settings import GatewaySettings

CONNECTIONS = 20
"""Who asks for health comes now and then; the clients' share is left alone."""


def health_frontend(gateway: GatewaySettings, pools: Sequence[str]) -> tuple[Frontend, ...]:
    """The listener, if `gateway.health` asks for one."""
    if gateway.health is None:
        return ()
    return (Frontend(name="health", lines=_lines(gateway.health, pools)),)


def _lines(place: str, pools: Sequence[str]) -> tuple[Words, ...]:
    ready = {pool: f"nbsrv({backend_name(pool, MAIN_LANE)})" for pool in pools}
    counted = ("var(txn.ready)", "-m", "found")
    asked = ("url_param(ready)", "-m", "reg", "^[0-9]{1,6}$")
    missing = ("var(txn.left)", "-m", "int", "lt", "0")
    return (
        words("bind", place),
        words("maxconn", CONNECTIONS),
        words("timeout", "client", "5s"),
        words("timeout", "http-keep-alive", "1s"),
        words("http-request", "deny", "deny_status", 405, "unless", "{", "method", "GET", "HEAD", "}"),
        words("http-request", "set-var(txn.asked)", "int(1)"),
        words("http-request", "set-var(txn.asked)", "url_param(ready)", "if", "{", *asked, "}"),
        words("http-request", "set-var(txn.ready)", "int(0)", "if", "{", "path", "/", "}"),
        *(
            words("http-request", "set-var(txn.ready)", f"{count},add(txn.ready)", "if", "{", "path", "/", "}")
            for count in ready.values()
        ),
        *(
            words("http-request", "set-var(txn.ready)", count, "if", "{", "path", f"/{pool}", "}")
            for pool, count in ready.items()
        ),
        words("http-request", "deny", "deny_status", 404, "unless", "{", *counted, "}"),
        words("http-request", "set-var(txn.left)", "var(txn.ready),sub(txn.asked)"),
        _answer(503, "if", "{", *missing, "}"),
        _answer(200),
    )  # fmt: skip


def _answer(status: int, *condition: str) -> Words:
    text = "%[var(txn.ready)] ready, %[var(txn.asked)] wanted"
    return words(
        "http-request", "return", "status", status, "content-type", "text/plain",
        "hdr", "Cache-Control", "no-store", "lf-string", text, *condition,
    )  # fmt: skip
