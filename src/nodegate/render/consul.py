"""A hardened Consul: configuration of a server, or of the agent beside a gateway or a node.

Everything is denied without a token, everything on the wire is encrypted, and what an API call could turn into
a command on the machine is off: script checks come from files of this host only.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from nodegate.errors import BadDocument, Fault
from nodegate.render.rendered import Rendered

_NAME = re.compile(r"[A-Za-z0-9-]{1,63}")
_JOIN = re.compile(r"[A-Za-z0-9_.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?|[0-9a-fA-F:]+|provider=.+")
KEY_BYTES = (16, 24, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulHost:
    """One host. `servers` is how many servers the cluster has, 0 for an agent; `key` is the gossip key in
    base64. `tls` is the directory with ca.pem, and on servers cert.pem and key.pem; None: no TLS, for a
    network of its own only. `modern` writes the words of Consul 1.12 and newer."""

    node: str
    bind: str
    join: Sequence[str]
    key: str
    servers: int = 0
    datacenter: str = "dc1"
    data: str = "/var/lib/consul"
    tls: str | None = "/etc/consul.d/tls"
    modern: bool = False


def render_consul(host: ConsulHost, *, directory: str = "/etc/consul.d") -> tuple[Rendered, ...]:
    """The files of one host; the gossip key in one of its own. Raises BadDocument with every fault."""
    if faults := _faults(host):
        raise BadDocument(faults)
    sections: list[tuple[str, Mapping[str, Any]]] = [
        ("This host.", _identity(host)),
        ("Commands and DNS on the loopback only; the rest of the cluster speaks by gossip and RPC.", _places(host)),
        ("Nothing without a token. Cached answers stay good while no server can be asked.", _ACL),
        ("No call over the API may become a command on this host.", _NO_REMOTE),
        *([("Every byte to other hosts is encrypted, and both ends prove who they are.", _tls(host))] if host.tls else []),
    ]  # fmt: skip
    text = "\n".join(f"# {why}\n{_hcl(values)}" for why, values in sections)
    key = f"# The gossip key, the same on every host. Keep it secret.\n{_hcl({'encrypt': host.key})}"
    return (
        Rendered(path="nodegate.hcl", install=f"{directory}/nodegate.hcl", text=text, mode=0o640),
        Rendered(path="gossip.hcl", install=f"{directory}/gossip.hcl", text=key, mode=0o600),
    )


_ACL = {
    "acl": {
        "enabled": True,
        "default_policy": "deny",
        "down_policy": "extend-cache",
        "enable_token_persistence": True,
    }
}
_NO_REMOTE = {
    "enable_script_checks": False,
    "enable_local_script_checks": True,
    "disable_remote_exec": True,
    "disable_update_check": True,
}


def _identity(host: ConsulHost) -> dict[str, Any]:
    server = {"server": True, "bootstrap_expect": host.servers} if host.servers else {"server": False}
    return {
        "node_name": host.node,
        "datacenter": host.datacenter,
        "data_dir": host.data,
        **server,
        "bind_addr": host.bind,
        "advertise_addr": host.bind,
        "retry_join": list(host.join),
        "retry_interval": "5s",
        # The default of 5 waits 12 to 19 s for a new leader, 1 waits 3.
        **({"performance": {"raft_multiplier": 1}} if host.servers else {}),
        # An agent that is stopped says goodbye; a server that is restarted must stay a member.
        "leave_on_terminate": not host.servers,
        "rejoin_after_leave": True,
        "log_level": "warn",
    }


def _places(host: ConsulHost) -> dict[str, Any]:
    return {
        "client_addr": "127.0.0.1",
        "ports": {
            "http": 8500, "https": -1, "grpc": -1, "dns": 8600, "server": 8300, "serf_lan": 8301, "serf_wan": -1,
        },
        # The answer names the living only.
        "dns_config": {"only_passing": True, "allow_stale": True, "max_stale": "10s"},
    }  # fmt: skip


def _tls(host: ConsulHost) -> dict[str, Any]:
    """Servers have certificates; agents get theirs from the servers, and need the authority's only."""
    server = bool(host.servers)
    files = {"ca_file": f"{host.tls}/ca.pem"}
    if server:
        files |= {"cert_file": f"{host.tls}/cert.pem", "key_file": f"{host.tls}/key.pem"}
    checks = {"verify_incoming": server, "verify_outgoing": True}
    auto = {"auto_encrypt": {"allow_tls": True} if server else {"tls": True}}
    if host.modern:
        return {"tls": {"defaults": files | checks, "internal_rpc": {"verify_server_hostname": True}}} | auto
    return files | checks | {"verify_server_hostname": True} | auto


def _hcl(values: Mapping[str, Any], indent: str = "") -> str:
    """Plain values as JSON writes them, tables as blocks: both are HCL."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key} {{\n{_hcl(value, indent + '  ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{key} = {json.dumps(value)}\n")
    return "".join(lines)


def _faults(host: ConsulHost) -> list[Fault]:
    """Everything that Consul would not take, or that would leave the cluster open or split."""
    found: list[tuple[str, str]] = [
        (option, f"{text!r}: Consul's DNS takes letters, digits and hyphens, at most 63")
        for option, text in (("--node", host.node), ("--datacenter", host.datacenter))
        if _NAME.fullmatch(text) is None
    ]
    if (words := _bind_fault(host.bind)) is not None:
        found.append(("--bind", words))
    if not host.join:
        found.append(("--join", "name at least one server, best all of them: one --join each"))
    found += [
        ("--join", f"{place!r} is not an address, with a port if need be")
        for place in host.join if _JOIN.fullmatch(place) is None
    ]  # fmt: skip
    if host.servers not in {0, 1, 3, 5, 7}:
        words = "3, 5 or 7 (or 1 to try things); an even number only adds one more that may die"
        found.append(("--servers", f"{host.servers}: {words}"))
    if _key_size(host.key) not in KEY_BYTES:
        found.append(("--gossip-key-file", "no gossip key: base64 of 32 bytes, as `consul keygen` prints it"))
    return [Fault(file="command line", line=None, key=option, message=words) for option, words in found]


def _bind_fault(bind: str) -> str | None:
    try:
        if ip_address(bind).is_unspecified:
            return f"{bind}: name the one address at which the other hosts reach this one"
    except ValueError:
        return f"{bind!r} is not an IP address"
    return None


def _key_size(key: str) -> int:
    try:
        return len(base64.b64decode(key, validate=True))
    except binascii.Error:
        return 0
