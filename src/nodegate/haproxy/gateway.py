"""From settings to HAProxy's sections: what clients meet, how a pool picks a node, what is tried again.

What the settings decide stands in tables and small functions here; `config` only writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nodegate.errors import Unsafe
from nodegate.haproxy import accesslog, express, forwarding, guarding, peers, registration, replies, serving
from nodegate.haproxy.admission import admission_lines, cors_requests, request_lines
from nodegate.haproxy.backends import authorities, milliseconds, pool_backend
from nodegate.haproxy.config import Config, Defaults, Frontend, Global, Words, words
from nodegate.haproxy.counters import connection_lines, tables
from nodegate.haproxy.guarded import MAIN_LANE, UNMAPPED, Guarded
from nodegate.haproxy.health import health_frontend
from nodegate.haproxy.paths import CERTIFICATE, ROUTES, Paths, map_reference
from nodegate.haproxy.pools import SOLE, other_lanes, pool_names
from nodegate.haproxy.refusals import refusals
from nodegate.haproxy.rendering import MARK, digest_in, is_writable, listen_in, render, server_lines
from nodegate.haproxy.services import Services
from nodegate.model import Traffic
from nodegate.settings import GatewaySettings, Settings, routes_of

__all__ = ["MARK", "authorities", "build", "digest_in", "is_writable", "listen_in", "render", "server_lines"]

RESERVED_CONNECTIONS = 50
"""Connections on top of `gateway.maxconn`, so that a full gateway can still be measured."""

HEADER_ROOM = 17_408
"""Bytes of a buffer that are not body: 16 KiB of request headers, and 1 KiB that rewriting needs."""

SMALLEST_BUFFER = 16_384
"""HAProxy's own default, in bytes: heads of answers have to fit, too."""

HOT_MEMORY = 8_388_608
"""Bytes that each thread keeps at hand for its buffers. HAProxy's own bound, 512 KiB, is ten of those that a policy
needs; past it they go back and forth between the threads."""

HARD_STOP = "10m"
"""How long a worker that was replaced by a reload may go on with what it carries (long WebSockets)."""

KEEP_ALIVE = 60.0
"""Seconds an idle client connection is kept; also how long a replaced worker waits for idle clients."""

STRIP_DEPTH = 4
"""Path segments that can be cut by a change of the routes map alone; deeper prefixes need a reload."""

REQUEST_ID = "%[date(0,us),hex]%[rand,hex]"
"""The moment in µs and a random number, 32 hex digits: half the price of a UUID."""

