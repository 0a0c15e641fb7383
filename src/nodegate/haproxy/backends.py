"""A pool's backends: how a node is picked, what it is told, what is tried again, and what waits how long."""

from __future__ import annotations

import re

from nodegate.errors import Unsafe
from nodegate.haproxy import guarding, replies, serving
from nodegate.haproxy.config import Backend, Words, literal, words
from nodegate.haproxy.guarded import Guarded
from nodegate.haproxy.paths import METHODS, Paths, map_reference
from nodegate.haproxy.pools import backend_name
from nodegate.haproxy.servers import Authorities
from nodegate.haproxy.services import Services
from nodegate.model import Traffic
from nodegate.settings import GatewaySettings, PoolSettings, Settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
RETRY_ON = ("conn-failure", "empty-response", "response-timeout", "junk-response", "502", "503", "504")
"""Never 500: nodes answer so to bad parameters, and a client's fault must not visit every node."""

_MEMBER = re.compile(r"[A-Za-z0-9_]+")


def authorities(settings: Settings, pool: str, paths: Paths) -> Authorities | None:
    """Whose signature the nodes of `pool` need, None when nobody's is known at all."""
    own = settings.pool(pool).tls_ca
    path = own or paths.ca_bundle
    return None if path is None else Authorities(file=str(path), private=own is not None)


def pool_backend(
    name: str,
    lane: str,
    settings: Settings,
    traffic: Traffic,
    paths: Paths,
    guarded: Guarded,
    services: Services | None,
) -> Backend:
    pool, policy = serving.pool_settings(name, settings, services), guarded.of(name)
    trust = authorities(settings, name, paths)
    header = settings.gateway.node_header
    shape = guarded.lanes(name).get(lane)
    return Backend(
        name=backend_name(name, lane),
        lines=(
            words("balance", pool.balance),
            # Servers come and go at run time, which only a consistent hash allows; it also moves fewer clients.
            *([words("hash-type", "consistent")] if pool.balance == "source" else []),
            words("timeout", "connect", milliseconds(pool.connect_timeout)),
            words("timeout", "check", milliseconds(pool.connect_timeout)),
            words("timeout", "server", milliseconds(pool.server_timeout)),
            words(
                "timeout",
                "queue",
                milliseconds(shape.queue_timeout if shape is not None else pool.queue_timeout),
            ),
            words("timeout", "tunnel", milliseconds(pool.tunnel_timeout)),
            *(_retries(name, pool, traffic) if policy is None else _guarded_retries(pool)),
            *guarding.lane_lines(policy, lane),
            *replies.http_errors(replies.style_of(traffic), pool=name, ruled=policy is not None),
            # A server added at run time may only name authorities that were loaded at the start.
            *([words("default-server", "ca-file", trust.file)] if trust else []),
            *([] if pool.websocket else [_no_websocket(traffic)]),
            *(_forwarding(settings.gateway, pool, guarded.client) if services is None else ()),
            *_upstream(pool),
            # How long a node keeps its connection says nothing of ours: IRI promises 500 s.
            words("http-response", "del-header", "Keep-Alive"),
            *([words("http-response", "set-header", header, "%s")] if header else []),
        ),
    )


def _guarded_retries(pool: PoolSettings) -> tuple[Words, ...]:
    """Try again what the policy says may be sent twice (`guarding.lane_lines`)."""
    return (words("retries", pool.retries), words("retry-on", *RETRY_ON))


def _retries(name: str, pool: PoolSettings, traffic: Traffic) -> tuple[Words, ...]:
    """Try again what may be sent twice. A refused connection is always tried elsewhere: nothing was sent.

    A JSON-RPC batch has no one method, so it counts as not idempotent.
    """
    safe = words("unless", "{", "method", *SAFE_METHODS, "}")
    lines = (words("retries", pool.retries), words("retry-on", *RETRY_ON))
    if traffic.method_key is None:
        return (*lines, (*words("http-request", "disable-l7-retry"), *safe))
    if _MEMBER.fullmatch(traffic.method_key) is None:
        raise Unsafe(f"pool {name}: {traffic.method_key!r} is not a JSON member that HAProxy can look up")
    listed = f"str({name}/),concat(,txn.method),map_str({map_reference(METHODS)})"
    return (
        *lines,
        words("option", "http-buffer-request"),
        words("http-request", "set-var(txn.method)", f"req.body,json_query('$.{traffic.method_key}')"),
        (*words("http-request", "disable-l7-retry"), *safe, *words("or", "{", listed, "-m", "found", "}")),
    )


def _no_websocket(traffic: Traffic) -> Words:
    body = replies.body(replies.style_of(traffic), 403, "this pool takes no WebSocket")
    return words(
        "http-request", "return", "status", 403, "content-type", "application/json", "string", body,
        "if", "{", "req.hdr(upgrade)", "-m", "found", "}",
    )  # fmt: skip


def _upstream(pool: PoolSettings) -> tuple[Words, ...]:
    """Put the nodes' own path before what the client asked for, without a slash after a bare root."""
    lines: list[Words] = []
    if pool.upstream_path:
        base = literal(pool.upstream_path)
        lines.append(words("http-request", "set-path", f"{base}%[path]", "unless", "{", "path", "/", "}"))
        lines.append(words("http-request", "set-path", base, "if", "{", "path", "/", "}"))
    if pool.upstream_host:
        lines.append(words("http-request", "set-header", "Host", literal(pool.upstream_host)))
    return tuple(lines)


def _forwarding(gateway: GatewaySettings, pool: PoolSettings, client: str) -> tuple[Words, ...]:
    """Who asked, and what the request itself no longer says. What clients say of themselves is not passed on: nodes
    may trust these headers."""
    told = {"X-Forwarded-For": f"%[var({client})]"}
    if pool.upstream_host:
        told["X-Forwarded-Host"] = "%[req.hdr(host)]"
    if gateway.tls_certificate:
        told["X-Forwarded-Proto"] = "https"
    return (
        words("http-request", "del-header", "Forwarded"),
        words("http-request", "del-header", "X-Real-IP"),
        words("http-request", "del-header", "X-Forwarded-", "-m", "beg"),
        *(words("http-request", "add-header", name, text) for name, text in told.items()),
    )


def milliseconds(seconds: float) -> str:
    """Seconds as HAProxy reads them, at least a millisecond."""
    return f"{max(1, round(seconds * 1000))}ms"
