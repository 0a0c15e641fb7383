"""The node's process and its unit. All but the name of who listens works as nobody."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nodegate.host.doctor.gather.base import Unknown, read, run, show
from nodegate.host.doctor.gather.network import CLOSE_WAIT, ESTABLISHED, listening, tcp_table

_UNITS = ("iri", "hornet", "iota-node", "wasp", "geth", "erigon", "node")
"""Names of units under which nodes usually run, tried when none is given."""
OWED_AFTER = 5.0
"""Seconds; a full node answers in a tenth of one."""
_EXPOSURE = re.compile(r"Overall exposure level for .*?:\s*([0-9.]+)")


def find(ask: Mapping[str, Any]) -> dict[str, Any]:
    """`{"pid", "unit"}` of the node: the named unit, who listens on the node's port, or a unit of a usual name."""
    return _find(ask.get("unit") or "", int(ask["node_port"]))


@cache
def _find(wanted: str, port: int) -> dict[str, Any]:
    if wanted:
        unit = _named(wanted)
        if unit is None:
            raise Unknown(f"unit {wanted} has no running process")
        return unit
    for item in listening(programs=True):
        if item["port"] == port and item["pid"]:
            return {"pid": item["pid"], "unit": _unit_of(item["pid"])}
    for name in _UNITS:
        unit = _named(name)
        if unit is not None:
            return unit
    root = "" if os.geteuid() == 0 else " (needs root to see who listens)"
    raise Unknown(f"no node found: nobody known listens on port {port}{root}; name its unit with --unit")


def _named(unit: str) -> dict[str, Any] | None:
    unit = unit if "." in unit else f"{unit}.service"
    pid = int(show(unit, "MainPID").get("MainPID") or 0)
    return {"pid": pid, "unit": unit} if pid else None


def _unit_of(pid: int) -> str | None:
    """The service whose control group the process is in."""
    found = re.findall(r"/([^/\n]+\.service)(?:/|$)", read(f"/proc/{pid}/cgroup"), re.MULTILINE)
    return found[-1] if found else None


def process(ask: Mapping[str, Any]) -> dict[str, Any]:
    """User, capabilities, descriptors and limits of the running process."""
    node = find(ask)
    pid = node["pid"]
    status = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":" in line)
    uid = int(status["Uid"].split()[1])
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a user of a container, or of DynamicUser
        user = str(uid)
    return {
        **node, "name": status["Name"].strip(), "uid": uid, "user": user,
        "capabilities": int(status["CapEff"], 16), "no_new_privileges": status["NoNewPrivs"].strip() == "1",
    }  # fmt: skip


def descriptors(ask: Mapping[str, Any]) -> dict[str, int | None]:
    """`limit` of the running process (soft; what the unit says may be more than the machine grants), and `open`,
    None where the kernel tells only root."""
    pid = find(ask)["pid"]
    line = next(
        line for line in read(f"/proc/{pid}/limits").splitlines() if line.startswith("Max open files")
    )
    soft = line.split()[3]
    return {"limit": None if soft == "unlimited" else int(soft), "open": _open(pid)}


def _open(pid: int) -> int | None:
    folder = f"/proc/{pid}/fd"
    size = os.stat(folder).st_size  # the count, since Linux 6.2; 0 before
    if size:
        return size
    try:
        return len(os.listdir(folder))
    except PermissionError:
        return None


def sockets(ask: Mapping[str, Any]) -> dict[str, int | None]:
    """Connections on the node's API port by the table of its own network namespace: how many are established, how
    many its clients closed and it did not, and in how many a request lies unread. `owed` counts those that wait for
    an answer for OWED_AFTER or longer, None where the kernel could not be asked."""
    pid = find(ask)["pid"]
    rows = [row for row in tcp_table(pid) if row["port"] == ask["node_port"]]
    return {
        "established": sum(row["state"] == ESTABLISHED for row in rows),
        "close_wait": sum(row["state"] == CLOSE_WAIT for row in rows),
        "unread": sum(row["state"] in {ESTABLISHED, CLOSE_WAIT} and row["unread"] > 0 for row in rows),
        "owed": _owed(pid, ask["node_port"]),
    }


def _owed(pid: int, port: int) -> int | None:
    """By inet_diag in the node's network namespace; root is needed for another one than ours."""
    try:
        from nodegate.host.sockets.inetdiag import InetDiag
    except ImportError:  # an older Python: see `nodegate.host.doctor.script`
        return None
    try:
        namespace = Path(f"/proc/{pid}/ns/net")
        elsewhere = os.geteuid() == 0 and os.readlink(namespace) != os.readlink("/proc/self/ns/net")
        diag = InetDiag(namespace if elsewhere else None)
    except Exception:  # the text table above still counts
        return None
    try:
        return diag.count(port, OWED_AFTER).owed
    except Exception:
        return None
    finally:
        diag.close()


def unit(ask: Mapping[str, Any]) -> dict[str, Any]:
    """What systemd does with the node: restart, and how far its unit is shut in."""
    name = find(ask)["unit"]
    if name is None:
        raise Unknown("the node does not run as a service of systemd")
    facts = show(name, "Restart", "FragmentPath", "EnvironmentFiles")
    files = re.findall(r"(/\S+) \(ignore_errors", facts.get("EnvironmentFiles", ""))
    return {"unit": name, "restart": facts.get("Restart", ""), "environment_files": files,
            "file": facts.get("FragmentPath", "")}  # fmt: skip


def exposure(ask: Mapping[str, Any]) -> float:
    """The overall exposure by `systemd-analyze security`, 0 to 10."""
    name = find(ask)["unit"]
    if name is None:
        raise Unknown("the node does not run as a service of systemd")
    found = _EXPOSURE.search(run("systemd-analyze", "security", "--no-pager", "--", name))
    if found is None:
        raise Unknown("`systemd-analyze security` gave no overall level (needs systemd 240 or newer)")
    return float(found.group(1))
