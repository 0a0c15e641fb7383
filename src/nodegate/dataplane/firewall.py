"""What HAProxy counts of methods, rules and clients, and whom it refuses for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from nodegate.dataplane import tables
from nodegate.dataplane.socket import RuntimeSocket
from nodegate.dataplane.tables import Ban, Tables
from nodegate.errors import Malformed, Refused, Unavailable
from nodegate.haproxy import wire
from nodegate.haproxy.counters import BANS, CLIENTS_1M
from nodegate.haproxy.guarded import Guarded
from nodegate.model import Instant


class HaproxyFirewall:
    """Reads and sets over the runtime socket. `guarded` says which pools are under a policy now."""

    def __init__(self, runtime: RuntimeSocket, guarded: Callable[[], Guarded]) -> None:
        self._runtime = runtime
        self._guarded = guarded

    async def tables(self) -> Tables:
        """HAProxy's counters. Raises Unavailable when HAProxy does not answer."""
        return await self._read(tables.READ, tables.read_tables)

    async def refusals(self) -> Tables:
        """Rules and bans alone, which costs little however many clients there are. Raises as `tables`."""
        return await self._read(tables.READ_REFUSALS, tables.read_refusals)

    async def ban(self, client: str, seconds: float) -> Ban:
        """Refuse a client for some seconds. Raises Malformed for what is no address, Refused when no policy
        is in force, Unavailable when HAProxy does not answer."""
        key = tables.counted_as(client)
        if not self._guarded().used:
            raise Refused("no pool has a policy, so nobody can be banned")
        until = int(time.time() + seconds)
        command = wire.set_table(BANS, key, {"gpt0": until, "gpc0": 0})
        for reply in await self._runtime.send([command]):
            wire.accepted(reply)
        return Ban(client=key, until=Instant(until), automatic=False)

    async def unban(self, client: str) -> bool:
        """Lift a ban; False when there was none. Raises as `ban`."""
        key = tables.counted_as(client)
        if all(ban.client != key for ban in (await self.tables()).bans):
            return False
        # Its refusals are forgotten too, else the next one within the minute would ban anew.
        sharing = self._guarded().sharing
        accounts = [f"{policy.kind}|{key}{sharing.own_mark}" for policy in self._guarded().used]
        # Other gateways hear of what is set, never of what is cleared.
        lift = wire.set_table(BANS, key, {"gpt0": 0, "gpc0": 0})
        forget = [lift if sharing.listen else wire.clear_table(BANS, key)]
        forget += [wire.clear_table(CLIENTS_1M, account) for account in accounts]
        replies = await self._runtime.send(forget)
        wire.accepted(replies[0])
        return True

    async def _read(
        self, names: Sequence[str], understood: Callable[[tuple[str, ...], Instant], Tables]
    ) -> Tables:
        if not self._guarded().used:
            return Tables()
        replies = await self._runtime.send([wire.show_table(name) for name in names])
        try:
            return await asyncio.to_thread(understood, replies, Instant(time.time()))
        except (Malformed, Refused) as error:
            raise Unavailable(str(error)) from error
