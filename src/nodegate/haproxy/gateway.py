"""From settings to HAProxy's sections: what clients meet, how a pool picks a node, what is tried again.

What the settings decide stands in tables and small functions here; `config` only writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from nodegate.errors import Unsafe
from nodegate.haproxy import accesslog, forwarding, guarding, peers, registration, replies, serving
from nodegate.haproxy.config import (
    Backend,
    Config,
    Defaults,
    Frontend,
    Global,
    Words,
    insert_servers,
    line_text,
    literal,
    skeleton_digest,
    to_text,
    words,
)
from nodegate.haproxy.guarding import Guarded
from nodegate.haproxy.health import health_frontend
from nodegate.haproxy.paths import CERTIFICATE, METHODS, ROUTES, Paths, map_reference
from nodegate.haproxy.pools import MAIN_LANE, SOLE, backend_name, other_lanes, pool_names
from nodegate.haproxy.servers import Authorities, server_line
from nodegate.haproxy.services import Services
from nodegate.model import Server, Traffic
from nodegate.settings import GatewaySettings, PoolSettings, Settings, routes_of

MARK = "nodegate:"
"""What stands before the digest in HAProxy's `description`."""

RESERVED_CONNECTIONS = 50
"""Connections on top of `gateway.maxconn`, so that a full gateway can still be measured."""

HEADER_ROOM = 17_408
"""Bytes of a buffer that are not body: 16 KiB of request headers, and 1 KiB that rewriting needs."""

SMALLEST_BUFFER = 16_384
"""HAProxy's own default, in bytes: heads of answers have to fit, too."""

HARD_STOP = "10m"
"""How long a worker that was replaced by a reload may go on with what it carries (long WebSockets)."""

KEEP_ALIVE = 60.0
"""Seconds an idle client connection is kept; also how long a replaced worker waits for idle clients."""

STRIP_DEPTH = 4
"""Path segments that can be cut by a change of the routes map alone; deeper prefixes need a reload."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
RETRY_ON = ("conn-failure", "empty-response", "response-timeout", "junk-response", "502", "503", "504")
"""Never 500: nodes answer so to bad parameters, and a client's fault must not visit every node."""

_DIGEST = re.compile(rf"{MARK}([0-9a-f]{{24}})(?![0-9a-f])")
_BIND = re.compile(r"^    bind (\S+)", re.MULTILINE)
_HOST = re.compile(r"\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_MEMBER = re.compile(r"[A-Za-z0-9_]+")


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
    guarded = guarded or Guarded()
    names = pool_names(settings, pools)
    everywhere = all(map(guarded.of, names))
    guarded = replace(guarded, everywhere=everywhere, uniform=everywhere and len(guarded.used) == 1)
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
            *guarding.tables(guarded),
            *guarding.refusals(guarded),
            *registration.backends(settings),
            *(
                _pool(name, lane, settings, traffic.get(name, Traffic()), paths, guarded, services)
                for name in names
                for lane in (MAIN_LANE, *other_lanes(guarded, name))
            ),
        ),
    )


def authorities(settings: Settings, pool: str, paths: Paths) -> Authorities | None:
    """Whose signature the nodes of `pool` need, None when nobody's is known at all."""
    own = settings.pool(pool).tls_ca
    path = own or paths.ca_bundle
    return None if path is None else Authorities(file=str(path), private=own is not None)


def render(config: Config, servers: Iterable[Server], trust: Mapping[str, Authorities | None]) -> str:
    """The configuration file with its digest and its servers; `trust` is by backend.

    Raises Unsafe as `server_line` does.
    """
    mark = words("description", MARK + skeleton_digest(config))
    marked = replace(config, process=replace(config.process, lines=(mark, *config.process.lines)))
    return insert_servers(to_text(marked), server_lines(servers, trust))


def server_lines(servers: Iterable[Server], trust: Mapping[str, Authorities | None]) -> dict[str, list[str]]:
    """The lines of the servers by backend, in order of name. Raises Unsafe as `server_line` does."""
    lines: dict[str, list[str]] = {}
    for server in sorted(servers, key=lambda item: (item.backend, item.name)):
        still = replace(server, sessions=0, marked_down=False)
        lines.setdefault(server.backend, []).append(_server_text(still, trust.get(server.backend)))
    return lines


def is_writable(server: Server, trust: Authorities | None) -> bool:
    """Whether `render` can write the server; `server_line` says why not."""
    try:
        _server_text(replace(server, sessions=0, marked_down=False), trust)
    except Unsafe:
        return False
    return True


def digest_in(text: str) -> str:
    """The skeleton's digest in HAProxy's `description` or in a configuration file, "" when there is none."""
    match = _DIGEST.search(text)
    return match[1] if match else ""


