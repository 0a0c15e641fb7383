"""The maps that HAProxy holds."""

from __future__ import annotations

from collections.abc import Mapping

from nodegate.haproxy import reports
from nodegate.policy.compile import HEIGHT


class MapReader:
    """Reads maps. Every pass asks for all of them, and those of thousands of lines hardly ever change: a reply that is
    the same as the last one is not read again."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, dict[str, str]]] = {}

    def read(self, name: str, reply: str) -> Mapping[str, str]:
        """The entries of map `name` from the reply to `show map`, without the heights, which change all the time and
        belong to no plan. Raises Malformed, or Refused when there is no such map."""
        last = self._last.get(name)
        if last is not None and last[0] == reply:
            return last[1]
        entries = {key: value for key, value in reports.read_map(reply).items() if not key.startswith(HEIGHT)}
        self._last[name] = (reply, entries)
        return entries
