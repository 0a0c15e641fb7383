"""What the API works with; chosen in `nodegate.wiring`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nodegate.alerting.service import Alerting
from nodegate.dataplane.tables import Ban, Tables
from nodegate.model import Instant, Snapshot
from nodegate.policy.inforce import Policies
from nodegate.ports import Adapter, Clock, Registry
from nodegate.scaling import PoolScaling
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry
from nodegate.views.cluster import GatewaysDocument
from nodegate.views.registrations import (
    RegistrationBanRow,
    RegistrationBansDocument,
    RegistrationRow,
    RegistrationsDocument,
    RegistrationsEnded,
)


class Firewall(Protocol):
    """HAProxy's counters and bans (`nodegate.dataplane.firewall`). All raise Unavailable."""

    async def tables(self) -> Tables:
        """What is counted now."""
        ...

    async def ban(self, client: str, seconds: float) -> Ban:
        """Ban an address or an IPv6 /64. Raises Malformed, and Refused where no policy is in force."""
        ...

    async def unban(self, client: str) -> bool:
        """Lift a ban; False when there was none."""
        ...


class Registrations(Protocol):
    """The operator's side of the registration page (`nodegate.portal.operator`). All raise Unavailable."""

    async def listed(self, state: str | None = None) -> RegistrationsDocument:
        """All registrations, or those in one state. Raises BadDocument for a word that is none."""
        ...

    async def approve(self, registration_id: str) -> RegistrationRow:
        """Let a waiting node join. Raises NotFound, Conflict."""
        ...

    async def reject(self, registration_id: str, reason: str) -> RegistrationRow:
        """Do not take a node, or take it out. Raises NotFound, Conflict."""
        ...

    async def bans(self) -> RegistrationBansDocument:
        """Who may not register."""
        ...

    async def ban(self, subject: str, reason: str) -> RegistrationsEnded:
        """Ban an e-mail address, `@domain`, address or network. Raises BadDocument."""
        ...

    async def unban(self, subject: str) -> RegistrationBanRow:
        """Lift a ban. Raises NotFound, BadDocument."""
        ...


class Point(Protocol):
    """The mean of one step that begins at `at`."""

    @property
    def at(self) -> Instant: ...
    @property
    def value(self) -> float: ...


class History(Protocol):
    """The last hour in memory (`nodegate.daemon.history`)."""

    def names(self) -> Sequence[str]:
        """The series that there are now."""
        ...

    def series(self, name: str, *, since: Instant, points: int) -> Sequence[Point]:
        """At most `points` means since then, oldest first."""
        ...

    def node_series(self, node_id: str, name: str, *, since: Instant, points: int) -> Sequence[Point]:
        """The same of a node's `height` or `latency`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """`snapshot` gives what the daemon knows now; `wake` asks it for a pass at once.

    `token` is the bearer token that every caller must show. `haproxy_metrics` gives the text of HAProxy's
    own exporter and raises Unavailable when HAProxy does not answer. `clock` is the daemon's. `directory` is
    the state directory, where the access log lies. `scaling` tells of the pools that are kept at their size.
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
    policies: Policies
    firewall: Firewall
    directory: Path
    scaling: Callable[[], tuple[PoolScaling, ...]] = lambda: ()
    registrations: Registrations | None = None
    """None while there is no portal."""
    gateways: Callable[[], GatewaysDocument] = lambda: GatewaysDocument(me=None)
    """The gateways of the cluster, as this one knows them."""
    alerting: Alerting | None = None
    """Events and alerts; None: nothing is kept."""
    history: History | None = None
    """The last hour; None: it is not kept."""
