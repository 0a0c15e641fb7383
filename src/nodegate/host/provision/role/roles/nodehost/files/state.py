"""How far a host is from what is wanted: the differences, as lists of names. Reads only."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from .facts import Item, at, differs, keys_of, needless, output, text_of, user, without_comment
from .refusals import refusals, sudo_file

DIGEST = "/var/lib/nodehost/nft.sha256"
UNIT_FACTS = ("ActiveState", "SubState", "UnitFileState", "ActiveEnterTimestampMonotonic", "ConditionResult",
              "ConditionTimestampMonotonic", "NRestarts")  # fmt: skip
STEADY = 15.0
"""Seconds that a service has to stay up after systemd had to start it again, to count as running."""


def missing_packages(wanted: list[Any]) -> list[str]:
    """Packages that are not installed. An item may name services that make it needless."""
    names = [item if isinstance(item, str) else item["name"] for item in wanted if not needless(item)]
    form = "${Package} ${db:Status-Status}\n"
    listed = output(
        "dpkg-query", "-W", "-f", form, *names, whatever=True
    )  # an unknown name is an error of its own
    there = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [each for each in names if each not in there]


def unit_facts(names: list[str]) -> dict[str, dict[str, str]]:
    """What systemd knows of each unit; one question for all."""
    shown = output("systemctl", "show", *names, f"--property={','.join(UNIT_FACTS)}")
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.split("\n\n")]
    return dict(zip(names, blocks))  # noqa: B905  # `strict` is newer than Python 3.8


def unit_steps(item: Item, facts: dict[str, str], stale: set[str]) -> tuple[bool, bool]:
    """Whether the unit is to be enabled and started, and whether it is to be started again."""
    since = int(facts.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    impossible = facts.get("ConditionResult") == "no" and facts.get("ConditionTimestampMonotonic", "0") != "0"
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    falling = facts.get("SubState") == "auto-restart" or (
        facts.get("NRestarts", "0") != "0" and now - since < STEADY
    )
    active = facts.get("ActiveState") in {"active", "activating", "reloading"} and not falling
    enabled = facts.get("UnitFileState") in {"enabled", "static", "alias", "generated"}
    begun = time.time() - now + since
    changed = any(path in stale or newer(path, begun) for path in item["restart_on"])
    return not enabled or not (active or impossible), active and changed


def newer(path: str, moment: float) -> bool:
    """Whether the file was changed after `moment`, seconds since the epoch."""
    try:
        return os.stat(at(path)).st_mtime > moment
    except OSError:
        return False


def guard_needed(wanted: Item) -> bool:
    """Whether SSH or firewall, on disk or as they run, are not as wanted."""
    if any(differs(item) for item in wanted["guarded"]):
        return True
    listening = any(
        line.split()[1].endswith(f":{wanted['ssh_port']:04X}") and line.split()[3] == "0A"
        for family in ("tcp", "tcp6") for line in text_of(f"/proc/net/{family}").splitlines()[1:]
    )  # fmt: skip
    loaded = hashlib.sha256(output("nft", "-s", "list", "table", "inet", "nodehost").encode()).hexdigest()
    enabled = output("systemctl", "is-enabled", "nftables").strip() == "enabled"
    return not (listening and enabled and loaded == text_of(DIGEST).strip())


def differences(wanted: Item) -> Item:
    """Everything that the role has to do, as lists of names; `steps` are the names of what is not empty."""
    files = [item for item in wanted["files"] if item["path"] != wanted["sudo_file"] or sudo_file(wanted)]
    stale = [item["path"] for item in (*files, *wanted["uploads"]) if differs(item)]
    needed = [item for item in wanted["units"] if not needless(item)]
    facts = unit_facts([item["name"] for item in needed])
    units = {item["name"]: unit_steps(item, facts.get(item["name"], {}), set(stale)) for item in needed}
    there = keys_of(wanted["admin"])
    entry = user(wanted["admin"])
    pip = wanted["pip"]
    found = {
        "packages": missing_packages(wanted["packages"]),
        "users": [item["name"] for item in wanted["users"] if user(item["name"]) is None],
        "admin_missing": entry is None,
        "admin_home": entry.pw_dir if entry else f"/home/{wanted['admin']}",
        "keys": [key for key in wanted["admin_keys"] if without_comment(key) not in there],
        "directories": [item["path"] for item in wanted["directories"] if differs(item)],
        "files": stale,
        "homeless": [path for path in stale + [item["path"] for item in wanted["guarded"]]
                     if not os.path.isdir(at(os.path.dirname(path)))],
        "pip": bool(pip) and text_of(wanted["pip_mark"]).strip() != pip,
        "guard": guard_needed(wanted),
        "start": [name for name, (start, _) in units.items() if start],
        "restart": [name for name, (start, again) in units.items() if again and not start],
    }  # fmt: skip
    steps = [name for name, value in found.items() if value and name != "admin_home"]
    return {**found, "refusals": refusals(wanted), "steps": steps}
