"""Policies, clients and bans as documents of the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from nodegate.views.models import View


class PolicyRow(View):
    """The policy of one kind, in one look."""

    kind: str
    version: str = Field(description="digest of what is in force")
    source: str = Field(description="shipped, or the operator's document laid over it by name")
    default: str = Field(description="what happens to methods that the policy does not name: deny or allow")
    open: int = Field(description="methods that clients may call")
    closed: int = Field(description="methods that are named and closed")


class PoliciesDocument(View):
    """All policies in force, and what is wrong with documents that are not."""

    policies: tuple[PolicyRow, ...]
    faults: tuple[str, ...] = Field(description="documents that could not be taken; the last good ones stay")


class PolicyDetail(PolicyRow):
    """One policy, whole."""

    document: Mapping[str, Any] | None = Field(
        description="the operator's document, null while the shipped one is in force as it is"
    )
    effective: Mapping[str, Any] = Field(description="all values in force, by the keys of the document")


class DifferenceRow(View):
    """One thing that changes between two policies."""

    place: str = Field(description="table of the document, such as methods.getTips")
    effect: str = Field(description="opens, closes, loosens, tightens or changes")
    text: str


class FindingRow(View):
    """A finding on a document."""

    level: str = Field(description="error or warning")
    file: str
    line: int | None
    key: str
    message: str


class PolicyApplied(View):
    """What came of an apply."""

    kind: str
    version: str
    before: str = Field(description="the version until now; empty: there was none")
    reload: str = Field(description="why HAProxy had to be reloaded; empty: it did not")
    differences: tuple[DifferenceRow, ...]
    warnings: tuple[FindingRow, ...]


class ClientRow(View):
    """One client as HAProxy counts it: an address, an IPv6 /64, or an API key."""

    client: str
    kind: str = Field(description="kind of node it asks for")
    key: str | None = Field(description="name of its API key, null: none")
    requests: int = Field(description="as long as HAProxy has remembered the client")
    rate_10s: int = Field(description="requests in the last 10 seconds")
    concurrent: int = Field(description="requests under way")
    cost_10s: int = Field(description="units in the last 10 seconds")
    cost_1m: int = Field(description="units in the last minute")
    refusals_1m: int = Field(description="refusals in the last minute")
    banned_until: str | None


class BanRow(View):
    """One ban."""

    client: str
    until: str = Field(description="when it ends by itself")
    automatic: bool = Field(description="by the policy, not by an operator")


class ClientsDocument(View):
    """The clients that cost most, and all bans."""

    seen: int = Field(description="clients that HAProxy remembers now")
    clients: tuple[ClientRow, ...]
    bans: tuple[BanRow, ...]


class BansDocument(View):
    """All bans now."""

    bans: tuple[BanRow, ...]


class BansLifted(View):
    """Who was set free."""

    lifted: tuple[str, ...]
