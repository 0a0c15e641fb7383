"""One request against a policy, as typed into a form. No traffic. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any

from nodegate.errors import BadDocument, Fault
from nodegate.policy.guard import GuardRequest
from nodegate.policy.trial import try_request
from nodegate.policy.values import Policy

ORDINARY: dict[str, dict[str, str]] = {
    "iri": {"X-IOTA-API-Version": "1"},
    "evm": {"Content-Type": "application/json"},
}
"""Headers that every client library of a kind sends."""


def try_out(
    policy: Policy, *, method: str, path: str, body: str, headers: str, client: str
) -> dict[str, Any]:
    """The verdict as `try_request` writes it. `headers` has one `NAME: VALUE` a line, `client` is an address or
    empty. Raises BadDocument for what cannot be sent."""
    pairs = []
    for line in filter(str.strip, headers.splitlines()):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise _bad(f"write headers as NAME: VALUE, not {line!r}")
        pairs.append((name.strip(), value.strip().encode("utf-8", "surrogatepass")))
    request = GuardRequest(
        method=method, target=path.encode("utf-8", "surrogatepass"), headers=pairs,
        body=body.encode("utf-8", "surrogatepass"), peer=_address(client),
    )  # fmt: skip
    return try_request(policy, request)


def _address(text: str) -> str | None:
    if not text.strip():
        return None
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError as error:
        raise _bad(f"{text!r} is not an IP address") from error


def _bad(message: str) -> BadDocument:
    return BadDocument([Fault(file="request", line=None, key="", message=message)])
