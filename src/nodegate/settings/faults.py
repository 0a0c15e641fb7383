"""What no single field can show: names taken twice, kinds that mix, files that cannot be used."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from nodegate.documents import Document, KeyPath
from nodegate.errors import Fault
from nodegate.settings.htpasswd import fault_of as htpasswd_fault
from nodegate.settings.sections import Settings, routes_of


def cross_faults(settings: Settings, document: Document) -> list[Fault]:
    """What single fields cannot show: names taken twice, routes claimed twice, kinds that mix."""
    return [
        *_node_faults(settings, document),
        *_route_faults(settings, document),
        *_policy_faults(settings, document),
        *_age_faults(settings, document),
        *_portal_faults(settings, document),
        *_alert_faults(settings, document),
    ]


def _portal_faults(settings: Settings, document: Document) -> list[Fault]:
    """What the portal needs beside its own table: where its links lead, who sends its mails, and what kind of
    node a pool takes, since strangers must not decide that."""
    portal = settings.portal
    if portal.listen is None:
        words = "set portal.listen too: the address to which HAProxy hands these requests"
        return [document.fault(("portal", "path"), words)] if portal.path else []
    faults = []
    if portal.public_url is None:
        words = (
            "is required with portal.listen: links in mails begin with it, such as https://nodes.example.org"
        )
        faults.append(document.fault(("portal", "public_url"), words))
    if settings.mail.server is None:
        words = "set mail.server: the portal confirms owners by mail"
        faults.append(document.fault(("portal", "listen"), words))
    declared = {name for name, pool in settings.pools.items() if pool.kind}
    declared |= {node.pool for node in settings.nodes}
    faults += [
        document.fault(("portal", "pools", number), f"pool {name!r} has no kind: set pools.{name}.kind")
        for number, name in enumerate(portal.pools)
        if name not in declared
    ]
    return faults


def _alert_faults(settings: Settings, document: Document) -> list[Fault]:
    """Mails need a server to leave by."""
    words = "a channel of kind 'email' needs a mail server: set mail.server"
    return [
        document.fault(("alerts", "channels", name, "kind"), words)
        for name, channel in settings.alerts.channels.items()
        if channel.kind == "email" and settings.mail.server is None
    ]


def _age_faults(settings: Settings, document: Document) -> list[Fault]:
    """An observation must not grow too old before the next one can be there."""
    probe, max_age = settings.probe, settings.health.max_age
    needed = probe.interval * (1 + probe.jitter) + probe.timeout
    if max_age <= needed:
        words = f"{max_age:g} s is too short: the next probe of a node may end {needed:g} s after the last one (probe.interval, jitter and timeout)"
        return [document.fault(("health", "max_age"), words)]
    longest = max(probe.interval, probe.backoff_max) * (1 + probe.jitter) + probe.timeout
    if 2 * max_age <= longest:
        words = f"{probe.backoff_max:g} s is too long for health.max_age = {max_age:g}: a dead node would turn unknown between two probes"
        return [document.fault(("probe", "backoff_max"), words)]
    return []


def _node_faults(settings: Settings, document: Document) -> list[Fault]:
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    kinds: dict[str, str] = {name: pool.kind for name, pool in settings.pools.items() if pool.kind}
    for number, node in enumerate(settings.nodes):
        key: KeyPath = ("nodes", number)
        other = seen.setdefault(node.node_id, number)
        if other != number:
            line = document.line_of(("nodes", other))
            words = f"the id {node.node_id!r} is taken by the node in line {line}"
            faults.append(document.fault((*key, "id"), words))
        kind = kinds.setdefault(node.pool, node.kind)
        if kind != node.kind:
            words = f"pool {node.pool!r} holds {kind} nodes, this one is {node.kind}"
            faults.append(document.fault((*key, "kind"), words))
        if (path := urlsplit(node.url).path) != settings.pool(node.pool).upstream_path:
            words = f"path {path or '/'!r} differs from pools.{node.pool}.upstream_path; all nodes of a pool have one path"
            faults.append(document.fault((*key, "url"), words))
    return faults


def _policy_faults(settings: Settings, document: Document) -> list[Fault]:
    """A kind has one policy: two documents for it contradict each other."""
    kinds = {node.pool: node.kind for node in settings.nodes}
    chosen: dict[str, tuple[str, Path]] = {}
    faults: list[Fault] = []
    for name, pool in settings.pools.items():
        kind = pool.kind or kinds.get(name)
        if kind is None or not isinstance(pool.policy, Path):
            continue
        other, path = chosen.setdefault(kind, (name, pool.policy))
        if path != pool.policy:
            words = (
                f"pool {other!r} names another policy for {kind} nodes; all pools of a kind have one policy"
            )
            faults.append(document.fault(("pools", name, "policy"), words))
    return faults


def _route_faults(settings: Settings, document: Document) -> list[Fault]:
    """Routes with two owners, also by the defaults of pools that only nodes name."""
    places: dict[str, KeyPath] = {name: ("pools", name) for name in settings.pools}
    for number, node in enumerate(settings.nodes):
        places.setdefault(node.pool, ("nodes", number, "pool"))
    owners: dict[str, str] = {}
    faults: list[Fault] = []
    for name, place in places.items():
        for route in routes_of(name, settings.pool(name)):
            owner = owners.setdefault(route, name)
            if owner != name:
                faults.append(document.fault(place, f"the route {route!r} already leads to pool {owner!r}"))
    return faults


def file_faults(settings: Settings, document: Document) -> list[Fault]:
    """What is wrong with the files that the settings name, tried as they will be used."""
    named: list[tuple[KeyPath, Path | None, Callable[[Path], str | None]]] = [
        (("gateway", "tls_certificate"), settings.gateway.tls_certificate, _certificate_fault),
        (("gateway", "haproxy"), settings.gateway.haproxy, _program_fault),
        (("cluster", "peers_certificate"), settings.cluster.peers_certificate, _certificate_fault),
        (("cluster", "peers_ca"), settings.cluster.peers_ca, _authorities_fault),
        (("cluster", "secret_file"), settings.cluster.secret_file, _unreadable_fault),
        (("registry", "token_file"), settings.registry.token_file, _unreadable_fault),
        (("registry", "tls_ca"), settings.registry.tls_ca, _authorities_fault),
        (("registry", "tls_certificate"), settings.registry.tls_certificate, _certificate_fault),
        (("mail", "tls_ca"), settings.mail.tls_ca, _authorities_fault),
        (("mail", "password_file"), settings.mail.password_file, _unreadable_fault),
        *(
            (("alerts", "channels", name, key), getattr(channel, key), _unreadable_fault)
            for name, channel in settings.alerts.channels.items()
            for key in ("url_file", "secret_file")
        ),
        *(
            (("pools", name, "tls_ca"), pool.tls_ca, _authorities_fault)
            for name, pool in settings.pools.items()
        ),
        *(
            (("pools", name, "policy"), pool.policy, _unreadable_fault)
            for name, pool in settings.pools.items()
            if isinstance(pool.policy, Path)
        ),
    ]
    named += [
        (("fabio", "auth", name, "file"), scheme.file, htpasswd_fault)
        for name, scheme in settings.fabio.auth.items()
    ]
    return [
        document.fault(key, f"{path}: {words}")
        for key, path, check in named
        if path is not None and (words := check(path)) is not None
    ]


def _certificate_fault(path: Path) -> str | None:
    try:
        text = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    for label, what in ((b"BEGIN CERTIFICATE-----", "certificate"), (b"PRIVATE KEY-----", "private key")):
        if label not in text:
            return f"no {what} in it; it must hold the certificate chain and the private key, in PEM"
    if b"-----BEGIN ENCRYPTED" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        return "its private key is encrypted, and HAProxy cannot ask for the password"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "its private key does not belong to its first certificate"
        return f"its certificate or its private key is damaged ({error.reason or error})"
    return None


def _authorities_fault(path: Path) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        return f"no usable certificate in it ({error.reason or error})"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _unreadable_fault(path: Path) -> str | None:
    try:
        path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _program_fault(path: Path) -> str | None:
    if not path.exists():
        return "does not exist"
    if not path.is_file() or not os.access(path, os.X_OK):
        return "is no program that this user may run"
    return None
