"""The check of a node that somebody wants to add: the probe of `nodegate check`, at an address that may be asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from nodegate.errors import Unavailable
from nodegate.health import Finding, assess, criteria_of
from nodegate.health.rules import down
from nodegate.model import Failure, FailureKind, Node, Observation, PoolView, Reading, Snapshot, Status
from nodegate.portal.advice import Advice, advice_on, facts
from nodegate.portal.places import forbidden, host_and_port, within
from nodegate.ports import Adapter, Clock
from nodegate.probe.addresses import is_address, resolve
from nodegate.probe.exchange import Target, Upstream
from nodegate.probe.once import probe_once
from nodegate.settings import Settings

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]

MOST_ADDRESSES = 3
"""Addresses of one name that are tried: an answer with hundreds must not keep the check busy."""
TIMEOUT = 5.0
"""Seconds for one address, as `nodegate check` has it."""
AT_ONCE = 8
"""Checks under way at once; more wait for a moment, then the page asks to try again."""
PATIENCE = 10.0
LOOKUP = 5.0


_NOT_PUBLIC = (
    "Give the address at which the internet reaches your node: that of your router, if it forwards the port."
)
_OTHER = "Give the address of your own node."


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What the check found. `address` is the one that was asked, None when none may be."""

    advice: tuple[Advice, ...]
    address: str | None = None
    facts: str = ""

    @property
    def good(self) -> bool:
        """Whether the node may join."""
        return self.address is not None and not any(item.grave for item in self.advice)


class Examiner:
    """Checks nodes, a few at once."""

    def __init__(
        self,
        settings: Settings,
        adapters: Mapping[str, Adapter],
        upstreams: Mapping[str, Upstream],
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        *,
        look_up: Resolve = resolve,
    ) -> None:
        self._settings = settings
        self._adapters = adapters
        self._upstreams = upstreams
        self._clock = clock
        self._snapshot = snapshot
        self._look_up = look_up
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def examine(
        self,
        url: str,
        kind: str,
        pool: str,
        *,
        before: Callable[[Sequence[str]], Awaitable[None]] | None = None,
    ) -> Examined:
        """Check the node at a checked URL. The name is resolved once, all its addresses must be allowed, and
        exactly these are asked; `before` is told them first, and may raise. Raises Unavailable when too many checks
        are under way, or this machine cannot ask."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Unavailable("many nodes are being checked just now; try again in a minute") from error
        try:
            addresses = await self.addresses(url)
            if isinstance(addresses, Advice):
                return Examined(advice=(addresses,))
            examined, asked = Examined(advice=()), addresses[:MOST_ADDRESSES]
            if before is not None:
                await before(asked)
            for address in asked:
                examined = await self._ask(url, kind, pool, address)
                if examined.good:
                    break
            return examined
        finally:
            self._slots.release()

    async def addresses(self, url: str) -> tuple[str, ...] | Advice:
        """The addresses of a URL's host, all of them allowed, or why it is not taken."""
        host, port = host_and_port(url)
        found: tuple[str, ...] = (str(ip_address(host)),) if is_address(host) else ()
        if not found:
            try:
                async with asyncio.timeout(LOOKUP):
                    found = await self._look_up(host)
            except (OSError, UnicodeError):  # TimeoutError is one
                found = ()
        if not found:
            return _advice(Failure(kind=FailureKind.NAME, text=f"the name {host} does not resolve"))
        for address in found:
            if (why := forbidden(address, self._settings.portal.networks)) is not None:
                return Advice(text=f"{why}.", remedy=_NOT_PUBLIC, grave=True)
            if self._is_gateway(address, port):
                return Advice(text=f"{address}:{port} is this gateway itself.", remedy=_OTHER, grave=True)
        return found

    def _is_gateway(self, address: str, port: int) -> bool:
        """Whether requests would go around in a circle, or to what this machine has for itself: its firewall lets
        itself in at its public address too. Other nodes on this machine are for `portal.networks` to allow."""
        places = {tuple(place.rsplit(":", 1)) for place in self._settings.gateway.listen}
        if (f"[{address}]" if ":" in address else address, str(port)) in places:
            return True
        circle = str(port) in {listening for _, listening in places}
        return (circle or not within(address, self._settings.portal.networks)) and is_here(address)

    async def _ask(self, url: str, kind: str, pool: str, address: str) -> Examined:
        adapter = self._adapters[kind]
        # Looked at here only: asking for it again with every probe would cost each node three more requests.
        options = {"check_exposed": True} if kind == "iri" else {}
        node = Node(id="check", url=url, kind=kind, pool=pool, address=address, options=options)
        settings = self._settings.probe.model_copy(update={"timeout": TIMEOUT})
        target = Target.of(node, self._upstreams.get(pool))
        observation = await probe_once(adapter, node, settings, self._clock, target=target)
        found = self._judged(observation, adapter, pool)
        reading = observation.outcome
        return Examined(
            advice=advice_on(found),
            address=address,
            facts=facts(reading) if isinstance(reading, Reading) else "",
        )

    def _judged(self, observation: Observation, adapter: Adapter, pool: str) -> Failure | tuple[Finding, ...]:
        reading = observation.outcome
        if isinstance(reading, Failure):
            return reading
        criteria = criteria_of(adapter.criteria, self._settings.pool(pool))
        view = self._snapshot().judgement.pools.get(pool) or PoolView(pool=pool)
        if criteria.chain is None:
            criteria = replace(criteria, chain=view.chain)
        findings = assess(reading, criteria, now=observation.at, latency=observation.latency)
        behind = (view.height or 0) - (reading.height or 0)
        known = view.height is not None and reading.height is not None and criteria.max_lag is not None
        told = any(finding.rule == "lag" and finding.severity is Status.DOWN for finding in findings)
        # The pool moves on between its last pass and this answer: twice the allowance, it is no verdict yet.
        if known and not told and criteria.max_lag is not None and behind > 2 * criteria.max_lag + 1:
            findings += (down("lag", f"{behind:,} heights behind what the other nodes of this fleet have"),)
        return findings


def is_here(address: str) -> bool:
    """Whether an IP address is one of this machine's: it is asked from the very same address. That any address
    can be bound says nothing where `net.ipv4.ip_nonlocal_bind` is set, as it is for shared addresses."""
    ip = ip_address(address)
    if ip.is_loopback:
        return True
    with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # of a datagram socket: nothing is sent
        except OSError:
            return False
        return ip_address(str(probe.getsockname()[0]).partition("%")[0]) == ip


def _advice(failure: Failure) -> Advice:
    return advice_on(failure)[0]
