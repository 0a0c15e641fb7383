"""Requests to Consul's HTTP API: several addresses, token, TLS, blocking reads, and failures in words.

Rules of the API that are kept here: a blocking read may take its wait and a sixteenth more; 500 means "keep
what you have"; a server that has just started answers from a log that it is still reading, unless it is asked to be
`consistent`; an answer's `X-Consul-Index` is at least 1; a write that got lost on the way is not sent twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from nodegate.consul.failures import Unsent, failure_of
from nodegate.errors import Malformed, Unavailable
from nodegate.model import Seconds

TIMEOUT = Seconds(5.0)
WAIT = Seconds(60.0)
CONNECTIONS = 32
"""An agent allows 200 connections for one client address (`limits.http_max_conns_per_client`)."""
Token = str | Callable[[], str | None] | None
Params = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer. `index` is at least 1, 0 where the endpoint has none. `fresh` is False where no leader could be
    asked, and the answer may be an old one."""

    value: Any
    index: int
    fresh: bool = True


class ConsulClient:
    """One Consul cluster behind `addresses` (base URLs, such as http://127.0.0.1:8500), the first of which is
    this machine's agent.

    The address that works is kept until it fails. `token` may be a function, so that a changed token file counts
    at the next request; it never appears in a message or a `repr`. `datacenter` is the one to read and write, None:
    that of the agent. All methods raise

    - Unavailable: no address answers in time, or the cluster has no leader;
    - Refused: the token may not do this, or the request is one that Consul does not take;
    - NotFound: there is no such thing;
    - Malformed: the answer is no JSON.
    """

    def __init__(
        self,
        addresses: tuple[str, ...],
        token: Token = None,
        tls: ssl.SSLContext | None = None,
        timeout: Seconds = TIMEOUT,
        datacenter: str | None = None,
    ) -> None:
        if not addresses:
            raise ValueError("a client needs an address")
        self.addresses = tuple(address.rstrip("/") for address in addresses)
        self.timeout = timeout
        self._token = token
        self._tls = tls
        self._datacenter = datacenter
        self._current = 0
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._unsure = True

    def __repr__(self) -> str:
        return f"<ConsulClient {self.current}{' closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def current(self) -> str:
        """The address that answered last."""
        return self.addresses[self._current]

    async def get(
        self,
        path: str,
        *,
        params: Params | None = None,
        index: int | None = None,
        wait: Seconds = WAIT,
        stale: bool = False,
        absent: bool = False,
        local: bool = False,
    ) -> Reply:
        """Read `path` (such as `/v1/catalog/services`).

        With an `index` of 1 or more the read blocks until Consul's index is beyond it, for `wait` seconds at most.
        With `stale` an answer of any server will do where no leader can be asked; it is not `fresh`. With `absent`
        a thing that is not there is a Reply with value None and an index, so that one can wait for it. Another
        address than the one that gave the index is asked without waiting, and so is a leader after a failure.
        `local` as in `put`.
        """
        asked = dict(params or {})
        blocking = {"index": str(index), "wait": f"{max(1, round(wait * 1000))}ms"} if index else {}
        patience = self.timeout + (wait + wait / 16 if index else 0.0)
        if local:
            return await self._once(0, "GET", path, asked | blocking, None, patience, _NONE)
        try:
            reply = await self._anywhere(path, asked, blocking, patience, absent=absent)
            if index and 0 < reply.index < index:
                self._unsure = True
                reply = await self._anywhere(path, asked, {}, self.timeout, absent=absent)
            return reply
        except Unavailable:
            if not stale:
                raise
        reply = await self._anywhere(path, {**asked, "stale": ""}, {}, self.timeout, absent=absent)
        return replace(reply, fresh=False)

    async def put(
        self,
        path: str,
        value: object = None,
        *,
        params: Params | None = None,
        local: bool = False,
        accept: frozenset[int] = frozenset(),
    ) -> Any:
        """Write `value`: bytes and text as they are, everything else as JSON. Returns the answer's JSON, None
        for an empty one. Statuses of 300 and more that are in `accept` are answers too.

        `local`: at the first address only, for what belongs to one agent (`/v1/agent/…`). Raises Unavailable also
        when the answer got lost; the write may have happened then.
        """
        return await self._write("PUT", path, params, _body(value), local=local, accept=accept)

    async def delete(self, path: str, *, params: Params | None = None, local: bool = False) -> Any:
        """Delete `path`; otherwise as `put`."""
        return await self._write("DELETE", path, params, None, local=local, accept=frozenset())

    async def close(self) -> None:
        """Close all connections; later calls raise Unavailable. May be called again."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _anywhere(
        self, path: str, params: dict[str, str], blocking: dict[str, str], patience: float, *, absent: bool
    ) -> Reply:
        """Ask the current address, then the others in turn.

        After a failure servers may have started again. Until a leader has answered that it has read its whole log,
        none is taken at its word: it would tell what was true long ago, with a known leader and no delay in its headers.
        """
        first, failures = self._current, []
        empty = frozenset({404}) if absent else _NONE
        for step in range(len(self.addresses)):
            number = (first + step) % len(self.addresses)
            sure = {"consistent": ""} if self._unsure and _of_servers(path) and "stale" not in params else {}
            waits, time = (blocking, patience) if step == 0 and not sure else ({}, self.timeout)
            try:
                reply = await self._once(number, "GET", path, params | waits | sure, None, time, empty)
            except Unavailable as error:
                self._unsure = True
                failures.append(str(error))
            else:
                self._current = number
                if sure:
                    self._unsure = False
                return reply
        raise Unavailable("; ".join(failures))

    async def _write(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: bytes | None,
        *,
        local: bool,
        accept: frozenset[int],
    ) -> Any:
        first, failures = 0 if local else self._current, []
        for step in range(1 if local else len(self.addresses)):
            number = (first + step) % len(self.addresses)
            try:
                reply = await self._once(number, method, path, dict(params or {}), body, self.timeout, accept)
            except Unsent as error:
                failures.append(str(error))
            else:
                if not local:
                    self._current = number
                return reply.value
        raise Unavailable("; ".join(failures))

    async def _once(
        self,
        number: int,
        method: str,
        path: str,
        params: dict[str, str],
        body: bytes | None,
        patience: float,
        accept: frozenset[int],
    ) -> Reply:
        address = self.addresses[number]
        if self._datacenter and _of_servers(path):
            params = {"dc": self._datacenter, **params}
        try:
            async with self._opened().request(
                method, address + path, params=params, data=body, headers=self._headers(),
                ssl=True if self._tls is None else self._tls, timeout=aiohttp.ClientTimeout(total=patience),
                allow_redirects=False,
            ) as response:  # fmt: skip
                raw = await response.read()
                status, headers = response.status, response.headers
        except aiohttp.ClientConnectorError as error:
            raise Unsent(f"Consul at {address}: {_reason(error)}") from error
        except TimeoutError as error:
            raise Unavailable(f"Consul at {address}: no answer within {patience:.3g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"Consul at {address}: {_reason(error)}") from error
        if status >= 300 and status not in accept:
            raise failure_of(address, method, path, status, raw.decode("utf-8", "replace").strip())
        return Reply(
            value=None
            if status == 404
            else _json(raw, f"Consul at {address}: the answer to {method} {path}"),
            index=_number(headers.get("X-Consul-Index")),
        )

    def _headers(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"X-Consul-Token": token} if token else {}

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable("the connection to Consul is closed: nodegate is stopping")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit_per_host=CONNECTIONS, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._session


_NONE: frozenset[int] = frozenset()


def _of_servers(path: str) -> bool:
    """Whether the servers have the answer, not the agent that is asked."""
    return not path.startswith("/v1/agent/")


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


def _body(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _json(raw: bytes, what: str) -> Any:
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what} is no JSON: {raw[:80]!r}") from error


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno).lower()  # asyncio has words of its own for it
        return (cause.strerror or str(cause) or "cannot be reached").lower()
    return str(error) or type(error).__name__


async def gathered(*readings: Any) -> list[Any]:
    """The results of all awaitables; the first failure cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(reading) for reading in readings]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
