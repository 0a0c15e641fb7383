"""What an operator brings to a host: nodegate as a wheel of this checkout, and a jar that the JVM runs as a node."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
NODE = Path(__file__).parent / "java" / "LabNode.java"
OLDEST = "11"
"""The Java that IRI asks for."""


def wheel(folder: Path) -> str:
    """Build the wheel in the folder; its name."""
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CHECKOUT)
    (made,) = folder.glob("nodegate-*.whl")
    return made.name


def jar(path: Path) -> None:
    """Compile the node. Skips the test where there is no compiler."""
    if shutil.which("javac") is None:
        pytest.skip("needs javac: Debian package default-jdk-headless")
    classes = path.with_suffix(".classes")
    _run("javac", "--release", OLDEST, "-d", classes, NODE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", f"Manifest-Version: 1.0\r\nMain-Class: {NODE.stem}\r\n\r\n")
        for file in sorted(classes.iterdir()):
            archive.write(file, file.name)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]}"
