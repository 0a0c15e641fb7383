"""`nodegate version`."""

from __future__ import annotations

import platform

from nodegate import __version__
from nodegate.cli.options import AsJson


def version(as_json: AsJson = False) -> None:
    """Print the versions of nodegate, Python, and the HAProxy that would be started."""
    from nodegate.cli import output

    versions = {"nodegate": __version__, "python": platform.python_version(), "haproxy": _haproxy()}
    if as_json:
        output.print_json(versions)
        return
    for name, text in versions.items():
        print(f"{name} {text or 'not found'}")


def _haproxy() -> str | None:
    """Version of the HAProxy that comes with nodegate or is in PATH, None if there is none that fits."""
    from nodegate.dataplane.binary import find_haproxy
    from nodegate.errors import Unsafe

    try:
        return find_haproxy().version
    except Unsafe:
        return None
