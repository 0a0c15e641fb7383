"""A stream of client requests that is counted and timed.

It speaks HTTP/1.1 itself, without a client library: a library may quietly send a request again when a
connection breaks, and what this measures is exactly whether that would have been needed. Only the loopback is
a target: this is a tool for a lab, not for the nodes of others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from nodegate.errors import Malformed, Refused, Unsafe
from nodegate.lab.exchange import ClientConnection, Target
from nodegate.lab.histogram import Histogram
from nodegate.model import Seconds

NODE_HEADER: Final = "x-nodegate-node"
IRI_HEADERS: Final = {"Content-Type": "application/json", "X-IOTA-API-Version": "1"}
GET_NODE_INFO: Final = b'{"command":"getNodeInfo"}'
_TIMEOUT: Final = Seconds(10.0)
_DURATION: Final = Seconds(600.0)
_MAX_CONNECTIONS: Final = 5_000
_PAUSE: Final = 0.05  # after a failure, so that a refused connection is not tried in a busy loop
_SAMPLES: Final = 20
_MAX_NODES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What to send, and how much of it.

    `bodies` are sent in turn. `rate` is requests per second over all connections, None for as fast as
    answers come; with a rate a latency counts from the moment the request was due, so that a stall cannot
    hide behind the requests that were not sent. `duration` and `requests` bound the stream, whichever comes
    first. `expect` are bytes that a good answer contains. `tls` is for an https URL; None checks
    certificates as usual.
    """

    url: str
    method: str = "POST"
    bodies: Sequence[bytes] = (GET_NODE_INFO,)
    headers: Mapping[str, str] = field(default_factory=lambda: dict(IRI_HEADERS))
    connections: int = 10
    rate: float | None = None
    timeout: Seconds = _TIMEOUT
    duration: Seconds = _DURATION
    requests: int | None = None
    expect: bytes = b""
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What came of the stream so far.

    `failed` counts by reason in words (`refused`, `timeout`, `closed`, `status 503`, `malformed`,
    `unexpected`, …); `by_node` counts good answers by the node that the gateway names. Latencies are in
    seconds and of good answers only. `samples` are the first failures, one sentence each.
    """

    ok: int
    failed: Mapping[str, int]
    by_status: Mapping[int, int]
    by_node: Mapping[str, int]
    seconds: Seconds
    p50: Seconds | None
    p90: Seconds | None
    p99: Seconds | None
    worst: Seconds | None
    samples: tuple[str, ...]

    @property
    def failures(self) -> int:
        """All requests that got no good answer."""
        return sum(self.failed.values())

    @property
    def per_second(self) -> float:
        """Good answers per second."""
        return self.ok / self.seconds if self.seconds > 0 else 0.0

    def document(self) -> dict[str, Any]:
        """For JSON; latencies in milliseconds."""
        latencies = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "max": self.worst}
        return {
            "ok": self.ok,
            "failed": self.failures,
            "failures": dict(self.failed),
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "by_node": dict(sorted(self.by_node.items())),
            "seconds": round(self.seconds, 3),
            "per_second": round(self.per_second, 1),
            "latency_ms": {
                name: None if value is None else round(value * 1000, 3) for name, value in latencies.items()
            },
            "samples": list(self.samples),
        }


@dataclass(slots=True)
class _Counts:
    """What one stream has counted."""

    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    by_node: Counter[str] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    samples: list[str] = field(default_factory=list)


class Load:
    """A stream of requests in the background, on connections that are kept open.

    Use it as an async context manager, or call `start` and `stop`. It ends by itself after
    `LoadOptions.duration` or `LoadOptions.requests`.
    """

    def __init__(self, options: LoadOptions) -> None:
        """Raises Unsafe for a target that is not the loopback, Refused for options that cannot be."""
        self.options = options
        self._target = _target(options)
        self._request_heads = _heads(options, self._target)
        self._counts = _Counts()
        self._workers: list[asyncio.Task[None]] = []
        self._began = 0.0
        self._ended = 0.0
        self._started = 0.0
        self._taken = 0
        self._stopping = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether requests are still being sent."""
        return any(not worker.done() for worker in self._workers)

    async def start(self) -> None:
        """Begin; returns at once. Raises Refused when it was started before."""
        if self._workers:
            raise Refused("a load runs once: make another one")
        self._began = self._started = time.monotonic()
        self._workers = [
            asyncio.create_task(self._work(), name=f"load {place}")
            for place in range(self.options.connections)
        ]

    async def stop(self) -> LoadReport:
        """Send nothing more, wait for the answers under way, and report. Raises what went wrong within."""
        self._stopping.set()
        return await self.wait()

    async def wait(self) -> LoadReport:
        """Wait for the end that the options set, and report."""
        try:
            await asyncio.gather(*self._workers)
        finally:
            for worker in self._workers:
                worker.cancel()
            self._ended = self._ended or time.monotonic()
        return self.report()

    def report(self) -> LoadReport:
        """What came of it so far."""
        counts = self._counts
        until = self._ended or time.monotonic()
        return LoadReport(
            ok=counts.ok,
            failed=dict(counts.failed),
            by_status=dict(counts.by_status),
            by_node=dict(counts.by_node),
            seconds=Seconds(until - self._began if self._began else 0.0),
            p50=counts.latencies.percentile(0.50),
            p90=counts.latencies.percentile(0.90),
            p99=counts.latencies.percentile(0.99),
            worst=counts.latencies.percentile(1.0),
            samples=tuple(counts.samples),
        )

    def restart_counts(self) -> LoadReport:
        """Report, and count from zero again: the figures of one phase of a story."""
        report = self.report()
        self._counts = _Counts()
        self._began = time.monotonic()
        return report

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _work(self) -> None:
        """One connection's share of the stream."""
        connection = ClientConnection(self._target, without_body=self.options.method == "HEAD")
        try:
            while not self._over():
                place, self._taken = self._taken, self._taken + 1
                due = await self._due(place)
                if due is None:
                    return
                if not await self._exchange(connection, place, due):
                    await asyncio.sleep(_PAUSE)
        finally:
            connection.close()

    def _over(self) -> bool:
        options = self.options
        return (
            self._stopping.is_set()
            or time.monotonic() >= self._started + options.duration
            or (options.requests is not None and self._taken >= options.requests)
        )

    async def _due(self, place: int) -> float | None:
        """When the request at `place` is to be sent, once that moment has come; None when the stream ends
        before."""
        if self.options.rate is None:
            return time.monotonic()
        due = self._started + place / self.options.rate
        if due >= self._started + self.options.duration:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._stopping.wait()
        return None if self._stopping.is_set() else due

    async def _exchange(self, connection: ClientConnection, place: int, due: float) -> bool:
        """One request and its answer, counted. False when it failed."""
        head, body = self._request_heads[place % len(self._request_heads)]
        try:
            async with asyncio.timeout(self.options.timeout):
                answer = await connection.exchange(head, body)
        except (OSError, EOFError, Malformed, TimeoutError, asyncio.LimitOverrunError) as error:
            connection.close()
            self._failed(_reason(error), f"{type(error).__name__}: {error}")
            return False
        self._counts.by_status[answer.status] += 1
        if not 200 <= answer.status < 300:
            self._failed(f"status {answer.status}", answer.body[:200].decode("utf-8", "replace"))
            return False
        if self.options.expect not in answer.body:
            self._failed("unexpected", answer.body[:200].decode("utf-8", "replace"))
            return False
        self._counts.ok += 1
        self._counts.latencies.add(time.monotonic() - due)
        node = answer.headers.get(NODE_HEADER)
        if node is not None and (node in self._counts.by_node or len(self._counts.by_node) < _MAX_NODES):
            self._counts.by_node[node] += 1
        return True

    def _failed(self, reason: str, detail: str) -> None:
        self._counts.failed[reason] += 1
        if len(self._counts.samples) < _SAMPLES:
            self._counts.samples.append(f"{time.monotonic() - self._began:.3f} s: {reason}: {detail}")


