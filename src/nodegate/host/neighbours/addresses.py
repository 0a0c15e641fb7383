"""Addresses of neighbours: how they are written, and when two of them mean the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from nodegate.errors import BadDocument, Fault
from nodegate.host.neighbours.values import NodeKind

SCHEMES = ("tcp", "udp")
"""IRI up to 1.6 knows both, later ones only tcp."""
_MULTI = re.compile(r"/(?:ip4|ip6|dns|dns4|dns6|dnsaddr)/[^/\s]+/tcp/([0-9]{1,5})/p2p/([A-Za-z0-9]{20,120})")
_IDENTITY = re.compile(r"[A-Za-z0-9]{20,120}")


def checked_iri(text: str) -> str:
    """`tcp://HOST:PORT`. Raises ValueError in words."""
    example = "write tcp://HOST:PORT, such as tcp://node.example.net:15600"
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"{text!r} is no neighbour: {error}; {example}") from error
    if parts.scheme not in SCHEMES or not host or not port or parts.path or parts.query or parts.username:
        raise ValueError(f"{text!r} is no neighbour: {example}")
    if any(not char.isprintable() or char in " ,;\"'\\$`" for char in text):
        raise ValueError(f"{text!r} has characters that no address has; {example}")
    return text


def checked_peer(text: str) -> str:
    """A peer's multi-address with its identity. Raises ValueError in words."""
    found = _MULTI.fullmatch(text)
    if found is None or not 0 < int(found[1]) < 65536:
        raise ValueError(f"{text!r} is no peer: write /dns/HOST/tcp/PORT/p2p/IDENTITY (or /ip4/…, /ip6/…)")
    return text


def peer_identity(text: str) -> str:
    """The identity of a peer, from itself or from its multi-address. Raises ValueError in words."""
    identity = text.rpartition("/")[2] if "/" in text else text
    if not _IDENTITY.fullmatch(identity):
        raise ValueError(f"{text!r} is no peer: name its identity, or its whole multi-address")
    return identity


def checked(kind: NodeKind, uris: Sequence[str], *, to_add: bool) -> tuple[str, ...]:
    """The addresses as the node takes them, each once. Raises BadDocument naming all that are wrong."""
    check: Callable[[str], str] = checked_iri
    if kind is NodeKind.HORNET:
        check = checked_peer if to_add else peer_identity
    good, faults = [], []
    for uri in uris:
        try:
            good.append(check(uri))
        except ValueError as error:
            faults.append(Fault(file="command line", line=None, key="", message=str(error)))
    if faults:
        raise BadDocument(faults)
    return tuple(dict.fromkeys(good))


def same(text: str) -> str:
    """A form in which two spellings of one neighbour are equal; other words stay as they are."""
    if "/p2p/" in text:
        return text.rpartition("/p2p/")[2]
    return text.lower().removeprefix("tcp://") if ":" in text else text
