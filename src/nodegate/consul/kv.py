"""Consul's key-value store with compare-and-set."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nodegate.consul.client import WAIT, ConsulClient, Reply
from nodegate.errors import Conflict, Malformed, NotFound, Refused
from nodegate.model import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key. `version` is Consul's ModifyIndex, which no key ever has twice: the token of compare-and-set.
    `flags` is a number that whoever writes the key may choose."""

    key: str
    value: bytes
    version: int
    flags: int = 0
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All keys below a prefix, and the index to wait on. `fresh` is False for a read without a leader."""

    entries: Mapping[str, Entry]
    index: int
    fresh: bool = True


class KeyValues:
    """The keys of one Consul cluster. All methods raise as `ConsulClient` does, and as they say themselves."""

    def __init__(self, client: ConsulClient) -> None:
        self._client = client

    async def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """The key now, None if there is none."""
        reply = await self._client.get(_path(key), stale=stale, absent=True)
        return _entries(reply).get(key)

    async def below(
        self, prefix: str, *, index: int | None = None, wait: Seconds = WAIT, stale: bool = False
    ) -> Listing:
        """All keys that begin with `prefix`: now or, with an `index`, as soon as something there changed.

        A prefix without keys is an empty listing. A token that may not read it gets the same: Consul filters in
        silence (`nodegate.consul.token` tells the two apart).
        """
        reply = await self._client.get(
            _path(prefix), params={"recurse": ""}, index=index, wait=wait, stale=stale, absent=True
        )
        return Listing(entries=_entries(reply), index=reply.index, fresh=reply.fresh)

    async def put(self, key: str, value: bytes, *, version: int | None = None, flags: int = 0) -> int:
        """Write the key if its version is `version` (0: there must be none; None: whatever it is).

        Returns the new version. Raises Conflict when the version differs; nothing is written then.
        """
        operation: dict[str, Any] = {
            "Verb": "set" if version is None else "cas",
            "Key": key,
            "Value": base64.b64encode(value).decode(),
            "Flags": flags,
        }
        if version is not None:
            operation["Index"] = max(0, version)
        if version is not None and version < 0:
            raise Conflict(f"{key}: {version} is no version")
        answer = await self._transact([{"KV": operation}])
        if answer is None:
            raise Conflict(f"{key} was changed meanwhile; read it again")
        return int(answer[0]["KV"]["ModifyIndex"])

    async def delete(self, key: str, *, version: int | None = None) -> None:
        """Delete the key if its version is `version` (None: whatever it is).

        Raises NotFound when there is none and Conflict when its version differs; nothing is deleted then.
        """
        found = await self.get(key)
        if found is None:
            raise NotFound(f"there is no key {key}")
        expected = found.version if version is None else version
        if found.version != expected:
            raise Conflict(f"{key} was changed meanwhile (version {found.version}, not {expected})")
        operation = {"Verb": "delete-cas", "Key": key, "Index": expected}
        if await self._transact([{"KV": operation}]) is None:
            raise Conflict(f"{key} was changed meanwhile; read it again")

    async def _transact(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """The results of one transaction, None when Consul rolled it back because a version differs."""
        reply = await self._client.put("/v1/txn", operations, accept=_ROLLED_BACK)
        if not isinstance(reply, dict):
            raise Malformed(f"Consul's answer to a transaction is {reply!r}")
        errors = [str(error.get("What")) for error in reply.get("Errors") or ()]
        if not errors:
            return list(reply.get("Results") or [])
        if all("index is stale" in error for error in errors):
            return None
        key = operations[0]["KV"]["Key"]
        raise Refused(
            f"Consul refuses to write {key}: {'; '.join(errors)}; the token needs key_prefix write for it"
        )


_ROLLED_BACK = frozenset({409})


def _path(key: str) -> str:
    return f"/v1/kv/{quote(key, safe='/')}"


def _entries(reply: Reply) -> dict[str, Entry]:
    found = reply.value or []
    try:
        return {
            item["Key"]: Entry(
                key=item["Key"],
                value=base64.b64decode(item["Value"] or b"", validate=True),
                version=int(item["ModifyIndex"]),
                flags=int(item.get("Flags", 0)),
                session=item.get("Session"),
            )
            for item in found
        }
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise Malformed(f"Consul's list of keys is not what it should be: {error!r}") from error
