"""What the panes show at one moment, read over the admin API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from nodegate.errors import Malformed, NodegateError
from nodegate.views import NodeDetail, NodesDocument, StatusDocument
from nodegate.views.events import EventRow, EventsDocument
from nodegate.views.models import NodeRow
from nodegate.views.policy import BanRow, BansLifted, ClientRow, ClientsDocument

K = TypeVar("K")

EVENTS = 500
CLIENTS = 200
FAMILIES = ("requests", "errors", "failures")
_PREFIX = "nodegate_method_"


class Daemon(Protocol):
    """What is asked of the admin API; `nodegate.cli.client.AdminClient` answers."""

    url: str

    def status(self) -> StatusDocument: ...
    def nodes(self) -> NodesDocument: ...
    def clients(self, *, top: int, by: str) -> ClientsDocument: ...
    def events(self, *, after: int | None = None, limit: int = 100) -> EventsDocument: ...
    def metrics(self) -> str: ...
    def revise(self, node_id: str, changes: Mapping[str, object]) -> NodeDetail: ...
    def ban(self, address: str, seconds: float, reason: str | None) -> BanRow: ...
    def unban(self, address: str | None) -> BansLifted: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """One method of one kind of node. Counts are since HAProxy began to count; `rate` is requests per second since
    the look before, None at the first."""

    kind: str
    method: str
    requests: int
    errors: int
    failures: int
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything at one moment. `rates` are requests per second by node. `troubles` say, by pane, why a part
    is missing or old."""

    status: StatusDocument
    nodes: tuple[NodeRow, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    methods: tuple[MethodRow, ...] = ()
    clients: tuple[ClientRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)

    def client(self, key: str | None) -> ClientRow | None:
        """The client that stands in the row `key` of its pane."""
        return next((row for row in self.clients if client_key(row) == key), None)


def client_key(row: ClientRow) -> str:
    """What names a client's row for good."""
    return f"{row.client} {row.kind} {row.key or ''}"


@dataclass(slots=True)
class _Before:
    """Counters of the look before, and when that was."""

    at: float | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)
    methods: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Feed:
    """Reads looks. It keeps what the look before had, for rates, and the newest events."""

    def __init__(self, daemon: Daemon, now: Callable[[], float]) -> None:
        self._daemon = daemon
        self._now = now
        self._before = _Before()
        self._events: deque[EventRow] = deque(maxlen=EVENTS)
        self._last: int | None = None

    def look(self) -> Look:
        """A look; blocks. Raises as AdminClient when status or nodes cannot be read: nothing is worth showing then.
        A part that HAProxy or the event log keeps may be missing alone; its trouble says why."""
        status = self._daemon.status()
        nodes = self._daemon.nodes().nodes
        at = self._now()
        seconds = None if self._before.at is None else at - self._before.at
        troubles: dict[str, str] = {}
        methods = self._methods(seconds, troubles)
        clients = self._clients(troubles)
        self._follow(troubles)
        counts = {row.id: row.requests for row in nodes if row.requests is not None}
        rates = _rates(self._before.nodes, counts, seconds)
        self._before = _Before(
            at=at, nodes=counts, methods={(row.kind, row.method): row.requests for row in methods}
        )
        return Look(
            status=status,
            nodes=nodes,
            rates=rates,
            methods=methods,
            clients=clients,
            events=tuple(self._events),
            troubles=troubles,
        )

    def _methods(self, seconds: float | None, troubles: dict[str, str]) -> tuple[MethodRow, ...]:
        try:
            counted = parsed_methods(self._daemon.metrics())
        except NodegateError as error:
            troubles["methods"] = str(error)
            return ()
        if not counted:
            troubles["methods"] = "no method is counted: no pool has a policy, or HAProxy does not answer"
        requests = {key: values.get("requests", 0) for key, values in counted.items()}
        rates = _rates(self._before.methods, requests, seconds)
        return tuple(
            MethodRow(
                kind=key[0],
                method=key[1],
                requests=requests[key],
                errors=values.get("errors", 0),
                failures=values.get("failures", 0),
                rate=rates.get(key),
            )
            for key, values in counted.items()
        )

    def _clients(self, troubles: dict[str, str]) -> tuple[ClientRow, ...]:
        try:
            document = self._daemon.clients(top=CLIENTS, by="cost")
        except NodegateError as error:
            troubles["clients"] = str(error)
            return ()
        shown = {row.client for row in document.clients}
        return (*document.clients, *(_silent(ban) for ban in document.bans if ban.client not in shown))

    def _follow(self, troubles: dict[str, str]) -> None:
        try:
            document = self._daemon.events(after=self._last, limit=EVENTS)
        except NodegateError as error:
            troubles["events"] = str(error)
            return
        if self._last is not None and document.last < self._last:
            # Another log: the daemon was started with a new state directory.
            self._events.clear()
        self._events.extend(document.events)
        self._last = document.last


def _silent(ban: BanRow) -> ClientRow:
    """A banned client that HAProxy has no counters of, or that asks less than all that are shown."""
    counts = dict.fromkeys(("requests", "rate_10s", "concurrent", "cost_10s", "cost_1m", "refusals_1m"), 0)
    return ClientRow(client=ban.client, kind="", key=None, banned_until=ban.until, **counts)


def parsed_methods(text: str) -> dict[tuple[str, str], dict[str, int]]:
    """Counts by kind and method, from the metrics' text. Raises Malformed."""
    # The whole text has thousands of lines for a large fleet; a few dozen are about methods.
    lines = [line for line in text.splitlines() if line.startswith(_PREFIX)]
    found: dict[tuple[str, str], dict[str, int]] = {}
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                what = sample.name.removeprefix(_PREFIX).removesuffix("_total")
                if what in FAMILIES:
                    key = sample.labels["kind"], sample.labels["method"]
                    found.setdefault(key, {})[what] = int(sample.value)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise Malformed(f"the gateway's metrics cannot be read: {error}") from error
    return found


def _rates(before: Mapping[K, int], now: Mapping[K, int], seconds: float | None) -> dict[K, float]:
    """Per second. A counter that went back was started anew: what it counts now has come since."""
    if not seconds or seconds <= 0:
        return {}
    return {
        key: (value - before[key] if value >= before[key] else value) / seconds
        for key, value in now.items()
        if key in before
    }
