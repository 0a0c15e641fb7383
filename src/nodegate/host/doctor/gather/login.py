"""SSH: what the files say, what the daemon listens on, since when, and whose keys open the door."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nodegate.host.doctor.gather.base import Unknown, need_root, pairs, read, run
from nodegate.host.doctor.gather.network import listening

_DAEMONS = ("sshd", "sshd-session", "systemd")
"""systemd listens for a daemon that is started by ssh.socket, as on Ubuntu."""
_SHELLS = ("nologin", "false", "sync")


def configuration(_ask: Mapping[str, Any]) -> dict[str, list[str]]:
    """The effective configuration by `sshd -T`: option (lower case) → its values."""
    need_root("`sshd -T` reads the host's private keys")
    found: dict[str, list[str]] = {}
    for line in run("sshd", "-T").splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value.strip())
    if "port" not in found:
        raise Unknown("`sshd -T` names no port")
    return found


def listeners(_ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`{"address", "port"}` of each socket that the daemon listens on."""
    need_root("whose sockets these are is only told to root")
    units = ("ssh.socket", "sshd.socket")
    by_socket = {
        word.rpartition(":")[2].partition(" ")[0]
        for unit in units
        for word in [run("systemctl", "show", "-p", "Listen", "--value", "--", unit)]
        if word.strip()
    }
    found = []
    for item in listening(programs=True):
        program = item["program"]
        if program in _DAEMONS[:2] or (program == "systemd" and str(item["port"]) in by_socket):
            found.append({"address": item["address"], "port": item["port"]})
    return found


def daemon(_ask: Mapping[str, Any]) -> dict[str, Any]:
    """When the daemon last read its files, and when those changed, as seconds since the epoch.

    A reload keeps process and start time, so systemd's note of the last reload counts as well.
    """
    files = [Path("/etc/ssh/sshd_config"), *sorted(Path("/etc/ssh/sshd_config.d").glob("*.conf"))]
    changed = {str(path): path.stat().st_mtime for path in files if path.exists()}
    if not changed:
        raise Unknown("/etc/ssh/sshd_config is not there")
    for unit in ("ssh.service", "sshd.service"):
        facts = pairs(run("systemctl", "show", "-p", "MainPID,StateChangeTimestampMonotonic", "--", unit))
        pid = int(facts.get("MainPID") or 0)
        if pid:
            started = _started(pid)
            return {"pid": pid, "read_at": max(started, _reloaded(facts, started)), "changed": changed}
    raise Unknown("no ssh.service runs (with socket activation each login reads the files anew)")


def _started(pid: int) -> float:
    """When a process began, in seconds since the epoch."""
    ticks = int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])
    boot = next(line.split()[1] for line in read("/proc/stat").splitlines() if line.startswith("btime"))
    return int(boot) + ticks / os.sysconf("SC_CLK_TCK")


def _reloaded(facts: Mapping[str, str], otherwise: float) -> float:
    """When the unit last changed its state, as a reload does. (The start of ExecReload would say it too, but is
    forgotten at each `systemctl daemon-reload`.)"""
    since_boot = int(facts.get("StateChangeTimestampMonotonic") or 0) / 1e6
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + since_boot if since_boot else otherwise


def keys(_ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every authorized_keys of a user with a shell: user, path, number of keys, and what others may write."""
    need_root("home directories are closed")
    patterns = configuration({}).get("authorizedkeysfile", [".ssh/authorized_keys"])
    found = []
    for user in pwd.getpwall():
        if user.pw_shell.rpartition("/")[2] in _SHELLS:
            continue
        for pattern in " ".join(patterns).split():
            path = Path(user.pw_dir) / pattern.replace("%u", user.pw_name).replace("%h", user.pw_dir)
            if path.is_file():
                found.append(
                    {
                        "user": user.pw_name,
                        "path": str(path),
                        "keys": _count(path),
                        "loose": _loose(path, user.pw_dir),
                    }
                )
    return found


def _count(path: Path) -> int:
    lines = (line.strip() for line in read(path).splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))


def _loose(path: Path, home: str) -> list[str]:
    """The file and the directories up to the home that group or others may write."""
    found = []
    for place in (path, *path.parents):
        if place.stat().st_mode & 0o022:
            found.append(str(place))
        if str(place) == home.rstrip("/") or place == Path("/"):
            break
    return found
