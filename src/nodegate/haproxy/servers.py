"""One server: its options, the same in the configuration file and in `add server`, and what HAProxy can
tell of it afterwards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nodegate.errors import Malformed, Unsafe
from nodegate.haproxy.config import Words, host_port, section_name, words
from nodegate.model import Server, ServerState

CHECK_INTERVAL = "30s"
"""HAProxy's own TCP check of a server that works: rare, since nodegate probes and traffic tells at once.
10,000 servers cost 333 connections a second, which were seen to take 2 % of a core. HAProxy resets them
before the handshake ends, so that the node's software never hears of them."""

LANE_CHECK_INTERVAL = "120s"
"""The same in other lanes than a pool's main one: it is the same node, which is watched often enough there."""

CHECK = (
    "fastinter", "1s", "downinter", "1s", "rise", "1", "fall", "2",
    "observe", "layer4", "error-limit", "1", "on-error", "mark-down",
)  # fmt: skip
"""The first refused connection takes the server out; the check brings it back within a second, even
while nodegate is dead."""

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+")
_TRAITS = re.compile(r"(plain|verify|noverify)(?:/(.+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Whose signature a pool's nodes need: a PEM file; `private` when the operator named it for the pool,
    so that being signed by it says already that the node is one of ours."""

    file: str
    private: bool


def server_line(server: Server, trust: Authorities | None) -> Words:
    """The words after `server` in the configuration file. Raises Unsafe as `server_options` does.

    A server that is not ready is written as disabled: after a start it carries nothing that would have
    to be drained.
    """
    disabled = () if server.state is ServerState.READY else ("disabled",)
    return words(section_name(server.name), place(server), *server_options(server, trust), *disabled)


def place(server: Server) -> str:
    """Where the server is. Raises Unsafe for what is not an IP address: HAProxy would take other words
    (`unix@…`, `fd@…`, an environment variable) as addresses too."""
    if _ADDRESS.fullmatch(server.address) is None or not 0 < server.port < 65536:
        raise Unsafe(
            f"node {server.name}: {server.address!r} port {server.port} is not an IP address and port"
        )
    return host_port(server.address, server.port)


def server_options(server: Server, trust: Authorities | None) -> Words:
    """Weight, bounds, TLS and checks. `trust` are the authorities of the server's pool.

    Raises Unsafe when the certificate is to be verified and nothing could verify it.
    """
    limit = () if server.maxconn is None else ("maxconn", server.maxconn)
    return words(
        "weight", server.weight, *limit, *_check(server), *_tls(server, trust), "cookie", traits(server)
    )


def _check(server: Server) -> Words:
    return words("check", "inter", LANE_CHECK_INTERVAL if ":" in server.backend else CHECK_INTERVAL, *CHECK)


def traits(server: Server) -> str:
    """What HAProxy does not report of a server, in a word that it does report: the server's cookie.

    No backend uses cookies, so the word has no other effect. It lets a nodegate that adopts a running
    HAProxy compare TLS settings with the wanted ones.
    """
    kind = "plain" if not server.tls else "verify" if server.verify else "noverify"
    return f"{kind}/{server.sni}" if server.tls and server.sni else kind


def read_traits(word: str) -> tuple[bool, bool, str | None]:
    """(tls, verify, sni) of the word that `traits` wrote. Raises Malformed for any other word."""
    match = _TRAITS.fullmatch(word)
    if match is None:
        raise Malformed(f"HAProxy reports a server with cookie {word!r}, which nodegate did not give it")
    return match[1] != "plain", match[1] != "noverify", match[2]


def _tls(server: Server, trust: Authorities | None) -> Words:
    if not server.tls:
        return ()
    if server.sni is not None and _HOST_NAME.fullmatch(server.sni) is None:
        raise Unsafe(f"node {server.name}: {server.sni!r} is not a host name")
    name = () if server.sni is None else ("sni", f"str({server.sni})", "check-sni", server.sni)
    if not server.verify:
        return words("ssl", "verify", "none", *name)
    if trust is None:
        raise Unsafe(
            f"node {server.name}: there are no authorities to verify its certificate with; "
            "set tls_ca of its pool, or tls_verify = false of the node"
        )
    if not trust.private and server.sni is None:
        # HAProxy compares names only: any certificate of any public authority would pass.
        raise Unsafe(
            f"node {server.name}: its https URL has an IP address, so its certificate cannot be verified "
            "against public authorities; use its host name, set tls_ca of its pool, or tls_verify = false"
        )
    return words("ssl", "verify", "required", "ca-file", trust.file, *name)
