"""What the cluster keeps in Consul's KV: policies and bans as records. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nodegate.errors import Malformed
from nodegate.model import Instant

POLICIES = "nodegate/policies/"
BANS = "nodegate/bans/"
SECRET = "nodegate/cluster/secret"  # noqa: S105 -- the key's name


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """The operator's document for one kind, under `nodegate/policies/KIND`. `toml` None means the shipped policy
    as it is; `file` is the document's name for messages; `by` and `at` say which gateway wrote it and when."""

    toml: str | None
    file: str
    by: str
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class BanRecord:
    """An operator's ban of one client, under `nodegate/bans/CLIENT`: until when, 0 when it was lifted."""

    until: Instant
    by: str
    at: Instant


def policy_json(record: PolicyRecord) -> bytes:
    """The record as it is kept."""
    return _json({"toml": record.toml, "file": record.file, "by": record.by, "at": record.at})


def ban_json(record: BanRecord) -> bytes:
    """The record as it is kept."""
    return _json({"until": record.until, "by": record.by, "at": record.at})


def read_policy(key: str, value: bytes) -> PolicyRecord:
    """The inverse of `policy_json`. Raises Malformed, naming the key."""
    data = _object(key, value)
    toml = data.get("toml")
    if toml is not None and not isinstance(toml, str):
        raise Malformed(f"Consul key {key}: toml is neither text nor null")
    return PolicyRecord(
        toml=toml,
        file=str(data.get("file", "document")),
        by=str(data.get("by", "")),
        at=_time(key, data, "at"),
    )


def read_ban(key: str, value: bytes) -> BanRecord:
    """The inverse of `ban_json`. Raises Malformed, naming the key."""
    data = _object(key, value)
    return BanRecord(
        until=_time(key, data, "until"), by=str(data.get("by", "")), at=_time(key, data, "at", default=0.0)
    )


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _object(key: str, value: bytes) -> dict[str, Any]:
    try:
        data = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"Consul key {key} is no JSON") from error
    if not isinstance(data, dict):
        raise Malformed(f"Consul key {key} is no JSON object")
    return data


def _time(key: str, data: dict[str, Any], name: str, default: float | None = None) -> Instant:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise Malformed(f"Consul key {key}: {name} is no time in seconds")
    return Instant(float(value))
