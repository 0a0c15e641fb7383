"""Debian's package of Consul, unpacked beside the system."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "consul"
RELEASE = "bullseye"
"""The only Debian release that has a Consul; its 1.8.7 needs nothing but libc."""


@cache
def consul_binary() -> Path:
    """The path of `consul`, fetched once for all test processes. Skips the test, with the reason, where it cannot
    be had."""
    if found := shutil.which("consul"):
        return Path(found)
    binary = CACHE / "root" / "usr" / "bin" / "consul"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            reason = _fetch(CACHE)
            if reason:
                pytest.skip(f"no Consul: {reason}")
    return binary


def _fetch(folder: Path) -> str:
    """Unpack the package below `folder`; the reason in words when that does not work."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "this system has no apt"
    mirror = _mirror()
    if not mirror:
        return "no Debian mirror is set up on this system"
    work = folder / "apt"
    shutil.rmtree(work, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "deb"):
        (work / part).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {RELEASE} main\n")
    options = [
        f"Dir::Etc::sourcelist={work}/sources.list", "Dir::Etc::sourceparts=-", f"Dir::State::lists={work}/lists",
        f"Dir::Cache={work}/cache", f"Dir::Cache::archives={work}/cache/archives", "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    try:
        for command in ([*apt, "update"], [*apt, "download", "consul"]):
            subprocess.run(command, cwd=work / "deb", check=True, capture_output=True, timeout=300)
        (package,) = (work / "deb").glob("consul_*.deb")
        draft = folder / "root.new"
        shutil.rmtree(draft, ignore_errors=True)
        subprocess.run(["dpkg", "-x", package, draft], check=True, capture_output=True, timeout=120)
        draft.rename(folder / "root")
    except subprocess.CalledProcessError as error:
        return f"{' '.join(map(str, error.cmd[:1]))} fails: {error.stderr.decode(errors='replace').strip()[:300]}"
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"it cannot be fetched: {error}"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ""


def _mirror() -> str | None:
    """The host that the system itself takes its packages from."""
    for file in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        with suppress(OSError):
            for line in file.read_text().splitlines():
                words = line.split()
                if words[:1] == ["URIs:"] and len(words) > 1:
                    return words[1]
                if words[:1] == ["deb"]:
                    return next((word for word in words if "://" in word), None)
    return None
