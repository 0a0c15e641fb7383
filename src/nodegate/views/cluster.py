"""The gateways of a cluster as documents."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from nodegate.views.models import View


class GatewayRow(View):
    """One gateway, as this one knows it."""

    name: str
    this: bool = Field(description="it is the gateway that answers")
    alive: bool = Field(description="Consul's checks of it pass")
    why: str = Field(description="why it does not live, in Consul's words; empty when it does")
    since: str | None = Field(description="when it came alive or died, as this gateway saw it")
    address: str = Field(description="where clients reach it; empty before it was registered")
    port: int
    admin: str
    peers: str | None = Field(description="where its HAProxy takes bans and counters; null: it shares none")
    version: str
    started_at: str | None
    policies: Mapping[str, str] = Field(description="version in force by kind")
    differs: tuple[str, ...] = Field(description="kinds whose policy is another one than here")
    fault: str | None = Field(description="what it could not take over")
    disagrees: Mapping[str, str] | None = Field(
        None,
        description="nodes it judges otherwise, at most 100, by id; null: not known, it shares no probes",
    )


class GatewaysDocument(View):
    """All gateways that are known, by name. `me` is the one that answers; null without a cluster."""

    me: str | None
    gateways: tuple[GatewayRow, ...] = ()
    faults: tuple[str, ...] = Field((), description="what is wrong with the cluster, seen from here")
    probes_left_to_others: int | None = Field(
        None, description="own probes that other gateways' words saved since the start; null: none are shared"
    )
