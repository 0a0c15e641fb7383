"""What Fabio's operators keep in Consul's keys and nodegate does not obey: said, so that nobody looks for its effect."""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import Entry, KeyValues
from nodegate.errors import Refused
from nodegate.model import Instant

PREFIX = "fabio/"
COMMANDS = "fabio/config"
"""Fabio reads route commands from this key and all below it (`registry.consul.kvpath`)."""
NO_ROUTE = "fabio/noroute.html"
"""The page for requests without a route (`registry.consul.noroutehtmlpath`)."""
EVERY = 30.0
"""Seconds between two looks: people write these keys, rarely."""


class Leftovers:
    """Looks at Fabio's keys every now and then."""

    def __init__(self, client: ConsulClient) -> None:
        self._keys = KeyValues(client)
        self._looked_at: float = float("-inf")
        self._faults: tuple[str, ...] = ()

    async def faults(self, now: Instant) -> tuple[str, ...]:
        """One sentence for each thing that has no effect here. Raises as `KeyValues` does; a token that may not
        read these keys finds nothing."""
        if now - self._looked_at >= EVERY:
            try:
                found = (await self._keys.below(PREFIX, stale=True)).entries
            except Refused:
                found = {}
            self._faults, self._looked_at = without_effect(found), now
        return self._faults


def without_effect(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """What of Fabio's keys has no effect, one sentence for each key."""
    faults = []
    for key, entry in sorted(entries.items()):
        if key == COMMANDS or key.startswith(f"{COMMANDS}/"):
            if count := len(commands_in(entry.value)):
                faults.append(
                    f"Consul's key {key} has {count} route command{'s' if count > 1 else ''} for Fabio, which "
                    "nodegate does not obey: write them as tags of the services, or as pools with hosts and paths"
                )
        elif key == NO_ROUTE and entry.value.strip():
            faults.append(
                f"Consul's key {key} has a page for requests without a route, which nodegate does not show: "
                "it answers with fabio.no_route_status and no body"
            )
    return tuple(faults)


def commands_in(value: bytes) -> list[str]:
    """The lines of route commands; comments and blank lines are none."""
    lines = (line.strip() for line in value.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "//"))]
