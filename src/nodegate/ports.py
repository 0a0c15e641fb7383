"""What nodegate needs of the outside, as contracts. Implementations are chosen in `nodegate.wiring`."""

from __future__ import annotations

from typing import Protocol

from nodegate.model import (
    Answer,
    Criteria,
    Instant,
    Inventory,
    Node,
    Plan,
    Question,
    Reading,
    Routing,
    Running,
    Traffic,
)


class Adapter(Protocol):
    """One kind of node: what to ask, how to read the answer. Pure, and found by entry point
    (group `nodegate.protocols`, the name is the kind)."""

    kind: str
    traffic: Traffic
    criteria: Criteria
    """Defaults of the kind; a pool's settings override them field by field."""

    def faults(self, node: Node) -> tuple[str, ...]:
        """What is wrong with the node's options, one sentence each that starts with the option's name;
        empty when all is well."""
        ...

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        """The next questions, given the answers so far; empty when there is nothing more to ask.

        Called first with no answers. The caller appends the answers in order and calls again, so an
        adapter can fall back (no batches? ask one by one) without keeping state.
        """
        ...

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        """All answers as a reading. A missing, null or ill-typed field is never a pass.

        Raises Malformed with the field's name when an answer does not mean what it must.
        """
        ...


class Registry(Protocol):
    """Where nodes are declared. All methods raise Unavailable when the store cannot be reached or read;
    an unreachable store is never an empty inventory."""

    async def read(self) -> Inventory:
        """All nodes now."""
        ...

    async def changed(self, after: int) -> int:
        """Wait until the index differs from `after`, then return the new index. May be cancelled."""
        ...

    async def put(self, node: Node) -> Node:
        """Create or replace by compare-and-set, atomically: the write happens only if the stored record's
        version equals `node.version` (0: there must be none). Returns the node with its new version.

        Raises Conflict when the version differs; nothing is written then.
        """
        ...

    async def delete(self, node_id: str, version: int) -> None:
        """Delete by compare-and-set. Raises NotFound when there is no such record, Conflict when its
        version differs, Refused for a node that the registry does not own."""
        ...


class Driver(Protocol):
    """The data plane: what runs, and how to change it."""

    async def ensure(self) -> str | None:
        """Make sure that HAProxy runs: adopt the one that does, else start it with the servers it had.

        Returns what was done in one sentence, None when nothing had to be. Raises Unavailable when HAProxy
        hangs or does not come up, Conflict when an address is taken, Unsafe when it cannot take its
        configuration.
        """
        ...

    async def running(self) -> Running:
        """What HAProxy does now, read from HAProxy itself. Raises Unavailable when it does not answer."""
        ...

    async def apply(self, plan: Plan, wanted: Routing) -> tuple[str, ...]:
        """Carry out the changes in order, then keep `wanted` so that a restart of HAProxy starts from it.

        Returns one sentence for each change that HAProxy refused; the others are done. Raises
        Unavailable when HAProxy is lost on the way: the next pass starts again from what runs.
        """
        ...


class Clock(Protocol):
    """The time, for the edges that must fetch it."""

    def now(self) -> Instant:
        """Seconds since the epoch, never stepping back within one process."""
        ...
