"""What a simulated node does with a request, whatever its kind: answer at once, or have work to do first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nodegate.errors import Refused
from nodegate.lab.faults import Fault
from nodegate.lab.http1 import Request
from nodegate.model import Instant, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer before it is written: a JSON document, or None for an empty body."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Rejected(Refused):
    """A simulated node's own refusal; `reply` is what its client gets. Never leaves the lab."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(str(reply.document))


def _nothing(now: Instant) -> Iterator[None]:
    del now
    return iter(())


def _at_once(now: Instant) -> Seconds:
    del now
    return Seconds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A request that is understood: what remains is doing it.

    Serialised work waits for the node's one lock and keeps it for `hold(now)` seconds. `steps` are the parts
    of a long computation that begins at the given time; whoever does the work lets others run between two of them. `run(now)` gives the
    answer. `interruptible` work ends early, with `interrupted()`, when somebody asks for that.
    """

    command: str
    run: Callable[[Instant], Reply]
    serialised: bool = False
    hold: Callable[[Instant], Seconds] = _at_once
    steps: Callable[[Instant], Iterator[None]] = _nothing
    interrupted: Callable[[], Reply] | None = None
    interrupts: bool = False

    @property
    def immediate(self) -> bool:
        """Whether `run` is all there is to do."""
        return not self.serialised and not self.interrupts and self.steps is _nothing


class Simulated(Protocol):
    """One simulated node of some kind. Pure: it is told the time."""

    kind: str

    def suffer(self, fault: Fault | None, now: Instant) -> None:
        """Have this fault (None: be well) from `now` on."""
        ...

    def admit(self, request: Request, now: Instant) -> tuple[str, Reply | Work]:
        """The command that is asked for (a bounded set of words, for counting), and what becomes of it."""
        ...

    def encode(self, reply: Reply, duration: Seconds) -> bytes:
        """The body of the reply, which took `duration`."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Headers of every answer."""
        ...

    def height(self, now: Instant) -> int:
        """The height the node would claim."""
        ...
