"""Consul's refusals and failures as errors of nodegate's tree. Pure."""

from __future__ import annotations

from nodegate.errors import NodegateError, NotFound, Refused, Unavailable

LEADERLESS = ("No cluster leader", "No known Consul servers", "leadership lost", "failed to get conn")
"""What Consul says when a request never reached a leader: sending it again elsewhere is safe."""
UNWANTED = ("Scripts are disabled", "Invalid", "Must provide", "missing", "must be")
"""Faults of the request that Consul 1.8 answers with 500."""


class Unsent(Unavailable):
    """The request did not take effect: it may be sent to another address."""


def failure_of(address: str, method: str, path: str, status: int, text: str) -> NodegateError:
    """The error that a status of 300 or more stands for. Consul answers in plain sentences."""
    said = " ".join(text.split())[:300] or f"status {status}"
    where = f"Consul at {address}: {method} {path}"
    if status == 404:
        return NotFound(f"{where}: {said}")
    if status in {401, 403}:
        return Refused(f"{where}: {said}{_needs(method, path) if status == 403 else ''}")
    if status in {429, 502, 503, 504}:
        return Unavailable(f"{where}: status {status}, {said}")
    if status < 500 or any(word in said for word in UNWANTED):
        return Refused(f"{where}: {said}")
    kind = Unsent if any(word in said for word in LEADERLESS) else Unavailable
    return kind(f"Consul at {address}: {said}")


_RIGHTS = (
    ("/v1/kv/", "key_prefix", "nodegate/"),
    ("/v1/agent/service", "service_prefix", "nodegate"),
    ("/v1/agent/check", "service_prefix", "nodegate"),
    ("/v1/session", "session_prefix", ""),
    ("/v1/agent/self", "agent_prefix", ""),
    ("/v1/catalog", "service_prefix", ""),
    ("/v1/health", "node_prefix", ""),
)


def _needs(method: str, path: str) -> str:
    """What the token lacks, as the line of an ACL policy."""
    right = "read" if method == "GET" else "write"
    for start, resource, prefix in _RIGHTS:
        if path.startswith(start):
            return f'; the token needs {resource} "{prefix}" {{ policy = "{right}" }}'
    return "; the token does not allow it"
