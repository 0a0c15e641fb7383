"""Words for shell completion. Silent when the daemon cannot be asked: a shell prompt is no place for errors."""

from __future__ import annotations

from nodegate.errors import NodegateError

PATIENCE = 1.0
"""Seconds a pressed tab key may wait for the daemon."""


def node_ids(incomplete: str) -> list[str]:
    """Ids of the daemon's nodes that begin with `incomplete`."""
    return _words("id", incomplete)


def pools(incomplete: str) -> list[str]:
    """Pools of the daemon's nodes that begin with `incomplete`."""
    return _words("pool", incomplete)


def kinds(incomplete: str) -> list[str]:
    """Kinds of node that are installed and begin with `incomplete`."""
    from importlib.metadata import entry_points

    names = {entry.name for entry in entry_points(group="nodegate.protocols")}
    return sorted(name for name in names if name.startswith(incomplete))


def _words(field: str, incomplete: str) -> list[str]:
    import os

    from nodegate.cli.client import AdminClient
    from nodegate.cli.target import find_daemon

    try:
        target = find_daemon(None, os.environ.get("NODEGATE_ADMIN"), os.environ.get("NODEGATE_TOKEN"))
        with AdminClient(target, timeout=PATIENCE) as client:
            words = {str(getattr(row, field)) for row in client.nodes().nodes}
    except NodegateError:
        return []
    return sorted(word for word in words if word.startswith(incomplete))