def listen_in(text: str) -> tuple[str, ...]:
    """The addresses that a configuration file names, those for clients and the one for other gateways."""
    return tuple(place for place in _BIND.findall(text) if not place.startswith("/"))


@lru_cache(maxsize=32_768)  # a fleet's worth: the file is written after each change of a single server
def _server_text(server: Server, trust: Authorities | None) -> str:
    return line_text(("server", *server_line(server, trust)))


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
            words("timeout", "client", _ms(gateway.client_timeout)),
            words("timeout", "http-request", _ms(gateway.client_timeout)),
            words("timeout", "http-keep-alive", _ms(KEEP_ALIVE)),
            words("timeout", "client-fin", _ms(10.0)),
            words("timeout", "server-fin", _ms(10.0)),
            words("timeout", "connect", _ms(2.0)),
            words("timeout", "server", _ms(30.0)),
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
    gateway = settings.gateway
    return Frontend(
        name="clients",
        lines=(
            *(_bind(gateway, place) for place in gateway.listen),
            words("maxconn", gateway.maxconn),
            *(accesslog.log_lines(gateway.log_bodies) if gateway.access_log else ()),
            # The guard judges whole bodies only.
            *([words("option", "http-buffer-request")] if guarded.used or gateway.log_bodies else []),
            *guarding.connection_lines(guarded),
            *_client_address(gateway, guarded),
            *_identity(gateway.request_id_header, logged=gateway.access_log),
            words("http-request", "set-var(txn.client)", "var(sess.client)"),
            *(accesslog.request_lines(gateway.log_bodies) if gateway.access_log else ()),
            words("http-request", "deny", "deny_status", 405, "if", "{", "method", "CONNECT", "TRACE", "}"),
            # Only WebSocket may leave HTTP: any other upgrade (h2c) would smuggle requests past HAProxy.
            words(
                "http-request", "del-header", "Upgrade",
                "unless", "{", "req.hdr(upgrade)", "-i", "-m", "str", "websocket", "}",
            ),
            *registration.frontend_lines(settings),
            *_routing(settings, names, guarded, services),
            *guarding.cors_requests(guarded),
            *guarding.request_lines(guarded),
            *(_forwarding(gateway) if services is None else forwarding.forwarding_lines(services, settings)),
            *guarding.response_lines(guarded),
            *guarding.admission_lines(guarded),
            *registration.backend_choice(settings),
            *guarding.backend_choice(guarded),
            words("use_backend", "pool_%[var(txn.pool)]"),
        ),
    )  # fmt: skip


def _forwarding(gateway: GatewaySettings) -> tuple[Words, ...]:
    """What clients say of themselves is not passed on: nodes may trust these headers."""
    return (
        words("http-request", "del-header", "Forwarded"),
        words("http-request", "del-header", "X-Real-IP"),
        words("http-request", "set-header", "X-Forwarded-For", "%[var(txn.client)]"),
        words("http-request", "set-header", "X-Forwarded-Host", "%[req.hdr(host)]"),
        words(
            "http-request", "set-header", "X-Forwarded-Proto", "https" if gateway.tls_certificate else "http"
        ),
    )


def _client_address(gateway: GatewaySettings, guarded: Guarded) -> tuple[Words, ...]:
    """Who asks, worked out once for each connection. An IPv4 address that came through an IPv6 listener is that
    IPv4 address. `sess.who` is how it is counted."""
    mapped = any(place.startswith("[") for place in gateway.listen)
    plain = ",regsub(^::ffff:,)" if mapped else ""
    counted = words("tcp-request", "session", "set-var(sess.who)", "var(sess.client),ipmask(32,64),concat()")
    return (
        words("tcp-request", "session", "set-var(sess.client)", f"src,concat(){plain}"),
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
        return (words("unique-id-format", "%[uuid()]"),) if logged else ()
    return (
        words("unique-id-format", "%[uuid()]"),
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


def _pool(
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
            words("timeout", "connect", _ms(pool.connect_timeout)),
            words("timeout", "check", _ms(pool.connect_timeout)),
            words("timeout", "server", _ms(pool.server_timeout)),
            words("timeout", "queue", _ms(shape.queue_timeout if shape is not None else pool.queue_timeout)),
            words("timeout", "tunnel", _ms(pool.tunnel_timeout)),
            *(_retries(name, pool, traffic) if policy is None else _guarded_retries(pool)),
            *guarding.lane_lines(policy),
            *replies.http_errors(replies.style_of(traffic), pool=name),
            # A server added at run time may only name authorities that were loaded at the start.
            *([words("default-server", "ca-file", trust.file)] if trust else []),
            *([] if pool.websocket else [_no_websocket(traffic)]),
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


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
