"""What the API works with; chosen in `nodegate.wiring`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from nodegate.model import Snapshot
from nodegate.ports import Adapter, Clock, Registry
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """`snapshot` gives what the daemon knows now; `wake` asks it for a pass at once.

    `token` is the bearer token that every caller must show. `haproxy_metrics` gives the text of HAProxy's
    own exporter and raises Unavailable when HAProxy does not answer. `clock` is the daemon's.
    """

    snapshot: Callable[[], Snapshot]
    registry: Registry
    adapters: Mapping[str, Adapter]
    settings: Settings
    token: str
    wake: Callable[[], None]
    telemetry: Telemetry
    haproxy_metrics: Callable[[], Awaitable[bytes]]
    clock: Clock
