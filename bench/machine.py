"""On what was measured: cores, memory, kernel, versions. No names of hosts."""

from __future__ import annotations

import os
import platform
from typing import Any

import psutil

from nodegate import __version__
from nodegate.dataplane.binary import find_haproxy


def facts() -> dict[str, Any]:
    """For the JSON files. `load_average` is that of the last minute before the start: other work on the
    machine makes times longer, and CPU seconds a little."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "nodegate": __version__,
        "haproxy": find_haproxy().version,
        "load_average": round(os.getloadavg()[0], 2),
    }
