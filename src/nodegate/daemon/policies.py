"""The policies in force: loaded, compiled, and put in force as a whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nodegate.daemon.enforcement import enforce
from nodegate.documents import Document, load
from nodegate.errors import BadDocument, Conflict, NodegateError, NotFound, Refused, Unavailable
from nodegate.haproxy.guarded import Enforcement, Guarded
from nodegate.policy.check import require_sound
from nodegate.policy.difference import differences
from nodegate.policy.document import LoadedPolicy, kind_of, load_policy
from nodegate.policy.inforce import Applied
from nodegate.settings import Settings
from nodegate.systemfile.private import read_private, write_private

log = logging.getLogger("nodegate.daemon")

GUARDED_BY_DEFAULT = frozenset({"iri", "evm"})
"""Kinds whose shipped policy lets honest clients through as it stands."""

PATIENCE = 15.0
"""Seconds for HAProxy to obey a policy that was put in force, a reload included."""


class PolicyDriver(Protocol):
    """What putting a policy in force needs of the data plane."""

    async def set_policies(self, guarded: Guarded) -> str:
        """Put the maps of `guarded` in force; returns why that needs a reload, which is for the next pass
        to do, "" when it is done. Raises Refused with HAProxy's words, Unavailable when it is lost."""
        ...

    async def obeys(self, kind: str, version: str) -> bool:
        """Whether HAProxy obeys this version of a kind's policy."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    loaded: LoadedPolicy
    operator: Document | None
    enforcement: Enforcement


class Policies:
    """Owns the policies of all kinds. `directory` is STATE/policies."""

    def __init__(self, settings: Settings, directory: Path, driver: PolicyDriver) -> None:
        self._settings = settings
        self._directory = directory
        self._driver = driver
        self._by_kind: dict[str, _InForce] = {}
        self._pools: dict[str, str] = {}
        self._crowded: frozenset[str] = frozenset()
        self._faults: dict[str, str] = {}
        self._lock = asyncio.Lock()

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with documents on disk; the shipped or the last good policy is in force instead."""
        return tuple(self._faults.values())

    def guarded(self, pools: Mapping[str, str], crowded: Set[str] = frozenset()) -> Guarded:
        """The pools under a policy, out of all pools (name → kind); `crowded` ones get no lanes. Loads what
        was not needed so far."""
        kinds = {pool: kind for pool, kind in pools.items() if self._wants(pool, kind)}
        self._pools, self._crowded = kinds, frozenset(crowded & kinds.keys())
        for kind in sorted(set(kinds.values()) - self._by_kind.keys()):
            self._by_kind[kind] = self._first(kind)
        return self._present()

    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a policy in use now."""
        return tuple(sorted(set(self._pools.values())))

    def loaded(self, kind: str) -> LoadedPolicy:
        """The policy in force. Raises NotFound when no pool of that kind has one."""
        return self._of(kind).loaded

    def operator(self, kind: str) -> Document | None:
        """The operator's own document, None when the shipped one is in force as it is."""
        return self._of(kind).operator

    def version(self, kind: str) -> str:
        """The version in force. Raises NotFound."""
        return self._of(kind).enforcement.version

    async def apply(self, document: Document) -> Applied:
        """Put a document in force for its kind: whole, or not at all.

        Raises BadDocument with every error in it, Conflict when nodegate.toml names the kind's document,
        NotFound when no pool of the kind has a policy, and Refused or Unavailable when HAProxy does not
        obey it: the former policy is in force then, on disk too.
        """
        return await self._replace(kind_of(document), document)

    async def withdraw(self, kind: str) -> Applied:
        """Back to the shipped policy of a kind. Raises as `apply`."""
        return await self._replace(kind, None)

    async def _replace(self, kind: str, document: Document | None) -> Applied:
        async with self._lock:
            before = self._of(kind)
            if (path := self._named(kind)) is not None:
                raise Conflict(f"nodegate.toml names {path} as the policy of {kind}: change that file")
            loaded = load_policy(kind, document)
            warnings = require_sound(loaded)
            after = _InForce(loaded=loaded, operator=document, enforcement=enforce(loaded.policy))
            file = self._file(kind)
            old_text = await asyncio.to_thread(read_private, file)
            await asyncio.to_thread(_write, file, document.text if document is not None else None)
            # The passes want the new policy from here on, so none of them undoes what is done now.
            self._by_kind[kind] = after
            try:
                reload = await self._driver.set_policies(self._present())
                await self._until_obeyed(after.enforcement)
            except BaseException:
                self._by_kind[kind] = before
                await asyncio.to_thread(_write, file, old_text)
                await self._restore(before.enforcement)
                raise
            self._faults.pop(kind, None)
            return Applied(
                kind=kind,
                version=after.enforcement.version,
                before=before.enforcement.version,
                changes=tuple(differences(before.loaded.policy, loaded.policy)),
                warnings=warnings,
                reload=reload,
            )

    async def _until_obeyed(self, wanted: Enforcement) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while not await self._driver.obeys(wanted.kind, wanted.version):
            if loop.time() > deadline:
                raise Refused(
                    f"HAProxy does not obey version {wanted.version} of the policy of {wanted.kind} "
                    f"after {PATIENCE:g} s; see its log. The former policy is in force again"
                )
            await asyncio.sleep(0.05)

    async def _restore(self, before: Enforcement) -> None:
        try:
            await self._driver.set_policies(self._present())
        except NodegateError as error:
            log.error("the policy of %s could not be put back at once: %s", before.kind, error)

    def _present(self) -> Guarded:
        policies = {kind: item.enforcement for kind, item in self._by_kind.items()}
        return Guarded(kinds=self._pools, policies=policies, crowded=self._crowded)

    def _of(self, kind: str) -> _InForce:
        if kind not in self._pools.values():
            raise NotFound(f"no pool of kind {kind!r} has a policy")
        return self._by_kind[kind]

    def _wants(self, pool: str, kind: str) -> bool:
        choice = self._settings.pool(pool).policy
        return kind in GUARDED_BY_DEFAULT if choice is None else choice != "off"

    def _named(self, kind: str) -> Path | None:
        """The document that nodegate.toml names for a kind: that of its first pool with one."""
        for pool in sorted(self._pools):
            choice = self._settings.pool(pool).policy
            if self._pools[pool] == kind and isinstance(choice, Path):
                return choice
        return None

    def _file(self, kind: str) -> Path:
        return self._directory / f"{kind}.toml"

    def _first(self, kind: str) -> _InForce:
        """The policy of a kind at its first use. A faulty document leaves the shipped policy in force, which
        is the stricter one for most: no policy at all would be worse."""
        path = self._named(kind) or self._file(kind)
        try:
            operator = load(path) if path.exists() else None
            loaded = load_policy(kind, operator)
            require_sound(loaded)
            return _InForce(loaded=loaded, operator=operator, enforcement=enforce(loaded.policy))
        except (BadDocument, Unavailable, OSError) as error:
            self._faults[kind] = f"the policy in {path} is not in force: {error}"
            log.error("%s; the shipped policy of %s is", self._faults[kind], kind)
        loaded = load_policy(kind)
        return _InForce(loaded=loaded, operator=None, enforcement=enforce(loaded.policy))


def _write(file: Path, text: str | None) -> None:
    """Replace or remove the file in one step."""
    try:
        if text is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
    write_private(file, text)
