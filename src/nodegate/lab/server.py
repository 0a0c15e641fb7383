"""One running node: its simulated self, its fault, its lock, its workers, and counters of what reached it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, Protocol

from nodegate.lab import http1
from nodegate.lab.answers import Rejected, Reply, Simulated, Work
from nodegate.lab.faults import Fault, FaultName
from nodegate.lab.http1 import Request
from nodegate.model import Instant, Seconds

Now = Callable[[], Instant]

WORKERS: Final = 64
"""Requests that a node works on at once: Undertow's default on eight cores. When all wait for the lock, the
node answers nothing at all, which is what the public nodes looked like in 2018."""
_GARBAGE: Final = bytes((place * 73 + 17) % 256 for place in range(256))
# Faults that change what a node says and not how it answers: these requests stay on the fast path.
_SPOKEN: Final = frozenset(
    {FaultName.LAG, FaultName.FROZEN, FaultName.LIE, FaultName.WRONG_CHAIN, FaultName.SILENT, FaultName.STALL}
)


class Client(Protocol):
    """A client's connection, as a node sees it. `committed` is set once the node works on its request and no
    longer notices when the client leaves."""

    committed: bool

    def answer(self, request: Request, response: bytes) -> None:
        """Write a response, and close when the request or the node's fault asks for it."""
        ...

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        ...


class NodeServer:
    """One running node of a lab."""

    def __init__(
        self, *, name: str, host: str, simulated: Simulated, now: Now, workers: int = WORKERS
    ) -> None:
        self.id = name
        self.host = host
        self.port = 0
        self.simulated = simulated
        self.now = now
        self.fault: Fault | None = None
        self.requests: Counter[str] = Counter()
        """Requests that reached the node, by command."""
        self.accepted = 0
        self.max_open = 0
        self.connections: set[Client] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.lock = asyncio.Lock()
        self.workers = asyncio.Semaphore(workers)
        self._changed = asyncio.Event()
        self._interrupt = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def kind(self) -> str:
        return self.simulated.kind

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self.connections)

    def suffer(self, fault: Fault | None) -> None:
        """Have this fault, or none, from now on; requests that wait for a change go on."""
        self.fault = fault
        self.simulated.suffer(fault, self.now())
        self._changed.set()
        self._changed = asyncio.Event()
        if fault is not None and fault.name is FaultName.REFUSE:
            self.reset_all()

    def reset_all(self) -> None:
        """Reset all open connections."""
        for connection in list(self.connections):
            connection.reset()

    def document(self) -> dict[str, Any]:
        """The node as the control port shows it."""
        return {
            "id": self.id,
            "url": self.url,
            "kind": self.kind,
            "fault": None if self.fault is None else self.fault.document(),
            "height": self.simulated.height(self.now()),
            "requests": dict(self.requests),
            "open": self.open,
            "max_open": self.max_open,
            "accepted": self.accepted,
        }

    def quick(self, request: Request) -> bytes | Work:
        """The response when it can be given at once, else the work to do. Counts the request."""
        command, outcome = self.simulated.admit(request, self.now())
        self.requests[command] += 1
        fault = self.fault
        if fault is not None and fault.name not in _SPOKEN:
            return _as_work(command, outcome)
        if isinstance(outcome, Reply):
            return self.response(request, outcome, Seconds(0.0))
        if not outcome.immediate or self.workers.locked():
            return outcome
        return self.response(request, _done(outcome, self.now()), Seconds(0.0))

    async def slow(self, request: Request, work: Work, connection: Client) -> None:
        """Do the work, as the node's fault lets it be done, and answer on `connection`."""
        began = self.now()
        await self._through_fault()
        async with self.workers:
            # The node's thread does not notice when its client goes away.
            connection.committed = True
            if work.serialised:
                async with self.lock:
                    reply = await self._serialised(work)
            else:
                reply = await self._stepped(work)
        connection.answer(request, self.response(request, reply, Seconds(self.now() - began)))

    async def _through_fault(self) -> None:
        """Wait as long as the node hangs or is slow."""
        while (fault := self.fault) is not None and fault.name in {FaultName.HANG, FaultName.SLOW}:
            changed = self._changed
            try:
                async with asyncio.timeout(fault.seconds if fault.name is FaultName.SLOW else None):
                    await changed.wait()
            except TimeoutError:
                return

    async def _serialised(self, work: Work) -> Reply:
        while self.fault is not None and self.fault.name is FaultName.STALL:
            await self._changed.wait()
        seconds = work.hold(self.now())
        if work.interrupted is None:
            await asyncio.sleep(seconds)
            return await self._stepped(work)
        self._interrupt.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._interrupt.wait()
        except TimeoutError:
            return await self._stepped(work)
        return work.interrupted()

    async def _stepped(self, work: Work) -> Reply:
        if work.interrupts:
            self._interrupt.set()
        for _ in work.steps(self.now()):
            await asyncio.sleep(0)
        return _done(work, self.now())

    def response(self, request: Request, reply: Reply, duration: Seconds) -> bytes:
        """The whole response: head and body, with the spoiling that the fault asks for."""
        fault = self.fault
        headers = {**self.simulated.headers(), **reply.headers}
        status, body = reply.status, self.simulated.encode(reply, duration)
        if fault is not None and fault.name is FaultName.ERROR:
            # The header tells a simulated failure from a fault in the lab itself.
            headers["X-Lab-Fault"] = "error"
            status, body = fault.status, b'{"error":"simulated fault"}'
        elif fault is not None and fault.name is FaultName.GARBAGE:
            body = _GARBAGE
            if fault.layer == "wire":
                return _GARBAGE
        head = http1.head(
            status, {**headers, "Date": _date(int(self.now()))}, len(body), keep_alive=request.keep_alive
        )
        if request.method == "HEAD":
            return head
        if fault is not None and fault.name is FaultName.HALF:
            return head + body[: len(body) // 2]
        return head + body

    @property
    def closes(self) -> bool:
        """Whether the fault ends the connection after an answer."""
        fault = self.fault
        return fault is not None and (
            fault.name is FaultName.HALF or (fault.name is FaultName.GARBAGE and fault.layer == "wire")
        )

    def __repr__(self) -> str:
        return f"<NodeServer {self.id} {self.url} open={self.open} fault={self.fault and self.fault.name}>"


def _done(work: Work, now: Instant) -> Reply:
    try:
        return work.run(now)
    except Rejected as rejected:
        return rejected.reply


def _as_work(command: str, outcome: Reply | Work) -> Work:
    return outcome if isinstance(outcome, Work) else Work(command=command, run=lambda now: outcome)


@lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    """The Date header, made once a second."""
    return formatdate(seconds, usegmt=True)
