"""The policies in force, as those who show and change them need them; `nodegate.daemon.policies` keeps one gateway's,
`nodegate.cluster.policies` those of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nodegate.documents import Document
from nodegate.policy.check import Finding
from nodegate.policy.difference import Difference
from nodegate.policy.document import LoadedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A policy was put in force. Versions are digests; `before` is "" when the kind had none, `changes` are against
    what it took the place of, `reload` says why HAProxy was reloaded, "" when it was not."""

    kind: str
    version: str
    before: str
    changes: tuple[Difference, ...]
    warnings: tuple[Finding, ...]
    reload: str


class Policies(Protocol):
    """The policies of all kinds."""

    @property
    def faults(self) -> Sequence[str]:
        """What is wrong with documents on disk; the last good ones stay in force."""
        ...

    def kinds(self) -> Sequence[str]:
        """Kinds with a policy in use now."""
        ...

    def loaded(self, kind: str) -> LoadedPolicy:
        """The effective policy. Raises NotFound."""
        ...

    def operator(self, kind: str) -> Document | None:
        """The operator's own document, None while the shipped one is in force as it is."""
        ...

    def version(self, kind: str) -> str:
        """The digest of what is in force. Raises NotFound."""
        ...

    async def apply(self, document: Document) -> Applied:
        """Put a document in force, whole or not at all. Raises BadDocument, Refused when HAProxy did not take
        it, Conflict when nodegate.toml names the file for this kind, Unavailable."""
        ...

    async def withdraw(self, kind: str) -> Applied:
        """Back to the shipped policy. Raises as `apply`."""
        ...
