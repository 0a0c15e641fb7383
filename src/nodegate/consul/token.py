"""Whether Consul's word may be believed: with a revoked token it answers reads with nothing at all, status 200."""

from __future__ import annotations

from typing import Any

from nodegate.consul.client import ConsulClient
from nodegate.errors import Refused

READS = 'node_prefix "" { policy = "read" } and service_prefix "" { policy = "read" }'


async def prove_token(client: ConsulClient) -> None:
    """Raise Refused when Consul does not know the token (any more). Without access control there is nothing
    to prove."""
    try:
        await client.get("/v1/acl/token/self")
    except Refused as error:
        if "ACL support disabled" not in str(error):
            raise Refused(f"Consul does not accept the token: {error}") from error


def refuse_blindness(checks: Any, services: Any) -> None:
    """Raise Refused for a catalogue that no living cluster has: no check at all (each Consul node has one), or
    no service `consul` (the servers themselves). It is what a token that may not read gets to see."""
    if not checks or not isinstance(services, dict) or "consul" not in services:
        missing = "no node" if not checks else "no services"
        raise Refused(
            f"Consul shows {missing}, not even its own: the token (or the anonymous one) needs {READS}"
        )
