"""One HTTP exchange with a node, bounded in time and bytes, whatever the other side does.

No redirect is followed, no proxy taken from the environment, no cookie kept, nothing decompressed. Each
exchange opens a connection of its own: a node that cannot accept any is what clients would meet.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace, TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from nodegate import __version__
from nodegate.errors import Unavailable
from nodegate.model import Answer, Failure, FailureKind, Node, Question, Seconds
from nodegate.probe.addresses import Addresses, is_address
from nodegate.protocols.fields import quote

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What this machine lacks, not the node: no verdict may come of it.
_OUR_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# How a connection attempt can fail, and whose next address is worth a try.
_CONNECT: dict[int, tuple[FailureKind, str]] = {
    errno.ECONNREFUSED: (FailureKind.REFUSED, "connection refused"),
    errno.EHOSTUNREACH: (FailureKind.REFUSED, "no route to the host"),
    errno.ENETUNREACH: (FailureKind.REFUSED, "network unreachable"),
    errno.EADDRNOTAVAIL: (FailureKind.REFUSED, "no local address to connect from"),
    errno.EACCES: (FailureKind.REFUSED, "connection not permitted on this machine"),
    errno.EPERM: (FailureKind.REFUSED, "connection not permitted on this machine"),
    errno.ECONNRESET: (FailureKind.CLOSED, "connection reset"),
    errno.EPIPE: (FailureKind.CLOSED, "connection reset"),
    errno.ETIMEDOUT: (FailureKind.TIMEOUT, "no connection: timed out"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """What a pool says about how its nodes are reached: the TLS context to verify with (None: the system's
    authorities) and the Host header (None: that of the node's URL)."""

    tls: ssl.SSLContext | None = None
    host: str | None = None


def tls_context(authorities: Path | None) -> ssl.SSLContext:
    """A context that verifies against the PEM file, None: the system's. Raises Unavailable, naming the file."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"{authorities}: no authorities can be read from it: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a node's API is, in the parts that a request needs; `literal`: `host` is an IP address. `pinned` is
    the only address that is asked, None: what the host resolves to."""

    scheme: str
    host: str
    port: int
    path: str
    host_header: str
    tls: ssl.SSLContext | bool
    literal: bool
    pinned: str | None = None

    @classmethod
    def of(cls, node: Node, upstream: Upstream | None = None) -> Target:
        """The target of `node`, reached as its pool says."""
        upstream = upstream or Upstream()
        parts = urlsplit(node.url)
        verified = upstream.tls if upstream.tls is not None else True
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or (443 if parts.scheme == "https" else 80),
            path=parts.path,
            host_header=upstream.host or parts.netloc,
            tls=verified if node.tls_verify else False,
            literal=is_address(parts.hostname or ""),
            pinned=node.address,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """The end of a probe: `at` in loop time, `seconds` the whole span, for messages."""

    at: float
    seconds: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        """The deadline `seconds` from now, in the running loop."""
        return cls(at=asyncio.get_running_loop().time() + seconds, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """The answer or the failure, and the address that was asked last (None: none was)."""

    outcome: Answer | Failure
    address: str | None


@dataclass(slots=True)
class _Stage:
    """How far an exchange has come, for the words of a timeout; `connected_at` is by `perf_counter`: an event loop's
    own clock may stand still for a whole turn of it."""

    doing: str
    address: str | None = None
    connected_at: float | None = None


class Exchanger:
    """Asks nodes. An async context manager, for one event loop."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._addresses = Addresses()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No limit here: the prober counts what is in flight.
            connector=aiohttp.TCPConnector(limit=0, force_close=True, happy_eyeballs_delay=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": f"nodegate/{__version__}", "Accept-Encoding": "identity"},
            trace_configs=[_connection_trace()],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._addresses.close()
        if self._session is not None:
            await self._session.close()

    def keep(self, hosts: set[str]) -> None:
        """Forget the addresses of all hosts but these."""
        self._addresses.keep(hosts)

    async def ask(self, target: Target, question: Question, deadline: Deadline) -> Exchanged:
        """One question to one node. Every fault of the node or of the way to it is a Failure.

        Raises Unavailable when this machine cannot ask (no file descriptors, no memory).
        """
        stage = _Stage(doing=f"the name {target.host} was not resolved")
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._ask_candidates(target, question, stage)
        except TimeoutError:
            if stage.address is not None:
                self._failed(target, stage.address)
            text = f"{stage.doing} within {deadline.seconds:g} s"
            return Exchanged(outcome=Failure(kind=FailureKind.TIMEOUT, text=text), address=stage.address)

    async def _ask_candidates(self, target: Target, question: Question, stage: _Stage) -> Exchanged:
        candidates: tuple[str, ...] | Failure = (target.pinned or target.host,)
        if not target.literal and target.pinned is None:
            candidates = await self._addresses.candidates(target.host, target.port)
        if isinstance(candidates, Failure):
            return Exchanged(outcome=candidates, address=None)
        outcome: Answer | Failure = Failure(kind=FailureKind.NAME, text=f"{target.host} has no address")
        for address in candidates:
            stage.address, stage.connected_at = address, None
            stage.doing = f"no connection to {_place(address, target.port)}"
            outcome = await self._ask_address(target, address, question, stage)
            if isinstance(outcome, Answer):
                self._worked(target, address)
                break
            self._failed(target, address)
            if outcome.kind is not FailureKind.REFUSED:
                break
        return Exchanged(outcome=outcome, address=stage.address)

    def _worked(self, target: Target, address: str) -> None:
        """Another node's choice among the addresses of the same name is not a pinned one's to make."""
        if target.pinned is None:
            self._addresses.worked(target.host, target.port, address)

    def _failed(self, target: Target, address: str) -> None:
        if target.pinned is None:
            self._addresses.failed(target.host, target.port, address)

    async def _ask_address(
        self, target: Target, address: str, question: Question, stage: _Stage
    ) -> Answer | Failure:
        try:
            return await self._exchange(target, address, question, stage)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            if isinstance(error, TimeoutError):
                raise
            return _failure(error, _place(address, target.port))

    async def _exchange(
        self, target: Target, address: str, question: Question, stage: _Stage
    ) -> Answer | Failure:
        assert self._session is not None, "enter the Exchanger first"
        started = perf_counter()
        async with self._session.request(
            question.method,
            _url(target.scheme, _place(address, target.port), target.path + question.path),
            data=question.body or None,
            headers={**question.headers, "Host": target.host_header},
            allow_redirects=False,
            ssl=target.tls,
            server_hostname=None if target.literal else target.host,
            trace_request_ctx=stage,
        ) as response:
            coding = response.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":
                return Failure(
                    kind=FailureKind.MALFORMED,
                    text=f"the answer is compressed ({quote(coding, 20)}) although that was not asked for",
                )
            # The answer to HEAD tells the length of a body that does not come.
            length = None if question.method == "HEAD" else response.content_length
            body = await self._read(response, length, stage)
            if isinstance(body, Failure):
                return body
            begun = started if stage.connected_at is None else stage.connected_at
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            return Answer(
                status=response.status,
                body=body,
                duration=Seconds(perf_counter() - begun),
                location=location,
            )

    async def _read(
        self, response: aiohttp.ClientResponse, length: int | None, stage: _Stage
    ) -> bytes | Failure:
        """The whole body, or the failure as soon as it is longer than allowed; never holds much more."""
        body = bytearray()
        if length is None or length <= self._max_bytes:
            stage.doing = "the answer was not complete"
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._max_bytes:
                    break
            else:
                return bytes(body)
        response.close()
        return Failure(kind=FailureKind.TOO_LARGE, text=f"the answer has more than {self._max_bytes} bytes")


def _connection_trace() -> aiohttp.TraceConfig:
    """Tells the stage of an exchange when its connection stands: what counts as the node's own time."""
    trace = aiohttp.TraceConfig()

    async def connected(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceConnectionCreateEndParams,
    ) -> None:
        stage: _Stage = context.trace_request_ctx
        stage.connected_at = perf_counter()
        stage.doing = "connected, but there was no answer"

    trace.on_connection_create_end.append(connected)
    return trace


@lru_cache(maxsize=16_384)
def _url(scheme: str, place: str, path: str) -> URL:
    """Parsed once: it costs as much as a tenth of a probe."""
    return URL(f"{scheme}://{place}{path}", encoded=True)


def _failure(error: Exception, place: str) -> Failure:
    """What went wrong, in words. Raises Unavailable when it is this machine's fault."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError) or isinstance(error, aiohttp.ClientSSLError):
        return Failure(kind=FailureKind.TLS, text=_tls_words(cause))
    if isinstance(error, aiohttp.ClientResponseError):
        return Failure(kind=FailureKind.MALFORMED, text=f"the answer is not HTTP: {quote(error.message)}")
    if isinstance(error, (aiohttp.ServerDisconnectedError, asyncio.IncompleteReadError)):
        return Failure(kind=FailureKind.CLOSED, text="connection closed without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failure(kind=FailureKind.CLOSED, text="connection closed in the middle of the answer")
    number = cause.errno if isinstance(cause, OSError) and cause.errno is not None else 0
    if number in _OUR_FAULT:
        raise Unavailable(f"this machine cannot probe: {os.strerror(number)}") from error
    kind, words = _CONNECT.get(number, (FailureKind.CLOSED, ""))
    words = words or (os.strerror(number) if number > 0 else quote(str(cause) or "connection lost"))
    return Failure(kind=kind, text=f"{words} ({place})")


def _tls_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS certificate is not trusted: {error.verify_message}"
    inner = getattr(error, "certificate_error", None)
    if isinstance(inner, Exception):
        return _tls_words(inner)
    reason = getattr(error, "reason", None) or "handshake refused"
    words = str(reason).replace("_", " ").lower()
    hint = "; does the node speak plain HTTP?" if "wrong version" in words or "record layer" in words else ""
    return f"the TLS handshake failed: {words}{hint}"


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