def _reason(error: BaseException) -> str:
    """Why a request failed, from a small set of words."""
    reasons: tuple[tuple[type[BaseException], str], ...] = (
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "refused"),
        (ConnectionResetError, "reset"),
        (BrokenPipeError, "reset"),
        (EOFError, "closed"),
        (ssl.SSLError, "tls"),
        (Malformed, "malformed"),
        (asyncio.LimitOverrunError, "malformed"),
    )
    return next((words for kind, words in reasons if isinstance(error, kind)), "network")


def _target(options: LoadOptions) -> Target:
    """The checked target of a load."""
    if not 1 <= options.connections <= _MAX_CONNECTIONS:
        raise Refused(f"connections: from 1 to {_MAX_CONNECTIONS}, not {options.connections}")
    if options.rate is not None and options.rate <= 0:
        raise Refused(f"rate: a number above 0, not {options.rate}")
    if not options.bodies:
        raise Refused("bodies: at least one (an empty one for GET)")
    parts = urlsplit(options.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refused(f"{options.url!r} is not a URL such as http://127.0.0.1:14267")
    secure = parts.scheme == "https"
    return Target(
        host=loopback(parts.hostname),
        port=parts.port or (443 if secure else 80),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        name=parts.netloc,
        tls=(options.tls or ssl.create_default_context()) if secure else None,
    )


def loopback(host: str) -> str:
    """The loopback address that `host` is. Raises Unsafe for any other host, whatever it would resolve to."""
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise Unsafe(f"{host} is not on this machine: load is for lab nodes and gateways on the loopback only")


def _heads(options: LoadOptions, target: Target) -> list[tuple[bytes, bytes]]:
    """Head and body of each request that is sent in turn."""
    given = {name.lower() for name in options.headers}
    lines = [f"{options.method} {target.path} HTTP/1.1"]
    lines += [] if "host" in given else [f"Host: {target.name}"]
    lines += [f"{name}: {value}" for name, value in options.headers.items()]
    if any(char in line for line in lines for char in "\r\n\0"):
        raise Refused("headers: a line break in a header")
    sized = [[*lines, f"Content-Length: {len(body)}"] if body else lines for body in options.bodies]
    return [
        (("\r\n".join(each) + "\r\n\r\n").encode("latin-1"), body)
        for each, body in zip(sized, options.bodies, strict=True)
    ]