_HOST = re.compile(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def build(
    settings: Settings,
    pools: Sequence[str],
    traffic: Mapping[str, Traffic],
    paths: Paths,
    guarded: Guarded | None = None,
    services: Services | None = None,
) -> Config:
    """The configuration without servers. `traffic` is by pool name; a pool it lacks is plain HTTP.
    `guarded` are the pools under a policy, `services` the routes that services bring along.

    Raises Unsafe for a value that HAProxy could not take or would understand as something else.
    """
    names = pool_names(settings, pools)
    mapped = any(place.startswith("[") for place in settings.gateway.listen)
    guarded = replace(express.settled(names, guarded or Guarded(), services), mapped=mapped)
    return Config(
        process=_process(settings.gateway, paths, guarded, services),
        defaults=_defaults(settings.gateway),
        peers=peers.sections(guarded.sharing) if guarded.used else (),
        users=serving.userlists(services) if services is not None else (),
        frontends=(
            _clients(settings, names, guarded, services),
            _exporter(paths, guarded),
            *health_frontend(settings.gateway, names),
        ),
        backends=(
            *tables(guarded),
            *refusals(guarded),
            *registration.backends(settings),
            *(
                pool_backend(name, lane, settings, traffic.get(name, Traffic()), paths, guarded, services)
                for name in names
                for lane in (MAIN_LANE, *other_lanes(guarded, name))
            ),
        ),
    )


def _process(gateway: GatewaySettings, paths: Paths, guarded: Guarded, services: Services | None) -> Global:
    return Global(
        lines=(
            words("default-path", "config"),
            words(
                "stats",
                "socket",
                paths.runtime_socket,
                "mode",
                "600",
                "level",
                "admin",
                "expose-fd",
                "listeners",
            ),
            words("stats", "timeout", "60s"),
            words("maxconn", gateway.maxconn + RESERVED_CONNECTIONS),
            words("hard-stop-after", HARD_STOP),
            words("mworker-max-reloads", 20),
            words("tune.bufsize", _buffer(gateway, guarded)),
            words("tune.memory.hot-size", HOT_MEMORY),
            # Servers that are added together would be checked together for ever.
            words("spread-checks", 50),
            words("ssl-server-verify", "required"),
            words("ssl-default-bind-options", "ssl-min-ver", "TLSv1.2"),
            *guarding.process_lines(guarded),
            *(serving.process_lines() if services is not None else ()),
        )
    )


def _buffer(gateway: GatewaySettings, guarded: Guarded) -> int:
    """Bytes of a buffer: the largest request that any pool takes. With less than a policy's buffer, a body could be
    judged that is not whole. Larger ones cost CPU: HAProxy copies whole buffers of requests that it may repeat."""
    unguarded = 0 if guarded.everywhere else gateway.max_body + HEADER_ROOM
    size = max(SMALLEST_BUFFER, unguarded, *(policy.buffer for policy in guarded.used))
    return -(-size // 1024) * 1024


def _defaults(gateway: GatewaySettings) -> Defaults:
    return Defaults(
        lines=(
            words("mode", "http"),
            words("timeout", "client", milliseconds(gateway.client_timeout)),
            words("timeout", "http-request", milliseconds(gateway.client_timeout)),
            words("timeout", "http-keep-alive", milliseconds(KEEP_ALIVE)),
            words("timeout", "client-fin", milliseconds(10.0)),
            words("timeout", "server-fin", milliseconds(10.0)),
            words("timeout", "connect", milliseconds(2.0)),
            words("timeout", "server", milliseconds(30.0)),
            # A reload must not cut an idle connection in the moment in which its client speaks again.
            words("option", "idle-close-on-response"),
            # Who left the queue needs no node any more.
            words("option", "abortonclose"),
            words("option", "redispatch", 1),
            words("http-reuse", "safe"),
            *replies.http_errors(replies.PLAIN),
        )
    )


def _clients(
    settings: Settings, names: Sequence[str], guarded: Guarded, services: Services | None
) -> Frontend:
    gateway, logged = settings.gateway, settings.gateway.access_log
    return Frontend(
        name="clients",
        lines=(
            *(_bind(gateway, place) for place in gateway.listen),
            words("maxconn", gateway.maxconn),
            *(accesslog.log_lines(gateway.log_bodies, guarded.client) if logged else ()),
            *([words("http-response", "set-var(txn.verdict)", "str(served)")] if guarded.used or logged else []),
            # The guard judges whole bodies only.
            *([words("option", "http-buffer-request")] if guarded.used or gateway.log_bodies else []),
            *_client_address(guarded),
            *connection_lines(guarded),
            *express.session_lines(guarded),
            *_identity(gateway.request_id_header, logged=logged),
            *(accesslog.request_lines(gateway.log_bodies) if logged else ()),
            *guarding.response_lines(guarded),
            *(cors_requests(guarded) if guarded.express else ()),
            *express.express_lines(names[0], guarded, logged=logged),
            *(accesslog.path_lines() if logged else ()),
            words("http-request", "set-var(txn.client)", "var(sess.client)"),
            words("http-request", "deny", "deny_status", 405, "if", "{", "method", "CONNECT", "TRACE", "}"),
            # Only WebSocket may leave HTTP: any other upgrade (h2c) would smuggle requests past HAProxy.
            words(
                "http-request", "del-header", "Upgrade",
                "unless", "{", "req.hdr(upgrade)", "-i", "-m", "str", "websocket", "}",
            ),
            *registration.frontend_lines(settings),
            *_routing(settings, names, guarded, services),
            *(() if guarded.express else cors_requests(guarded)),
            *request_lines(guarded),
            *(forwarding.forwarding_lines(services, settings) if services is not None else ()),
            *(accesslog.told_lines() if logged else ()),
            *admission_lines(guarded),
            *registration.backend_choice(settings),
            *guarding.backend_choice(guarded),
            words("use_backend", f"pool_{names[0]}" if len(names) == 1 else "pool_%[var(txn.pool)]"),
        ),
    )  # fmt: skip


def _client_address(guarded: Guarded) -> tuple[Words, ...]:
    """Who asks, worked out once for each connection. An IPv4 address that came through an IPv6 listener is that
    IPv4 address. `sess.who` is how it is counted."""
    plain = f",{UNMAPPED}" if guarded.mapped else ""
    counted = words(
        "tcp-request", "connection", "set-var(sess.who)", "var(sess.client),ipmask(32,64),concat()"
    )
    return (
        words("tcp-request", "connection", "set-var(sess.client)", f"src,concat(){plain}"),
        *([counted] if guarded.used else []),
    )


def _bind(gateway: GatewaySettings, place: str) -> Words:
    """The listener at `place`. HTTP/2 in clear needs no word: HAProxy knows its preface."""
    host, _, _ = place.rpartition(":")
    if _HOST.fullmatch(host) is None:
        raise Unsafe(f"gateway.listen: {place!r} is not an address or host name with a port")
    tls = ("ssl", "crt", CERTIFICATE, "alpn", "h2,http/1.1") if gateway.tls_certificate else ()
    return words("bind", place, *tls)


def _identity(header: str, *, logged: bool) -> tuple[Words, ...]:
    """Always an id of our own: one that clients choose would let them forge each other's traces."""
    if not header:
        return (words("unique-id-format", REQUEST_ID),) if logged else ()
    return (
        words("unique-id-format", REQUEST_ID),
        words("http-request", "set-header", header, "%[unique-id]"),
        words("http-after-response", "set-header", header, "%[unique-id]"),
    )


def _routing(
    settings: Settings, names: Sequence[str], guarded: Guarded, services: Services | None
) -> tuple[Words, ...]:
    """Find the pool by host and path, answer 404 if there is none, and cut the matched prefix."""
    deepest = max(
        (route.count("/") for name in names for route in routes_of(name, settings.pool(name))), default=0
    )
    lookup = f"map_beg({map_reference(ROUTES)})"
    missing = words("unless", "{", "var(txn.route)", "-m", "found", "}")
    sole = words("http-request", "set-var(txn.route)", f"str({SOLE}),map_str({map_reference(ROUTES)})")
    by_host = words(
        "http-request", "set-var-fmt(txn.place)", "%[req.hdr(host),host_only,lower,rtrim(.)]%[path]/"
    )
    return (
        *(serving.path_lines() if services is not None else ()),
        *([sole] if services is None else []),
        (*by_host, *missing),
        (*words("http-request", "set-var(txn.route)", f"var(txn.place),{lookup}"), *missing),
        (*words("http-request", "set-var-fmt(txn.place)", "%[path]/"), *missing),
        (*words("http-request", "set-var(txn.route)", f"var(txn.place),{lookup}"), *missing),
        *(serving.lookup_lines(services, settings) if services is not None else ()),
        *([(*words("http-request", "deny", "deny_status", 404), *missing)] if services is None else []),
        words("http-request", "set-var(txn.pool)", "var(txn.route),field(1,/)"),
        words("http-request", "set-var(txn.depth)", "var(txn.route),field(2,/)"),
        *([words("http-request", "set-var(txn.kind)", "var(txn.route),field(3,/)")] if guarded.used else []),
        *(_strip(depth) for depth in range(1, max(STRIP_DEPTH, deepest) + 1)),
        *(serving.treatment_lines(services, settings) if services is not None else ()),
    )


def _strip(depth: int) -> Words:
    """Cut `depth` path segments; what is left starts with a slash."""
    rest = f"/%[path,field({depth + 2},/,0)]"
    return words("http-request", "set-path", rest, "if", "{", "var(txn.depth)", "-m", "str", depth, "}")


def _exporter(paths: Paths, guarded: Guarded) -> Frontend:
    """HAProxy's own metrics, for the admin API alone: it asks for a token, this socket cannot. And which
    version of a policy the thread that answers obeys."""
    return Frontend(
        name="exporter",
        lines=(
            words("bind", paths.exporter_socket, "mode", "600"),
            words("maxconn", RESERVED_CONNECTIONS // 2),
            words("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}"),
            words("http-request", "return", "status", 200, "content-type", "text/plain", "string", "ok",
                  "if", "{", "path", "/healthz", "}"),
            *(
                words("http-request", "return", "status", 200, "content-type", "text/plain",
                      "lf-string", f"%[lua.nodegate_policy({policy.kind})]", "if", "{", "path", f"/policy/{policy.kind}", "}")
                for policy in guarded.used
            ),
            words("http-request", "deny", "deny_status", 404),
        ),
    )  # fmt: skip
