"""nodegate with all that it needs, put into the root file system of a `hostlab` host: what pip would do there, had
the host a way out. The host needs Debian's `python3`, of the same version as the one that runs the tests."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

import nodegate

DEBIAN_PYTHON = (3, 11)
PROGRAM = "/opt/nodegate/bin/nodegate"
JAVA = "/opt/lab/java"

LAUNCHER = """\
#!/bin/sh
PYTHONPATH=/opt/nodegate/lib exec /usr/bin/python3 -m nodegate "$@"
"""
JAVA_LAUNCHER = """\
#!/bin/sh
# Stands in for Java: what IRI would be told as --port is where a lab node listens.
while [ $# -gt 0 ]; do
    if [ "$1" = --port ]; then port=$2; fi
    shift
done
exec /opt/nodegate/bin/nodegate lab nodes --count 1 --base-port "$port"
"""


def install(root: Path) -> None:
    """Install below `root`; skips the test where Debian's Python would not run these packages."""
    if sys.version_info[:2] != DEBIAN_PYTHON:
        pytest.skip("needs Python 3.11, as the Debian host has it, for the compiled packages")
    library = root / "opt/nodegate/lib"
    library.mkdir(parents=True)
    shutil.copytree(
        Path(nodegate.__file__).parent, library / "nodegate", ignore=shutil.ignore_patterns("__pycache__")
    )
    for found in _needed():
        _copy(found, library)
    for file in distribution("nodegate").files or []:
        if file.parent.name.endswith(".dist-info"):  # the kinds of node are found by entry points
            place = library / file
            place.parent.mkdir(exist_ok=True)
            shutil.copy(str(file.locate()), place)
    for place, text in ((PROGRAM, LAUNCHER), (JAVA, JAVA_LAUNCHER)):
        path = root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def _needed() -> list[Distribution]:
    """The distributions that nodegate needs without its extras, and theirs."""
    ahead, found = ["nodegate"], dict[str, Distribution]()
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or Python
        for line in found[name].requires or []:
            if "extra ==" not in line:
                match = re.match(r"[A-Za-z0-9._-]+", line)
                assert match is not None
                ahead.append(re.sub(r"[-_.]+", "-", match[0]).lower())
    del found["nodegate"]
    return list(found.values())


def _copy(found: Distribution, library: Path) -> None:
    for file in found.files or []:
        place = library / file
        if ".." in file.parts or not file.locate().is_file():
            continue  # scripts, and compiled files that pip only expected
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), place)
