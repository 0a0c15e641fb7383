"""HAProxy's Prometheus exporter, and the policy that its threads say they obey: both over HTTP on a socket."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from nodegate.errors import Unavailable

METRICS_TIMEOUT = 10.0
ASKED_THREADS = 6
"""Connections asked for the policy they obey, each of which any thread may take."""

METRICS_BY_SERVER = 1000
"""Up to this many servers HAProxy's exporter reports each one; beyond, only its pools."""


class Exporter:
    """Asks on the Unix socket at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    async def metrics(self, servers: int) -> bytes:
        """The exporter's text, where HAProxy has so many `servers`. Raises Unavailable when HAProxy does not answer.

        Each server is reported up to `METRICS_BY_SERVER` of them; more would be tens of megabytes.
        """
        scopes = ("*",) if servers <= METRICS_BY_SERVER else ("global", "frontend", "backend")
        query = "&".join(f"scope={scope}" for scope in scopes)
        try:
            async with (
                self._session() as session,
                session.get(f"http://haproxy/metrics?{query}") as response,
            ):
                if response.status != 200:
                    raise Unavailable(f"HAProxy's exporter answers with status {response.status}")
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"HAProxy's exporter does not answer: {str(error) or 'too slow'}") from error

    async def obeys(self, kind: str, version: str) -> bool:
        """Whether HAProxy's threads obey this version of a kind's policy."""
        try:
            async with self._session(force_close=True) as session:
                for _ in range(ASKED_THREADS):
                    async with session.get(f"http://haproxy/policy/{kind}") as response:
                        if response.status != 200 or await response.text() != version:
                            return False
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    def _session(self, *, force_close: bool = False) -> aiohttp.ClientSession:
        """With `force_close` each request has a connection of its own."""
        connector = aiohttp.UnixConnector(self._path, force_close=force_close)
        timeout = aiohttp.ClientTimeout(total=METRICS_TIMEOUT)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
