"""Kinds of nodes, as adapters: what to ask a node, and how to read what it answers.

Adapters are pure. They are found by entry points of the group `nodegate.protocols` (the name is the kind),
so another package can add a kind without a change here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

from nodegate.errors import NotFound, Unavailable
from nodegate.ports import Adapter

GROUP = "nodegate.protocols"


@cache
def adapters() -> Mapping[str, Adapter]:
    """All installed adapters by kind, in order of name.

    Raises Unavailable when one cannot be loaded or two packages claim one kind: a kind that is missing in
    silence would leave its nodes without probes.
    """
    found: dict[str, Adapter] = {}
    owners: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        owner = f"{point.value} of {point.dist.name}" if point.dist is not None else point.value
        if owners.setdefault(point.name, owner) != owner:
            raise Unavailable(
                f"two packages claim the node kind {point.name!r}: {owners[point.name]} and {owner}; uninstall one"
            )
        try:
            found[point.name] = point.load()()
        except Exception as error:  # a plug-in may fail in any way while it is imported
            raise Unavailable(
                f"the node kind {point.name!r} ({owner}) cannot be loaded: {type(error).__name__}: {error}; "
                "reinstall or uninstall that package"
            ) from error
    return MappingProxyType(found)


def adapter_of(kind: str) -> Adapter:
    """The adapter of `kind`. Raises NotFound, naming the kinds that exist."""
    known = adapters()
    if kind not in known:
        raise NotFound(f"there is no node kind {kind!r}; known are {', '.join(known)}")
    return known[kind]
