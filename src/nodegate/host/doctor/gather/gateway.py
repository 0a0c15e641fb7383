"""What stands before the node: keepalived, HAProxy, nodegate, their sockets, secrets and certificates."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nodegate.host.doctor.gather.base import Unknown, active, read, run, show
from nodegate.host.doctor.gather.process import unit

_STATES = ("/var/lib/nodegate", "/root/.local/state/nodegate")
_CERTIFICATES = (
    "/etc/letsencrypt/live/*/fullchain.pem",
    "/etc/nodegate/*.pem",
    "/etc/haproxy/*.pem",
    "/etc/haproxy/certs/*.pem",
)
_SECRETS = ("/etc/nodegate/*", "/etc/consul.d/*", "/etc/keepalived/keepalived.conf", "/etc/haproxy/haproxy.cfg",
            "/etc/letsencrypt/live/*/privkey.pem")  # fmt: skip
_STATE_SECRETS = ("token", "registry.db", "config/*.pem")
_WORDS = re.compile(
    r"(?im)^[^#\n]*(?:pass(?:word|wd)?|token|secret|api_?key|auth_pass|jwt|private[_ ]key)\b|PRIVATE KEY-----"
)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_LISTENED = re.compile(r'^\s*tls_certificate\s*=\s*"([^"]+)"', re.MULTILINE)


def keepalived(_ask: Mapping[str, Any]) -> dict[str, Any] | None:
    """Restart policy, whether it runs, and the addresses it shares (None: not to be read); None when not installed."""
    facts = show("keepalived.service", "LoadState", "ActiveState", "Restart")
    if facts.get("LoadState") != "loaded":
        return None
    try:
        text = read("/etc/keepalived/keepalived.conf")
    except OSError:
        text = None
    return {
        "active": facts.get("ActiveState") == "active",
        "restart": facts.get("Restart", ""),
        "addresses": None if text is None else _block(text, r"virtual_ipaddress(?:_excluded)?"),
        "peers": None if text is None else _block(text, "unicast_peer"),
    }


def _block(text: str, name: str) -> list[str]:
    """The first word of each line of such blocks, without prefix length."""
    blocks = re.findall(name + r"\s*\{([^}]*)\}", re.sub(r"[#!].*", "", text))
    words = (line.split() for block in blocks for line in block.splitlines())
    return [line[0].partition("/")[0] for line in words if line]


def versions(_ask: Mapping[str, Any]) -> dict[str, str | None]:
    """`nodegate` and `haproxy` as installed; None for what is not."""
    try:
        found = json.loads(run("nodegate", "version", "--json"))
        return {"nodegate": found.get("nodegate"), "haproxy": found.get("haproxy")}
    except Unknown as error:
        if "not installed" not in str(error):
            raise
    try:
        first = run("haproxy", "-v").split("\n")[0]
    except Unknown as error:
        if "not installed" not in str(error):
            raise
        return {"nodegate": None, "haproxy": None}
    number = re.search(r"version (\S+)", first)
    return {"nodegate": None, "haproxy": number.group(1) if number else first}


def sockets(ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Control sockets of HAProxy and nodegate: path, mode, and whether a directory above is closed to others."""
    states = [*_STATES, *ask.get("states", ())]
    found: list[dict[str, Any]] = []
    for line in read("/proc/net/unix").splitlines()[1:]:
        path = line.split()[-1]
        ours = "haproxy" in path or any(path.startswith(f"{state}/") for state in states)
        if path.startswith("/") and ours and not any(item["path"] == path for item in found):
            found.append(_socket(Path(path)))
    return [item for item in found if item["mode"] is not None]


def _socket(path: Path) -> dict[str, Any]:
    """A path that this user cannot reach lies in a closed directory: `shielded`."""
    try:
        mode: int | None = stat.S_IMODE(path.stat().st_mode)
    except PermissionError:
        return {"path": str(path), "mode": 0, "shielded": True}
    except OSError:  # left over from another mount namespace
        mode = None
    above = [folder for folder in path.parents if folder.exists()]
    return {
        "path": str(path),
        "mode": mode,
        "shielded": any(not folder.stat().st_mode & 0o001 for folder in above),
    }


def secrets(ask: Mapping[str, Any]) -> dict[str, Any]:
    """Files that hold secrets: path, mode, owner; and the files that this user cannot look into (`closed`)."""
    patterns = [*_SECRETS, *ask.get("secrets", ())]
    for state in (*_STATES, *ask.get("states", ())):
        patterns += [f"{state}/{name}" for name in _STATE_SECRETS]
    with suppress(Unknown):
        patterns += unit(ask)["environment_files"]
    found, closed = [], []
    for path in _matching(patterns):
        try:
            info = path.stat()
            mode = stat.S_IMODE(info.st_mode)
            if not stat.S_ISREG(info.st_mode):
                continue
            if path.suffix in {".db", ""} or _WORDS.search(read(path)):
                found.append({"path": str(path), "mode": mode, "owner": info.st_uid})
        except PermissionError:
            closed.append(str(path))  # closed to this user is what is wanted
    return {"files": found, "closed": closed}


def certificates(ask: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every certificate file that serves here: its path and its public part, or why it cannot be read."""
    patterns = [*_CERTIFICATES, *ask.get("certificates", ())]
    for settings in _matching(["/etc/nodegate/nodegate.toml"]):
        try:
            patterns += _LISTENED.findall(read(settings))
        except OSError:
            continue
    found: list[dict[str, Any]] = []
    for path in _matching(patterns):
        try:
            chain = _PEM.findall(read(path))
        except OSError as error:
            found.append({"path": str(path), "unknown": f"needs root: {error.strerror}"})
            continue
        if chain:
            found.append({"path": str(path), "chain": chain})
    missing = [path for path in ask.get("certificates", ()) if not _matching([path])]
    return found + [
        {"path": path, "unknown": "is not there, or in a directory closed to this user"} for path in missing
    ]


def services(_ask: Mapping[str, Any]) -> list[str]:
    """Which of the gateway's units run."""
    names = ("nodegate", "nodegate-haproxy", "haproxy", "consul", "keepalived")
    return [unit.partition(".")[0] for unit in active(tuple(f"{name}.service" for name in names))]


def _matching(patterns: Iterable[str]) -> list[Path]:
    found: dict[str, Path] = {}
    for pattern in patterns:
        if not os.path.isabs(pattern):
            continue
        try:
            paths = list(Path("/").glob(pattern.lstrip("/")))
        except OSError:
            continue
        found.update({os.path.realpath(path): path for path in paths})
    return list(found.values())
