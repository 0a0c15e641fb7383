"""The machine itself: name, clock, upgrades, room."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nodegate.host.doctor.gather.base import Unknown, active, enabled, pairs, read, run

_TIME_UNITS = ("systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntp.service", "ntpsec.service",
               "ntpd.service", "openntpd.service")  # fmt: skip
_REAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "vfat", "jfs", "bcachefs"}
STA_UNSYNC = 0x0040


def identity(_ask: Mapping[str, Any]) -> dict[str, Any]:
    """Name, system, who asks, the time there, and the kind of container (None: none)."""
    release = pairs(read("/etc/os-release")) if Path("/etc/os-release").exists() else {}
    try:
        container = run("systemd-detect-virt", "--container", ok=(0, 1)).strip()
    except Unknown:
        container = "none"
    return {
        "hostname": socket.gethostname(), "system": release.get("PRETTY_NAME", platform.system()).strip('"'),
        "kernel": platform.release(), "python": platform.python_version(), "root": os.geteuid() == 0,
        "now": time.time(), "container": None if container in {"", "none"} else container,
    }  # fmt: skip


def time_service(_ask: Mapping[str, Any]) -> list[str]:
    """The time services that run."""
    return active(_TIME_UNITS)


def time_synchronized(_ask: Mapping[str, Any]) -> dict[str, float | bool]:
    """What the kernel knows about its clock (adjtimex); works as nobody."""

    class Timex(ctypes.Structure):
        _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
                    ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                    ("rest", ctypes.c_byte * 256)]  # fmt: skip

    state = Timex()  # modes 0: only read
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state)) < 0:
        raise Unknown(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return {"synchronized": not state.status & STA_UNSYNC, "max_error": state.maxerror / 1e6}


def upgrades(_ask: Mapping[str, Any]) -> dict[str, Any]:
    """How security upgrades come: by apt's unattended-upgrades or by dnf-automatic, and what is missing."""
    if Path("/usr/bin/apt-config").exists():
        periodic = pairs(run("apt-config", "dump", "APT::Periodic::Unattended-Upgrade"), " ")
        value = periodic.get("APT::Periodic::Unattended-Upgrade", "").strip('";')
        return {
            "how": "unattended-upgrades", "installed": Path("/usr/bin/unattended-upgrade").exists(),
            "on": value not in {"", "0"}, "timer": bool(enabled(("apt-daily-upgrade.timer",))),
        }  # fmt: skip
    if Path("/usr/bin/dnf").exists():
        timers = ("dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer")
        on = bool(enabled(timers))
        return {
            "how": "dnf-automatic",
            "installed": on or Path("/usr/bin/dnf-automatic").exists(),
            "on": on,
            "timer": on,
        }
    raise Unknown("neither apt nor dnf is here")


def reboot(_ask: Mapping[str, Any]) -> list[str]:
    """The packages that wait for a reboot; empty for none."""
    if not Path("/run/reboot-required").exists():
        return []
    names = Path("/run/reboot-required.pkgs")
    return sorted(set(read(names).split())) if names.exists() else ["unnamed"]


def disks(_ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each file system on a disk: where, and the free shares of bytes and inodes (None: has no fixed number)."""
    found: dict[int, dict[str, Any]] = {}
    for line in read("/proc/self/mounts").splitlines():
        _, mount, kind, options = line.split()[:4]
        mount = mount.encode().decode("unicode_escape")
        if kind not in _REAL or "ro" in options.split(","):
            continue
        try:
            state, device = os.statvfs(mount), os.stat(mount).st_dev
        except OSError:
            continue
        if state.f_blocks and device not in found:
            usable = state.f_blocks - state.f_bfree + state.f_bavail
            found[device] = {
                "mount": mount, "free": state.f_bavail / usable if usable else 0.0, "free_bytes": state.f_bavail * state.f_frsize,
                "free_inodes": state.f_favail / state.f_files if state.f_files else None,
            }  # fmt: skip
    if not found:
        raise Unknown("no file system on a disk is mounted")
    return list(found.values())


def memory(_ask: Mapping[str, Any]) -> dict[str, int]:
    """`total` and `available` in bytes."""
    facts = pairs(read("/proc/meminfo"), ":")
    return {
        name: int(facts[field].split()[0]) * 1024
        for name, field in (("total", "MemTotal"), ("available", "MemAvailable"))
    }


def journal(_ask: Mapping[str, Any]) -> str | None:
    """SystemMaxUse of journald, None when the configuration says nothing."""
    text = run("systemd-analyze", "cat-config", "systemd/journald.conf")
    return pairs(text).get("SystemMaxUse") or None
