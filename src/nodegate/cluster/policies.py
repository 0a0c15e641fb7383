"""One policy on all gateways: applied on one, written to Consul, taken over by the others.

Each gateway puts a document in force by itself, whole or not at all, and keeps it on its own disk; so a restart
without Consul keeps the policy. A gateway that cannot take a document over goes on with the former one and says
so, here and in what it tells the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from nodegate.cluster.records import POLICIES, PolicyRecord, policy_json, read_policy
from nodegate.consul.kv import Entry, KeyValues
from nodegate.documents import Document, parse
from nodegate.errors import BadDocument, Conflict, Malformed, NodegateError, NotFound
from nodegate.model import Seconds
from nodegate.policy.document import LoadedPolicy, kind_of
from nodegate.policy.inforce import Applied, Policies
from nodegate.ports import Clock

log = logging.getLogger("nodegate.cluster")

RETRY = Seconds(2.0)
"""Seconds until Consul, or a document that HAProxy did not take at once, is tried again."""
WAIT = Seconds(30.0)
PERMANENT = (BadDocument, Malformed, Conflict)
"""Failures that the same document meets again each time."""


class SharedPolicies:
    """The policies of all gateways, as the admin API uses them. `me` is this gateway's name; `changed` is
    called when another document came into force or could not."""

    def __init__(
        self, local: Policies, keys: KeyValues, *, me: str, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._local = local
        self._keys = keys
        self._me = me
        self._clock = clock
        self._changed = changed
        self._taken: dict[str, int] = {}
        self._bad: dict[str, tuple[int, str]] = {}
        self._waiting: set[str] = set()
        self._lost: str | None = None
        self._lock = asyncio.Lock()

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with documents, on disk and in Consul."""
        lost = () if self._lost is None else (self._lost,)
        return (*self._local.faults, *self.shared_faults, *lost)

    @property
    def shared_faults(self) -> tuple[str, ...]:
        """Documents in Consul that are not in force here, one sentence each."""
        return tuple(text for _, text in self._bad.values())

    def kinds(self) -> Sequence[str]:
        """As `Policies`."""
        return self._local.kinds()

    def loaded(self, kind: str) -> LoadedPolicy:
        """As `Policies`."""
        return self._local.loaded(kind)

    def operator(self, kind: str) -> Document | None:
        """As `Policies`."""
        return self._local.operator(kind)

    def version(self, kind: str) -> str:
        """As `Policies`."""
        return self._local.version(kind)

    async def apply(self, document: Document) -> Applied:
        """Put a document in force here, then on all gateways.

        Raises as the local one; Unavailable when Consul cannot be reached, and Conflict when another gateway's
        document is not in force here yet: nothing is changed then.
        """
        return await self._publish(kind_of(document), document)

    async def withdraw(self, kind: str) -> Applied:
        """Back to the shipped policy, on all gateways. Raises as `apply`."""
        return await self._publish(kind, None)

    async def follow(self) -> None:
        """Take over what other gateways apply, for ever."""
        index = 0
        while True:
            try:
                wait = WAIT if self._calm else RETRY
                listing = await self._keys.below(POLICIES, index=index, wait=wait)
            except NodegateError as error:
                self._lost = f"policies of other gateways cannot be read: {error}"
                index = 0
                await asyncio.sleep(RETRY)
                continue
            self._lost = None
            index = listing.index if listing.index >= index else 0
            async with self._lock:
                await self._take_over(listing.entries)

    @property
    def _calm(self) -> bool:
        """Whether nothing waits to be tried again."""
        return not self._waiting and all(version < 0 for version, _ in self._bad.values())

    async def _publish(self, kind: str, document: Document | None) -> Applied:
        async with self._lock:
            key = f"{POLICIES}{kind}"
            stored = await self._keys.get(key)
            if stored is not None and not self._has_seen(kind, stored):
                await self._take_over({key: stored})
                record = read_policy(key, stored.value)
                raise Conflict(
                    f"another document for {kind} was applied on gateway {record.by} meanwhile; "
                    "see `nodegate policy diff`, then apply yours again"
                )
            before = self._local.operator(kind)
            applied = await self._set(kind, document)
            record = PolicyRecord(
                toml=None if document is None else document.text,
                file="document" if document is None else document.file,
                by=self._me,
                at=self._clock.now(),
            )
            try:
                version = 0 if stored is None else stored.version
                self._taken[kind] = await self._keys.put(key, policy_json(record), version=version)
            except NodegateError:
                await self._set(kind, before)
                raise
            self._bad.pop(kind, None)
            self._changed()
            return applied

    def _has_seen(self, kind: str, entry: Entry) -> bool:
        """Whether what Consul has is in force here, or known not to be usable: both may be replaced."""
        bad = self._bad.get(kind)
        return entry.version == self._taken.get(kind) or (bad is not None and abs(bad[0]) == entry.version)

    async def _take_over(self, entries: Mapping[str, Entry]) -> None:
        for key, entry in entries.items():
            kind = key.removeprefix(POLICIES)
            bad = self._bad.get(kind)
            if self._taken.get(kind) == entry.version or (bad is not None and bad[0] == -entry.version):
                continue
            try:
                await self._follow_one(kind, key, entry)
                self._waiting.discard(kind)
            except NotFound:
                self._waiting.add(kind)  # no pool of that kind here yet
            except NodegateError as error:
                self._complain(kind, entry, error)

    async def _follow_one(self, kind: str, key: str, entry: Entry) -> None:
        record = read_policy(key, entry.value)
        document = None if record.toml is None else parse(record.toml, file=record.file)
        if document is not None and kind_of(document) != kind:
            raise Malformed(f"Consul key {key}: the document is for {kind_of(document)!r}")
        own = self._local.operator(kind)
        if self._text(own) != record.toml or kind not in self._local.kinds():
            applied = await self._set(kind, document)
            log.info(
                "the policy of %s from gateway %s is in force: version %s", kind, record.by, applied.version
            )
        self._taken[kind] = entry.version
        self._bad.pop(kind, None)
        self._changed()

    def _complain(self, kind: str, entry: Entry, error: NodegateError) -> None:
        """Remember the failure; one that would be the same again is marked by a negative version."""
        text = f"the policy of {kind} in Consul is not in force here: {error}"
        known = self._bad.get(kind)
        version = -entry.version if isinstance(error, PERMANENT) else entry.version
        self._bad[kind] = (version, text)
        if known is None or known[1] != text:
            log.error("%s; the former one stays", text)
            self._changed()

    async def _set(self, kind: str, document: Document | None) -> Applied:
        if document is None:
            return await self._local.withdraw(kind)
        return await self._local.apply(document)

    @staticmethod
    def _text(document: Document | None) -> str | None:
        return None if document is None else document.text
