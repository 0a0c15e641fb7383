"""Why a host must not be touched: above all, what would lock the operator out. Reads only."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import os
import re

from .facts import Item, at, keys_of, output, text_of, user, without_comment

SSHD_CONFIG = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"


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


def sshd_options() -> dict[str, list[str]]:
    """The effective configuration of sshd: option in lower case → its values."""
    found: dict[str, list[str]] = {}
    for line in output("/usr/sbin/sshd", "-T").splitlines():
        option, _, value = line.partition(" ")
        found.setdefault(option, []).append(value)
    return found


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
