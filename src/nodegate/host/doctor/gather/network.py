"""The network: who listens where, which addresses this host has, and what its firewall says, in its own words."""

from __future__ import annotations

import ipaddress
import json
import os
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

from nodegate.host.doctor.gather.base import Unknown, active, enabled, need_root, read, run

LISTEN, CLOSE_WAIT, ESTABLISHED = "0A", "08", "01"
_FIREWALLS = {"nftables": "nftables.service", "ufw": "ufw.service", "firewalld": "firewalld.service",
              "iptables": "netfilter-persistent.service"}  # fmt: skip


def tcp_table(pid: int | str = "self") -> list[dict[str, Any]]:
    """All TCP sockets of that process's network namespace, by the kernel's text table; works as nobody."""
    rows = []
    for name in ("tcp", "tcp6"):
        try:
            lines = read(f"/proc/{pid}/net/{name}", 64_000_000).splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            words = line.split()
            address, _, port = words[1].partition(":")
            rows.append({"address": _address(address), "port": int(port, 16), "state": words[3],
                         "unread": int(words[4].partition(":")[2], 16), "uid": int(words[7]), "inode": words[9]})  # fmt: skip
    return rows


def _address(text: str) -> str:
    """`0100007F` → 127.0.0.1: words of 32 bits in the machine's byte order."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def listening(*, programs: bool) -> list[dict[str, Any]]:
    """`{"address", "port", "uid", "program"}` of each listening TCP socket; the program is None for anybody but
    root, and when nobody asks."""
    owners = _owners() if programs and os.geteuid() == 0 else {}
    return [
        {"address": row["address"], "port": row["port"], "uid": row["uid"],
         **owners.get(row["inode"], {"pid": None, "program": None})}
        for row in tcp_table() if row["state"] == LISTEN
    ]  # fmt: skip


@cache
def _owners() -> dict[str, dict[str, Any]]:
    """Inode of a socket → the process that holds it."""
    found: dict[str, dict[str, Any]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = read(f"/proc/{pid}/comm").strip()
            for handle in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{handle}")
                if target.startswith("socket:["):
                    found.setdefault(target[8:-1], {"pid": int(pid), "program": program})
        except OSError:  # it ended meanwhile
            continue
    return found


def listeners(_ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """See `listening`."""
    return listening(programs=True)


def addresses(_ask: Mapping[str, Any]) -> list[dict[str, str]]:
    """`{"interface", "address"}` of each address, without those of this host alone."""
    return [
        {"interface": link["ifname"], "address": item["local"]}
        for link in json.loads(run("ip", "-j", "addr"))
        for item in link.get("addr_info", ())
        if item.get("scope") != "host"
    ]


def nftables(_ask: Mapping[str, Any]) -> dict[str, Any]:
    """The whole rule set of the kernel as nft's JSON: also what firewalld and iptables-nft loaded."""
    need_root("nft lists rules to root only")
    ruleset: dict[str, Any] = json.loads(run("nft", "-j", "list", "ruleset"))
    return ruleset


def ufw(_ask: Mapping[str, Any]) -> str:
    """`ufw status verbose`."""
    need_root("ufw answers root only")
    return run("ufw", "status", "verbose")


def firewalld(_ask: Mapping[str, Any]) -> dict[str, str]:
    """The zones of a running firewalld, and which of them are in use."""
    if not active(("firewalld.service",)):
        raise Unknown("firewalld does not run")
    need_root("firewalld answers root only")
    return {
        "default": run("firewall-cmd", "--get-default-zone").strip(),
        "active": run("firewall-cmd", "--get-active-zones"),
        "zones": run("firewall-cmd", "--list-all-zones"),
    }


def persistence(_ask: Mapping[str, Any]) -> dict[str, bool]:
    """Which firewall's unit starts at boot."""
    on = enabled(tuple(_FIREWALLS.values()))
    return {name: unit in on for name, unit in _FIREWALLS.items()}
