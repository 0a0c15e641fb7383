"""This gateway among the others: it registers itself, watches who is there, and remembers them.

Level-triggered: whatever Consul lists is compared with what this gateway tells of itself, and written again when
it differs. So an agent that lost its data, or a registration that somebody removed, heals by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from nodegate.cluster.members import (
    Known,
    Member,
    Registration,
    definition,
    from_json,
    instance_id,
    members_in,
    meta_of,
    reachable,
    remember,
    to_json,
)
from nodegate.consul.client import ConsulClient, segment
from nodegate.errors import Malformed, NodegateError, Unavailable
from nodegate.model import Seconds
from nodegate.ports import Clock
from nodegate.systemfile.private import read_private, write_private

log = logging.getLogger("nodegate.cluster")

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the registration is as it should be; one that is missing is written again
then. A registration takes the agent a moment to pass on, so more often would write it twice."""
RETRY = 1.0
LONGEST_RETRY = 10.0
COALESCE = 0.05
"""Seconds between two reads of a list that changes: a check that turns and one that follows are one change."""
WAIT = Seconds(30.0)
"""Seconds that a read of an unchanged list blocks: how old the list may be while all is well."""
GOODBYE = 3.0
"""Seconds that deregistering may take at a stop."""


class Membership:
    """One gateway's place in the cluster. `describe` tells what it is now, `health` whether it works and why
    not (for Consul to be told, where it does not ask). `file` keeps what is known over a restart."""

    def __init__(
        self,
        client: ConsulClient,
        registration: Registration,
        *,
        describe: Callable[[], Member],
        health: Callable[[], tuple[bool, str]],
        address: str | None,
        file: Path,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._registration = registration
        self._describe = describe
        self._health = health
        self._address = address
        self._file = file
        self._clock = clock
        self._changed = changed
        self._known: dict[str, Known] = {}
        self._listed: Member | None = None
        self._twins = 0
        self._watch_error: str | None = None
        self._write_error: str | None = None
        self._leaving = False

    @property
    def known(self) -> Mapping[str, Known]:
        """All gateways by name, this one too once it was listed."""
        return self._known

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong now, one sentence each."""
        faults = [text for text in (self._watch_error, self._write_error) if text is not None]
        if self._twins > 1:
            faults.append(
                f"{self._twins} gateways are named {self._describe().id}: give each its own cluster.name"
            )
        return tuple(faults)

    def recall(self) -> None:
        """Take over what is known from before a restart. A file that cannot be read is said, and left."""
        try:
            text = read_private(self._file)
            self._known = from_json(text) if text is not None else {}
        except (Malformed, Unavailable) as error:
            log.error("%s; the other gateways will be known when Consul has been read", error)

    async def watch(self) -> None:
        """Keep `known` current, for ever. Consul that cannot be read leaves the last known members in force."""
        index, pause = 0, RETRY
        path = f"/v1/health/service/{segment(self._registration.service)}"
        while True:
            try:
                reply = await self._client.get(path, index=index, wait=WAIT, stale=True)
                members = members_in(reply.value)
            except NodegateError as error:
                self._watch_error, index = f"the list of gateways cannot be read: {error}", 0
                await asyncio.sleep(pause)
                pause = min(LONGEST_RETRY, 2 * pause)
                continue
            self._watch_error, pause = None, RETRY
            await self._take(members)
            # An index that goes backwards means that Consul's state was built anew.
            index = reply.index if reply.index >= index and reply.fresh else 0
            await asyncio.sleep(COALESCE if index else RETRY)

    async def register(self) -> None:
        """Keep this gateway registered as it is, for ever."""
        pause = LOOK_EVERY
        while True:
            try:
                if not self._leaving:
                    await self._keep_registered()
            except NodegateError as error:
                self._write_error = f"this gateway cannot be registered: {error}"
                pause = min(LONGEST_RETRY, 2 * pause)
            else:
                self._write_error, pause = None, LOOK_EVERY
            await asyncio.sleep(pause)

    async def leave(self) -> None:
        """Take the registration back, so that Consul DNS stops naming this gateway at once. A Consul that does
        not answer is said, no more: its own check will tell it."""
        self._leaving = True
        try:
            async with asyncio.timeout(GOODBYE):
                path = f"/v1/agent/service/deregister/{segment(self._id)}"
                await self._client.put(path, local=True)
        except (NodegateError, TimeoutError) as error:
            log.warning("this gateway could not be deregistered: %s", str(error) or "no answer")

    @property
    def _id(self) -> str:
        return instance_id(self._registration.service, self._describe().id)

    async def _keep_registered(self) -> None:
        me, listed = self._describe(), self._listed
        wanted = (meta_of(me), me.port)
        if listed is None or (meta_of(listed), listed.port) != _as_listed(wanted, listed):
            document = definition(self._registration, me, self._address)
            await self._client.put("/v1/agent/service/register", document, local=True)
        if not self._registration.ready_url:
            well, text = self._health()
            status = {"Status": "passing" if well else "critical", "Output": text}
            await self._client.put(
                f"/v1/agent/check/update/{segment(f'{self._id}:ready')}", status, local=True
            )

    async def _take(self, members: tuple[Member, ...]) -> None:
        me, before = self._describe().id, self._known
        mine = [member for member in members if member.id == me]
        self._twins, self._listed = len(mine), mine[0] if mine else None
        forget_after = self._registration.forget_after
        self._known = remember(before, members, self._clock.now(), me=me, forget_after=forget_after)
        if self._known == before:
            return
        _say(before, self._known, me)
        self._changed()
        try:
            await asyncio.to_thread(write_private, self._file, to_json(self._known))
        except Unavailable as error:
            log.error("%s", error)


def _as_listed(wanted: tuple[dict[str, str], int], listed: Member) -> tuple[dict[str, str], int]:
    """`wanted` as Consul would list it: a place without host gets the gateway's own address."""
    meta, port = wanted
    full = {
        key: reachable(value, listed.address) if key in {"peers", "exchange"} else value
        for key, value in meta.items()
    }
    return full, port


def _say(before: Mapping[str, Known], after: Mapping[str, Known], me: str) -> None:
    """Log who came, went, lives or does not."""
    for name, known in after.items():
        if name == me:
            continue
        if name not in before:
            log.info("gateway %s at %s:%d is there", name, known.member.address, known.member.port)
        elif known.alive != before[name].alive:
            text = "lives again" if known.alive else f"does not live: {known.member.why}"
            log.log(logging.INFO if known.alive else logging.WARNING, "gateway %s %s", name, text)
    for name in before.keys() - after.keys():
        log.info("gateway %s is forgotten", name)
