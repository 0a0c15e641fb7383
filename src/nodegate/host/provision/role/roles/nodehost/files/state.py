"""How far a host is from what is wanted. Reads only: wanted as JSON on standard input, differences as JSON out.

Run by the role as root with the host's own Python (3.8 or newer), hence plain and without imports of nodegate.
"""

from __future__ import annotations

import fnmatch
import grp
import hashlib
import ipaddress
import json
import os
import pwd
import re
import subprocess
import sys
import time
from typing import Any, Dict  # noqa: UP035  # `dict[str, Any]` at run time needs Python 3.9

SSHD_CONFIG = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
DIGEST = "/var/lib/nodehost/nft.sha256"
STEADY = 15.0
"""Seconds that a service has to stay up after systemd had to start it again, to count as running."""
ROOT = "/"
"""Where the host's files begin; tests put theirs here."""

Item = Dict[str, Any]  # noqa: UP006


def at(path: str) -> str:
    """`path` on the host."""
    return os.path.join(ROOT, path.lstrip("/"))


def text_of(path: str) -> str:
    """The file's text, empty when there is none."""
    try:
        with open(at(path), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def output(*command: str, whatever: bool = False) -> str:
    """What the command prints; empty when it is not there, or fails (but for `whatever`)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if whatever or done.returncode == 0 else ""


def differs(item: Item) -> bool:
    """Whether a file (or directory, without content and digest) is not as wanted."""
    path = at(item["path"])
    try:
        facts = os.lstat(path)
    except OSError:
        return True
    if item.get("keep"):
        return False
    wanted = item.get("sha256") or (
        "content" in item and hashlib.sha256(item["content"].encode()).hexdigest()
    )
    if wanted and (os.path.islink(path) or not os.path.isfile(path) or digest(path) != wanted):
        return True
    if f"{facts.st_mode & 0o7777:04o}" != item["mode"]:
        return True
    return (name(pwd.getpwuid, facts.st_uid), name(grp.getgrgid, facts.st_gid)) != (
        item["owner"],
        item["group"],
    )


def digest(path: str) -> str:
    """SHA-256 of the file's content."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def name(look: Any, number: int) -> str:
    """The name of a user or group, or its number."""
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)


def user(login: str) -> Any:
    """The user's entry, None when there is no such user."""
    try:
        return pwd.getpwnam(login)
    except KeyError:
        return None


def missing_packages(wanted: list[Any]) -> list[str]:
    """Packages that are not installed. An item may name services that make it needless."""
    names = [item if isinstance(item, str) else item["name"] for item in wanted if not needless(item)]
    form = "${Package} ${db:Status-Status}\n"
    listed = output(
        "dpkg-query", "-W", "-f", form, *names, whatever=True
    )  # an unknown name is an error of its own
    there = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [each for each in names if each not in there]


def needless(item: Any) -> bool:
    """Whether something else does the item's work already."""
    others = item.get("unless", []) if isinstance(item, dict) else []
    return any(output("systemctl", "is-active", other).strip() == "active" for other in others)


def unit_steps(item: Item, stale: set[str]) -> tuple[bool, bool]:
    """Whether the unit is to be enabled and started, and whether it is to be started again."""
    words = ("ActiveState", "SubState", "UnitFileState", "ActiveEnterTimestampMonotonic", "ConditionResult",
             "ConditionTimestampMonotonic", "NRestarts")  # fmt: skip
    shown = output("systemctl", "show", item["name"], f"--property={','.join(words)}")
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
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


def keys_of(login: str) -> list[str]:
    """The public keys that log the user in, without options and comments."""
    entry = user(login)
    if entry is None:
        return []
    found = []
    for file in (".ssh/authorized_keys", ".ssh/authorized_keys2"):
        for line in text_of(os.path.join(entry.pw_dir, file)).splitlines():
            words = re.search(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-\S+) ([A-Za-z0-9+/=]{40,})", line)
            if words and not line.lstrip().startswith("#"):
                found.append(f"{words[1]} {words[2]}")
    return found


def without_comment(key: str) -> str:
    """A public key's type and body."""
    return " ".join(key.split()[:2])


