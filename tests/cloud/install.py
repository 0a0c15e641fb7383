"""The environment of the servers: apart from nodegate's own, made once from PyPI with pinned versions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from shared import locked

CACHE = Path(__file__).parents[2] / ".cache"
PINS = Path(__file__).with_name("constraints.txt")
PACKAGES = (
    "keystone",
    "neutron",
    "nova",
    "openstack-placement",
    "ironic",
    "openstacksdk",
    "pymysql",
    "waitress",
)


def environment() -> Path:
    """The folder of a virtual environment with the servers; made if it is not there (a minute, 550 MB).

    Raises CalledProcessError when the packages cannot be had.
    """
    version = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"openstack-{version}"
    with locked(CACHE / "openstack.lock"):
        if (folder / "complete").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(folder))
        run(
            str(folder / "bin/pip"),
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-compile",  # of 14,000 modules the servers import a part
            "-c",
            str(PINS),
            *PACKAGES,
        )
        (folder / "complete").touch()
    return folder


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run to the end and return standard output; raises RuntimeError with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])}… ended with {done.returncode}: {done.stderr[-1500:]}")
    return done.stdout
