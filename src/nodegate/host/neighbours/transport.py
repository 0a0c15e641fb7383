"""One HTTP request to a node, and its troubles in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from nodegate.errors import Malformed, NotFound, Refused, Unavailable

TIMEOUT = 10.0
MOST = 8 * 1024 * 1024
"""Bytes of an answer: a thousand peers of HORNET take less than one megabyte."""


class Transport:
    """Speaks to one node; `refusal` is said when the node answers 401 or 403. Close it, or use `async with`."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], refusal: str, timeout: float = TIMEOUT
    ) -> None:
        self.url = url.rstrip("/")
        self._refusal = refusal
        self._timeout = timeout
        # A proxy of the environment must not see a token, nor come between us and the loopback.
        self._http = httpx.AsyncClient(headers=dict(headers), timeout=timeout, trust_env=False)

    async def ask(self, method: str, path: str, document: object = None) -> Any:
        """The answer's document, None for an empty one.

        Raises Unavailable, Refused, NotFound, and Malformed for what is no JSON or another failure.
        """
        status, body = await self._exchange(method, path, document)
        if status in {401, 403}:
            raise Refused(f"{self.url} refuses ({status}{_said(body)}): {self._refusal}")
        if status == 404:
            raise NotFound(f"{self.url}{path} is not there (404{_said(body)})")
        if status >= 500:
            raise Unavailable(f"{self.url} failed ({status}{_said(body)})")
        if status >= 300:
            raise Malformed(f"{self.url} did not take the request ({status}{_said(body)})")
        if not body.strip():
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Malformed(
                f"{self.url} answers with something that is no JSON; is it the node's API?"
            ) from error

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _exchange(self, method: str, path: str, document: object) -> tuple[int, bytes]:
        try:
            async with self._http.stream(method, self.url + path, json=document) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MOST:
                        raise Malformed(f"{self.url} answers with more than {MOST >> 20} MiB")
                return response.status_code, body
        except httpx.TimeoutException as error:
            raise Unavailable(f"{self.url} did not answer within {self._timeout:g} s") from error
        except httpx.ConnectError as error:
            raise Unavailable(
                f"no node answers at {self.url} ({error}); name its API with --node URL"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Unavailable(
                f"the connection to {self.url} failed: {str(error) or type(error).__name__}"
            ) from error


def _said(body: bytes) -> str:
    """The node's own words in a failure, shortened."""
    try:
        document = json.loads(body)
        error = document.get("error", document.get("exception", ""))
        text = error.get("message", "") if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        text = ""
    return f": {str(text)[:200]}" if text else ""
