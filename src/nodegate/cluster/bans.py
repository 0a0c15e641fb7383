"""Bans that reach every gateway.

HAProxies tell each other of every ban as it happens, automatic ones too, where `cluster.peers` is set. An
operator's bans are kept in Consul besides, so that they hold where no peers are set, reach a gateway that was
cut off, and come back after a restart of all HAProxies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, unquote

from nodegate.cluster.records import BANS, BanRecord, ban_json, read_ban
from nodegate.cluster.share import owner
from nodegate.consul.kv import Entry, KeyValues
from nodegate.errors import Conflict, Malformed, NodegateError, NotFound, Refused
from nodegate.model import Instant, Seconds
from nodegate.ports import Clock

log = logging.getLogger("nodegate.cluster")

RETRY = Seconds(2.0)
WAIT = Seconds(30.0)
KEPT = 3600.0
"""Seconds that a ban which is over stays in Consul: longer than any gateway is cut off without being noticed."""
LIFTED_FOR = 600.0
"""Seconds in which the end of a ban is obeyed by a gateway that had not heard of it; later it could lift a ban
of a policy that came after."""


class BanLike(Protocol):
    """A ban as HAProxy counts it."""

    @property
    def client(self) -> str: ...
    @property
    def until(self) -> Instant: ...


B_co = TypeVar("B_co", bound=BanLike, covariant=True)
T_co = TypeVar("T_co", covariant=True)


class LocalFirewall(Protocol[B_co, T_co]):
    """This gateway's HAProxy (`nodegate.dataplane.firewall`)."""

    async def tables(self) -> T_co: ...
    async def ban(self, client: str, seconds: float) -> B_co: ...
    async def unban(self, client: str) -> bool: ...


class SharedBans(Generic[B_co, T_co]):
    """Counters and bans as the admin API uses them, with bans that reach all gateways.

    `living` names the gateways that live. `incarnation` changes when HAProxy may have lost its tables.
    """

    def __init__(
        self,
        local: LocalFirewall[B_co, T_co],
        keys: KeyValues,
        *,
        me: str,
        living: Callable[[], Collection[str]],
        incarnation: Callable[[], object],
        clock: Clock,
    ) -> None:
        self._local = local
        self._keys = keys
        self._me = me
        self._living = living
        self._incarnation = incarnation
        self._clock = clock
        self._obeyed: dict[str, int] = {}
        self._obeyed_by: object = None
        self._unwritten: dict[str, BanRecord] = {}
        self._lost: str | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong now, one sentence each."""
        faults = [] if self._lost is None else [self._lost]
        if self._unwritten:
            faults.append(
                f"{len(self._unwritten)} bans are not in Consul yet; they are written when it is back"
            )
        return tuple(faults)

    async def tables(self) -> T_co:
        """As the local one."""
        return await self._local.tables()

    async def ban(self, client: str, seconds: float) -> B_co:
        """Refuse a client on all gateways. It holds here when this returns, whether Consul can be reached or
        not; raises as the local one."""
        found = await self._local.ban(client, seconds)
        await self._tell(found.client, found.until)
        return found

    async def unban(self, client: str) -> bool:
        """Lift a ban on all gateways; False when there was none anywhere. Raises as the local one."""
        lifted = await self._local.unban(client)
        try:
            known = await self._record(client)
        except NodegateError:
            known = None
        if lifted or (known is not None and known.until > self._clock.now()):
            await self._tell(client, Instant(0.0))
            return True
        return False

    async def follow(self) -> None:
        """Obey the bans in Consul, for ever."""
        index = 0
        while True:
            try:
                await self._write_rest()
                listing = await self._keys.below(BANS, index=index, wait=RETRY if self._obeyed else WAIT)
                await self._obey(listing.entries)
                await self._clean(listing.entries)
            except NodegateError as error:
                self._lost = f"bans of other gateways cannot be read: {error}"
                index = 0
                await asyncio.sleep(RETRY)
                continue
            self._lost = None
            index = listing.index if listing.index >= index else 0

    async def _record(self, client: str) -> BanRecord | None:
        key = _key(client)
        entry = await self._keys.get(key)
        return None if entry is None else read_ban(key, entry.value)

    async def _tell(self, client: str, until: Instant) -> None:
        """Write the ban, or its end; what cannot be written is written later."""
        self._unwritten[client] = BanRecord(until=until, by=self._me, at=self._clock.now())
        try:
            await self._write_rest()
        except NodegateError as error:
            log.warning("the ban of %s is not in Consul yet: %s", client, error)

    async def _write_rest(self) -> None:
        for client, record in list(self._unwritten.items()):
            key = _key(client)
            self._obeyed[key] = await self._keys.put(key, ban_json(record))
            if self._unwritten.get(client) is record:
                del self._unwritten[client]

    async def _obey(self, entries: Mapping[str, Entry]) -> None:
        anew = self._obeyed_by != (incarnation := self._incarnation())
        now = self._clock.now()
        for key, entry in entries.items():
            known, client = self._obeyed.get(key) == entry.version, _client(key)
            if client in self._unwritten or (known and not anew):
                continue
            try:
                record = read_ban(key, entry.value)
                if record.until > now:
                    await self._local.ban(client, record.until - now)
                elif not known and record.until <= 0 and now - record.at < LIFTED_FOR:
                    await self._local.unban(client)
            except (Malformed, Refused) as error:
                log.warning("the ban in Consul key %s is not in force here: %s", key, error)
            self._obeyed[key] = entry.version
        self._obeyed = {key: version for key, version in self._obeyed.items() if key in entries}
        self._obeyed_by = incarnation

    async def _clean(self, entries: Mapping[str, Entry]) -> None:
        """Remove what has been over for long; one gateway does it for all."""
        old = self._clock.now() - KEPT
        for key, entry in entries.items():
            if owner(key, {*self._living(), self._me}) != self._me:
                continue
            try:
                record = read_ban(key, entry.value)
                if max(record.until, record.at) < old:
                    await self._keys.delete(key, version=entry.version)
            except (Malformed, NotFound, Conflict):
                continue


def _key(client: str) -> str:
    return f"{BANS}{quote(client, safe=':')}"


def _client(key: str) -> str:
    return unquote(key.removeprefix(BANS))
