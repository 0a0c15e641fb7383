"""A simulated IRI node: from an HTTP request to an answer, in the order in which IRI checks. Pure.

The order: header, length, JSON, command, remote limit, route. Two releases are spoken: 1.8.6, the last one,
and 1.4.1.7, which stood when the public nodes were stalled in January 2018. They differ in commands, in the
status of validation errors and in some fields; see `Release`. One weakness of the old release is left in the
new one on purpose, unless `IriProfile.stall` is zero: tip selection from an old reference takes long while
it holds the lock of the serialised commands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nodegate.errors import Malformed
from nodegate.lab.answers import Rejected, Reply, Work
from nodegate.lab.faults import Fault, FaultName
from nodegate.lab.gson import request_map
from nodegate.lab.http1 import Request
from nodegate.lab.tangle import Milestone, Tangle
from nodegate.lab.trytes import made_up
from nodegate.model import Instant, Seconds

Params = Mapping[Any, Any]
Handler = Callable[["IriNode", Params], Work]

_OPTIONS: Final = Reply(
    headers={
        "Content-Type": "text/plain",
        "Allow": "GET,HEAD,POST,PUT,DELETE,TRACE,OPTIONS,CONNECT,PATCH",
        "Access-Control-Allow-Headers": (
            "User-Agent, Origin, X-Requested-With, Content-Type, Accept, X-IOTA-API-Version"
        ),
    }
)
_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Keep-Alive": "timeout=500, max=100",
    "Content-Type": "application/json",
}
NO_TIME: Final = Seconds(0.0)
STALL: Final = Seconds(20.0)  # shorter than what was measured in 2018 (up to minutes), so that a lab recovers
WALK: Final = Seconds(0.02)
POW: Final = Seconds(0.05)  # as a graphics card would; no work is done
MAX_BODY_CHARACTERS: Final = 1_000_000
MAX_REQUEST_LIST: Final = 1_000
MAX_FIND: Final = 100_000
MAX_TRYTES: Final = 10_000
MAX_DEPTH: Final = 15
MAX_NEIGHBORS: Final = 5

SERIALISED: Final = frozenset(
    {"getTransactionsToApprove", "attachToTangle", "findTransactions", "getTrytes", "getTips"}
)
"""Commands that share one lock, as the API's synchronized methods do."""

