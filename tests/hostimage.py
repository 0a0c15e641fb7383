"""The root file system of the hosts of `hostlab`, made once by mmdebstrap and mounted below an overlay for each host.

It is kept in .cache/hostlab/, under a name that its content decides.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared import locked
from support import until_sync

SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "netbase", "openssh-server", "nftables", "python3",
    "iproute2", "procps", "sudo",
)  # fmt: skip
USER = "ops"
CACHE = Path(__file__).parents[1] / ".cache" / "hostlab"


def base() -> Path:
    """The root file system that all hosts share, made at the first use (about a minute)."""
    place = CACHE / f"base-{_digest(SUITE, *PACKAGES)}"
    with locked(CACHE / ".lock"):
        if not place.is_dir():
            _make_base(place)
    return place


def _make_base(place: Path) -> None:
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    run(
        "mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(PACKAGES)}", "--format=directory", SUITE, str(part), *mirror(), timeout=900,
    )  # fmt: skip
    run("chroot", str(part), "useradd", "-m", "-s", "/bin/bash", USER)
    (part / "usr/share/man/man1").mkdir(parents=True, exist_ok=True)  # Java's packages link pages into it
    (part / "etc/hostname").unlink(missing_ok=True)
    (part / "etc/machine-id").write_text("")
    part.rename(place)


def mirror() -> list[str]:
    """Where this machine's own apt finds Debian; nothing, for mmdebstrap's own choice, where it does not say."""
    for source in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        fields: dict[str, str] = {}
        for line in source.read_text().splitlines():
            name, colon, value = line.partition(":")
            if colon and not line.startswith(("#", " ")):
                fields.setdefault(name.strip().lower(), value.strip())
        if SUITE in fields.get("suites", "").split():
            return [fields["uris"].split()[0]]
    for line in (
        Path("/etc/apt/sources.list").read_text().splitlines()
        if Path("/etc/apt/sources.list").exists()
        else ()
    ):
        words = [word for word in line.split() if not word.startswith("[") and not word.endswith("]")]
        if len(words) > 2 and words[0] == "deb" and words[2] == SUITE:
            return [words[1]]
    return []


@contextmanager
def overlay(place: Path, lower: Path) -> Iterator[Path]:
    """A writable file system over `lower`; what was written is lost at the end."""
    up, work, mount = place / "up", place / "work", place / "mnt"
    for folder in (up, work, mount):
        folder.mkdir(parents=True)
    run("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={up},workdir={work}", "none", str(mount))
    try:
        yield mount
    finally:
        until_sync(lambda: _unmounted(mount), within=60, what=f"{mount} is free")
        shutil.rmtree(place, ignore_errors=True)


def _unmounted(mount: Path) -> bool:
    return subprocess.run(["umount", str(mount)], capture_output=True, check=False).returncode == 0


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def run(*command: str, timeout: float = 60) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout)
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"{' '.join(command[:4])} …: {(error.stderr or error.stdout)[-800:]}") from error
