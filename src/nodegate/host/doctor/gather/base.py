"""How facts are gathered: each by a function of its own, so that one that cannot be had leaves the others whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable  # noqa: UP035  # an alias below is evaluated, also by Python 3.9

Gatherer = Callable[[Mapping[str, Any]], Any]

COMMAND_TIMEOUT = 10.0
"""Seconds for one command; all that are used answer within a second on an idle host."""
MAX_OUTPUT = 8_000_000
"""Characters of one command's output; a rule set with a list of all Tor exits has some 200,000."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unknown(Exception):
    """A fact that cannot be had here; the text says why."""


def gather(gatherers: Mapping[str, Gatherer], ask: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every fact as `{"value": …}`, or `{"unknown": why}`. Never raises for a fact."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        waiting = {name: pool.submit(_one, function, ask) for name, function in gatherers.items()}
        return {name: future.result() for name, future in waiting.items()}


def _one(function: Gatherer, ask: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"value": function(ask)}
    except Unknown as error:
        return {"unknown": str(error)}
    except PermissionError as error:
        return {"unknown": f"needs root: {error.filename} may not be read"}
    except Exception as error:  # a host is full of surprises; the others go on
        return {"unknown": f"{type(error).__name__}: {error}"}


def run(*command: str, ok: tuple[int, ...] = (0,)) -> str:
    """The output of a command. Raises Unknown when it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=COMMAND_TIMEOUT,
            env={"PATH": _PATH, "LC_ALL": "C", "SYSTEMD_PAGER": "", "HOME": os.environ.get("HOME", "/")},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unknown(f"{command[0]} is not installed") from error
    except OSError as error:
        raise Unknown(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Unknown(f"{command[0]} did not end within {COMMAND_TIMEOUT:g} s") from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode not in ok:
        said = (done.stderr.decode("utf-8", "replace").strip() or text.strip()).split("\n")[0]
        root = "" if os.geteuid() == 0 else "needs root: "
        raise Unknown(f"{root}{' '.join(command[:3])} ended with {done.returncode}: {said[:200]}")
    if len(text) > MAX_OUTPUT:
        raise Unknown(f"{command[0]} wrote more than {MAX_OUTPUT:,} characters")
    return text


def need_root(what: str) -> None:
    """Raises Unknown for anybody but root."""
    if os.geteuid() != 0:
        raise Unknown(f"needs root: {what}")


def read(path: str | Path, limit: int = 1_000_000) -> str:
    """The beginning of a file. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(limit)


def pairs(text: str, separator: str = "=") -> dict[str, str]:
    """`NAME=value` lines as a mapping."""
    lines = (line.partition(separator) for line in text.splitlines() if separator in line)
    return {name.strip(): value.strip() for name, _, value in lines}


def show(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit by `systemctl show`; works as nobody. Raises Unknown without systemd."""
    return pairs(run("systemctl", "show", "-p", ",".join(properties), "--", unit))


def active(units: tuple[str, ...]) -> list[str]:
    """Which of the units run; one call for all of them."""
    return _units(units, "ActiveState", {"active"})


def enabled(units: tuple[str, ...]) -> list[str]:
    """Which of the units start at boot."""
    return _units(units, "UnitFileState", {"enabled", "enabled-runtime", "static", "alias", "generated"})


def _units(units: tuple[str, ...], name: str, wanted: set[str]) -> list[str]:
    """systemd answers in the order asked, a block for each unit, also for those that there are not."""
    blocks = run("systemctl", "show", "-p", name, "--", *units).strip("\n").split("\n\n")
    if len(blocks) != len(units):
        raise Unknown(f"systemctl told of {len(blocks)} units, not of {len(units)}")
    return [unit for unit, block in zip(units, blocks) if pairs(block).get(name) in wanted]  # noqa: B905  # Python 3.9