NEIGHBOR_COMMANDS: Final = frozenset({"getNeighbors", "addNeighbors", "removeNeighbors"})
POW_COMMANDS: Final = frozenset({"attachToTangle", "interruptAttachingToTangle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What changed between releases of IRI, as far as a client can see it."""

    app_version: str
    added: frozenset[str]  # commands that only this one of the two releases has
    validation_status: int
    validation_key: str
    syntax_status: int  # of a body that is not JSON, and of an empty one
    syntax_key: str
    describes_features: bool  # getNodeInfo has features, coordinatorAddress and the snapshot fields
    asks_threshold: bool  # getBalances needs a threshold
    asks_tips: bool  # getInclusionStates needs tips
    knows_unsynced: bool  # refuses what it cannot answer while it lags
    cannot_be_executed: str
    remote_limited: frozenset[str]


RELEASES: Final[Mapping[str, Release]] = {
    "1.8.6": Release(
        app_version="1.8.6-RELEASE",
        added=frozenset({"getNodeAPIConfiguration", "wereAddressesSpentFrom"}),
        validation_status=500,
        validation_key="exception",
        syntax_status=400,
        syntax_key="error",
        describes_features=True,
        asks_threshold=False,
        asks_tips=False,
        knows_unsynced=True,
        cannot_be_executed="This operation cannot be executed",
        remote_limited=NEIGHBOR_COMMANDS | POW_COMMANDS,
    ),
    "1.4.1.7": Release(
        app_version="1.4.1.7",
        added=frozenset({"getTips", "setApiRateLimit"}),
        validation_status=400,
        validation_key="error",
        syntax_status=500,
        syntax_key="exception",
        describes_features=False,
        asks_threshold=True,
        asks_tips=True,
        knows_unsynced=False,
        cannot_be_executed="This operations cannot be executed",
        remote_limited=frozenset(),
    ),
}
DEFAULT_RELEASE: Final = "1.8.6"


@dataclass(frozen=True, slots=True, kw_only=True)
class IriProfile:
    """What distinguishes one simulated IRI node from another. Times are in seconds."""

    id: str
    release: Release = RELEASES[DEFAULT_RELEASE]
    remote_limited: frozenset[str] = RELEASES[DEFAULT_RELEASE].remote_limited
    neighbors: tuple[str, ...] = ()
    delay: Seconds = NO_TIME  # from a milestone's issue until the node sees it
    solidify: Seconds = NO_TIME  # from seeing it until it is solid
    stall: Seconds = STALL  # tip selection from an old reference; 0: refused, as since 1.4.2.1
    walk: Seconds = WALK  # tip selection otherwise
    work: Seconds = POW  # proof of work of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the node believes of the network now."""

    latest: Milestone
    solid: Milestone

    @property
    def synchronised(self) -> bool:
        """IRI's own rule since 1.8.1."""
        return self.solid.index >= self.latest.index - 1


class IriNode:
    """One node: its profile, its neighbours and its fault; the tangle is shared by all."""

    kind = "iri"

    def __init__(self, profile: IriProfile, tangle: Tangle, commands: Mapping[str, Handler]) -> None:
        self.profile = profile
        self.tangle = tangle
        self.neighbors = list(profile.neighbors)
        self.joined: dict[str, int] = {}
        """The newest milestone when a neighbour was added; those of the profile were always there."""
        self.started = tangle.latest(Instant(float("inf"))).index
        self._commands = commands
        self._fault: Fault | None = None
        self._since = Instant(0.0)
        self._silent: frozenset[str] = frozenset()

    def suffer(self, fault: Fault | None, now: Instant) -> None:
        self._fault, self._since = fault, now
        silent = fault is not None and fault.name is FaultName.SILENT
        self._silent = frozenset(self.neighbors[-fault.neighbours :] if fault and silent else ())

    def headers(self) -> Mapping[str, str]:
        return _HEADERS

    def height(self, now: Instant) -> int:
        return self.view(now).solid.index

    @property
    def wrong_chain(self) -> bool:
        return self._fault is not None and self._fault.name is FaultName.WRONG_CHAIN

    @property
    def coordinator(self) -> str:
        """The network's identity."""
        return made_up(f"{self.tangle.seed}/another network") if self.wrong_chain else self.tangle.coordinator

    def view(self, now: Instant) -> View:
        """The milestones the node knows, as its delay and its fault let it see them."""
        fault = self._fault
        if fault is not None and fault.name is FaultName.FROZEN:
            now = min(now, self._since)
        latest = self.tangle.latest(Instant(now - self.profile.delay))
        solid = self.tangle.latest(Instant(now - self.profile.delay - self.profile.solidify))
        if fault is not None and fault.name is FaultName.LIE:
            latest = solid = self.tangle.milestone(latest.index + fault.milestones)
        if fault is not None and fault.name is FaultName.LAG:
            solid = self.tangle.milestone(max(0, latest.index - fault.milestones))
        return View(latest=latest, solid=solid)

    def heard(self, uri: str, now: Instant) -> int:
        """The newest milestone that a neighbour has brought, counted from when it was added."""
        newest = self.tangle.latest(min(now, self._since) if uri in self._silent else now).index
        return max(0, newest - self.joined.get(uri, 0))

    def admit(self, request: Request, now: Instant) -> tuple[str, Reply | Work]:
        if request.method == "OPTIONS":
            return "OPTIONS", _OPTIONS
        try:
            params, command = self._understood(request)
        except Rejected as rejected:
            return "unreadable", rejected.reply
        known = command in self._commands and self._has(command)
        counted = command if known else "unknown"
        if command in self.profile.remote_limited:
            return counted, error(f"COMMAND {command} is not available on this node", status=401)
        if not known:
            return counted, error(f"Command [{command}] is unknown")
        try:
            return counted, self._commands[command](self, params)
        except Rejected as rejected:
            return counted, rejected.reply

    def _has(self, command: str) -> bool:
        release = self.profile.release
        others = frozenset[str]().union(*(other.added for other in RELEASES.values())) - release.added
        return command not in others

    def _understood(self, request: Request) -> tuple[Params, str]:
        """The request's parameters and its command. Raises Rejected."""
        release = self.profile.release
        if "x-iota-api-version" not in request.headers:
            raise Rejected(error("Invalid API Version"))
        text = request.body.decode("utf-8", "replace")
        if len(text) > MAX_BODY_CHARACTERS // 2 and _java_length(text) > MAX_BODY_CHARACTERS:
            raise Rejected(error("Request too long"))
        try:
            params = request_map(text)
        except Malformed as malformed:
            document = {release.syntax_key: f"Invalid JSON syntax: {malformed}"}
            raise Rejected(Reply(status=release.syntax_status, document=document)) from malformed
        if params is None:
            document = {release.syntax_key: f"Invalid request payload: '{text}'"}
            raise Rejected(Reply(status=release.syntax_status, document=document))
        command = params.get("command")
        if command is None:
            raise Rejected(error("COMMAND parameter has not been specified in the request."))
        if not isinstance(command, str):
            raise Rejected(exception(f"{java_class(command)} cannot be cast to java.lang.String"))
        return params, command

    def encode(self, reply: Reply, duration: Seconds) -> bytes:
        if reply.document is None:
            return b""
        return json.dumps(
            {**reply.document, "duration": int(duration * 1000)}, separators=(",", ":")
        ).encode()

    def __repr__(self) -> str:
        return f"<IriNode {self.profile.id} fault={self._fault.name if self._fault else None}>"


def error(text: str, *, status: int = 400) -> Reply:
    """IRI's answer to a request that it understands and does not serve."""
    return Reply(status=status, document={"error": text})


def exception(text: str | None) -> Reply:
    """IRI's answer when its code throws; without a text there is none in the document either."""
    return Reply(status=500, document={"exception": text} if text is not None else {})


def unsynced(node: IriNode, now: Instant) -> Reply | None:
    """What a node that lags says to questions it cannot answer then; None when it does not lag."""
    release = node.profile.release
    if not release.knows_unsynced or node.view(now).synchronised:
        return None
    return error(f"{release.cannot_be_executed}: The subtangle has not been updated yet.")


def work(command: str, run: Callable[[Instant], Reply], **more: Any) -> Work:
    """The work of a command; it is serialised if the command is."""
    return Work(command=command, run=run, serialised=command in SERIALISED, **more)


def ok(**document: Any) -> Reply:
    """A command's good answer."""
    return Reply(document=document)


def java_class(value: object) -> str:
    """The Java class that Gson makes of a value, as IRI's messages name it."""
    if isinstance(value, bool):
        return "java.lang.Boolean"
    if isinstance(value, int | float):
        return "java.lang.Double"
    if isinstance(value, list):
        return "java.util.ArrayList"
    return "com.google.gson.internal.LinkedTreeMap"


def _java_length(text: str) -> int:
    """Length in UTF-16 units, which is what Java counts."""
    return len(text) + sum(1 for letter in text if ord(letter) > 0xFFFF)