def client_address() -> str:
    """Where this SSH session comes from; sudo hides it, so the parents are asked. Empty when nobody knows."""
    process = os.getpid()
    while process > 1:
        try:
            with open(f"/proc/{process}/environ", "rb") as stream:
                for entry in stream.read().split(b"\0"):
                    if entry.startswith(b"SSH_CONNECTION="):
                        return entry.split(b"=", 1)[1].split()[0].decode()
            with open(f"/proc/{process}/stat") as stream:
                process = int(stream.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return ""
    return ""


def sshd_options() -> dict[str, list[str]]:
    """The effective configuration of sshd: option in lower case → its values."""
    found: dict[str, list[str]] = {}
    for line in output("/usr/sbin/sshd", "-T").splitlines():
        option, _, value = line.partition(" ")
        found.setdefault(option, []).append(value)
    return found


def refusals(wanted: Item) -> list[str]:
    """Why this host must not be touched; empty when all is well."""
    system = dict(line.partition("=")[::2] for line in text_of("/etc/os-release").splitlines())
    family = f"{system.get('ID', '')} {system.get('ID_LIKE', '')}".replace('"', "").split()
    found = []
    if "debian" not in family:
        found.append(
            f"this is {system.get('PRETTY_NAME', 'an unknown system')}: only Debian and its like are known"
        )
    if not os.path.isdir(at("/run/systemd/system")):
        found.append("systemd is not the first process here, and everything is run by its units")
    if not os.path.isdir("/sys/class/net") or os.geteuid() != 0:
        found.append("root's rights are needed")
    return found + firewall_refusals() + login_refusals(wanted) + sshd_refusals(wanted)


def firewall_refusals() -> list[str]:
    """Two firewalls that do not know each other shut everybody out sooner or later."""
    found = []
    if "ENABLED=yes" in text_of("/etc/ufw/ufw.conf").splitlines():
        found.append("ufw is enabled; `ufw disable` first, nftables take its place")
    if output("systemctl", "is-active", "firewalld").strip() == "active":
        found.append("firewalld runs; `systemctl disable --now firewalld` first, nftables take its place")
    found += [
        f"nftables' table {table} drops what comes in, and would drop what ours lets in: take its rules over into "
        f"firewall.open, out of /etc/nftables.conf, and `nft delete table {table}`"
        for table in foreign_drops(output("nft", "-j", "list", "chains"))
    ]
    return found


def foreign_drops(chains: str) -> list[str]:
    """Tables of others whose input hook drops; `chains` is what `nft -j list chains` prints."""
    try:
        entries = json.loads(chains)["nftables"] if chains else []
    except (ValueError, KeyError):
        return []
    found = []
    for entry in entries:
        chain = entry.get("chain", {})
        if (
            chain.get("hook") == "input"
            and chain.get("policy") == "drop"
            and chain.get("table") != "nodehost"
        ):
            found.append(f"{chain['family']} {chain['table']}")
    return found


def login_refusals(wanted: Item) -> list[str]:
    """What would leave the operator without a way in once passwords and root are refused."""
    admin, own = wanted["admin"], wanted["own_key"]
    given = [without_comment(key) for key in wanted["admin_keys"]]
    keys = [*keys_of(admin), *given]
    found = []
    if user(admin) is None and not given:
        found.append(f"there is no user {admin}; name public keys in ssh.keys, and it is made")
    elif not keys:
        found.append(
            f"user {admin} has no key in ~/.ssh/authorized_keys, and only keys will let in: you would be locked "
            f"out. `ssh-copy-id {admin}@…` first, or name public keys in ssh.keys"
        )
    elif own and own not in keys:
        found.append(
            f"ssh.key is not among the keys of {admin}: you would be locked out. Name its public part in ssh.keys"
        )
    if (
        user(admin) is not None
        and not sudo_file(wanted)
        and "not allowed" in output("sudo", "-n", "-l", "-U", admin)
    ):
        found.append(
            f"user {admin} may not use sudo, and root will not be let in: `usermod -aG sudo {admin}` first"
        )
    client = client_address()
    if client and wanted["ssh_from"] and not inside(client, wanted["ssh_from"]):
        found.append(
            f"firewall.ssh_from does not include {client}, where you come from: you would be locked out"
        )
    return found


def inside(address: str, networks: list[str]) -> bool:
    """Whether the address is in one of the networks."""
    known = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(known, "ipv4_mapped", None) or known
    return any(mapped in ipaddress.ip_network(network) for network in networks)


def sshd_refusals(wanted: Item) -> list[str]:
    """What in sshd's configuration would defeat ours, or the login afterwards."""
    found = []
    main = text_of(SSHD_CONFIG)
    if not re.search(rf"^\s*Include\s+.*{re.escape(DROP_INS)}/\*\.conf", main, re.MULTILINE | re.IGNORECASE):
        found.append(
            f"{SSHD_CONFIG} does not include {DROP_INS}/*.conf; add `Include {DROP_INS}/*.conf` as its first line"
        )
    others = [SSHD_CONFIG]
    if os.path.isdir(at(DROP_INS)):
        others += [
            f"{DROP_INS}/{file}" for file in sorted(os.listdir(at(DROP_INS))) if file.endswith(".conf")
        ]
    found += [
        f"{path} sets `Port {port}`, which would stay open beside {wanted['ssh_port']}: take it out"
        for path in others if path != wanted["sshd_file"]
        for port in re.findall(r"^\s*Port[\s=]+(\d+)", text_of(path), re.MULTILINE | re.IGNORECASE)
        if int(port) != wanted["ssh_port"]
    ]  # fmt: skip
    return found + allowed_refusals(wanted["admin"], sshd_options())


def allowed_refusals(admin: str, options: dict[str, list[str]]) -> list[str]:
    """Lists of users in sshd's configuration that leave the administrator out."""
    found = []
    allowed = [word for line in options.get("allowusers", []) for word in line.split()]
    denied = [word for line in options.get("denyusers", []) for word in line.split()]
    if allowed and not any(fnmatch.fnmatch(admin, pattern.partition("@")[0]) for pattern in allowed):
        found.append(f"sshd's AllowUsers leaves out {admin}: you would be locked out")
    if any(fnmatch.fnmatch(admin, pattern) for pattern in denied if "@" not in pattern):
        found.append(f"sshd's DenyUsers names {admin}: you would be locked out")
    return found


def sudo_file(wanted: Item) -> bool:
    """Whether the administrator's right to sudo is ours: the user is not there yet, or was made by us."""
    return user(wanted["admin"]) is None or os.path.exists(at(wanted["sudo_file"]))


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
    """Everything that the role has to do, as lists of names."""
    files = [item for item in wanted["files"] if item["path"] != wanted["sudo_file"] or sudo_file(wanted)]
    stale = [item["path"] for item in (*files, *wanted["uploads"]) if differs(item)]
    units = {item["name"]: unit_steps(item, set(stale)) for item in wanted["units"] if not needless(item)}
    there = keys_of(wanted["admin"])
    entry = user(wanted["admin"])
    pip = wanted["pip"]
    return {
        "refusals": refusals(wanted),
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
        "apt": output("dpkg-query", "-W", "-f", "${db:Status-Status}", "python3-apt") == "installed",
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(differences(json.load(sys.stdin)), sys.stdout)
