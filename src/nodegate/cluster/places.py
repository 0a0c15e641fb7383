"""A gateway's name and places: what it calls itself, where Consul can ask it, and what others are told. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from nodegate.cluster.members import Registration
from nodegate.errors import NodegateError
from nodegate.haproxy.config import split_host_port
from nodegate.model import Seconds
from nodegate.settings import Settings

WILDCARDS = frozenset({"*", "0.0.0.0", "::", "[::]"})  # noqa: S104 -- compared, not bound


def default_name(host: str, directory: Path) -> str:
    """Host name and a digest of the state directory: two gateways of one host differ, and a restart does not."""
    short = "".join(
        char for char in host.partition(".")[0] if (char.isascii() and char.isalnum()) or char in "-_"
    )
    return f"{short[:40].lstrip('-_') or 'gateway'}-{sha256(str(directory).encode(errors='surrogatepass')).hexdigest()[:6]}"


def registration_of(settings: Settings, agent: str) -> Registration:
    """How the gateway registers at the Consul agent with that URL.

    The agent asks where it can reach the admin address: on the same machine, or when that is open to others.
    """
    cluster, gateway = settings.cluster, settings.gateway
    admin_host, admin_port = split_host_port(gateway.admin)
    listen_host, listen_port = split_host_port(gateway.listen[0])
    local = _is_loopback(urlsplit(agent).hostname or "")
    asks = cluster.check == "http" or (cluster.check is None and (local or not _is_loopback(admin_host)))
    here = "127.0.0.1" if local else cluster.address or ""
    reachable = all(host not in WILDCARDS or here for host in (admin_host, listen_host))
    base = Registration(
        service=cluster.service,
        interval=Seconds(cluster.check_interval),
        forget_after=Seconds(cluster.forget_after),
    )
    if not asks or not reachable:
        return base
    admin, serves = (
        _place(here if host in WILDCARDS else host, port)
        for host, port in ((admin_host, admin_port), (listen_host, listen_port))
    )
    return replace(base, ready_url=f"http://{admin}/readyz", serves=serves)


def advertised(place: str | None) -> str:
    """What others are told of an address that this gateway listens on: `:PORT` where it listens on all."""
    if place is None:
        return ""
    host, port = split_host_port(place)
    return f":{port}" if host in WILDCARDS else place


def admin_url(admin: str, address: str | None) -> str:
    """The admin API's URL as others may use it."""
    host, port = split_host_port(admin)
    return f"http://{_place(address or '127.0.0.1' if host in WILDCARDS else host, port)}"


def is_place(text: str) -> bool:
    """Whether this is `ADDRESS:PORT` with an IP address. What others say of themselves ends up in HAProxy's
    configuration, and a name that does not resolve would keep HAProxy from starting."""
    try:
        host, port = split_host_port(text)
        ipaddress.ip_address(host)
    except (NodegateError, ValueError):
        return False
    return 0 < port < 65536


def _place(host: str, port: int) -> str:
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
