"""`[cluster]`: several gateways that serve one inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nodegate.settings.base import Section
from nodegate.settings.checks import Address, Name, checked_host_or_ip

Place = Annotated[str, AfterValidator(checked_host_or_ip)]


class ClusterSettings(Section):
    """How this gateway finds the others, and what it shares with them. Needs a Consul registry."""

    enabled: bool = Field(
        True,
        description="register this gateway in Consul and share policies and bans; without a Consul registry nothing of this table counts",
    )
    service: Name = Field(
        "nodegate",
        description="service under which the gateways register; Consul DNS answers SERVICE.service.consul with the living ones",
    )
    name: Name | None = Field(
        None,
        description="this gateway's name, which no other may have; None: host name and a digest of the state directory",
    )
    address: Place | None = Field(
        None,
        description="address at which clients and the other gateways reach this one; None: that of the Consul agent",
    )
    check: Literal["http", "ttl"] | None = Field(
        None,
        description="how Consul sees that this gateway lives: it asks /readyz itself, or is told; None: http where the agent can reach the admin address",
    )
    check_interval: float = Field(
        1.0,
        ge=1,
        le=60,
        description="seconds between two checks of Consul; how fast its DNS drops a dead gateway",
    )
    forget_after: float = Field(
        3600.0,
        ge=60,
        le=2_592_000,
        description="seconds after which a gateway that is gone is forgotten; until then it may come back without a reload of HAProxy",
    )
    peers: Address | None = Field(
        None,
        description="address where HAProxy takes bans and counters from the other gateways; None: limits and automatic bans are each gateway's own",
    )
    peers_certificate: Path | None = Field(
        None,
        description="PEM file with certificate and key for the connections between HAProxies; None: in clear",
    )
    peers_ca: Path | None = Field(
        None, description="PEM file of the authority that signed the gateways' certificates"
    )
    share_limits: bool = Field(
        True,
        description="with `peers`: a client's budget and rates count over all gateways together; false: only bans are shared",
    )
    exchange: Address | None = Field(
        None,
        description="address where this gateway tells the others what its probes saw, so that a node is not asked by each; None: it probes for itself",
    )
    secret_file: Path | None = Field(
        None,
        description="file with the secret that signs the exchange, the same on all gateways; None: the first gateway makes one and keeps it in Consul",
    )
    word_intervals: float = Field(
        2.0,
        ge=1,
        le=10,
        description="probe intervals for which another gateway's word on a node counts; then this one asks by itself",
    )

    @model_validator(mode="after")
    def _certificate_and_authority(self) -> Self:
        if (self.peers_certificate is None) != (self.peers_ca is None):
            raise ValueError("peers_certificate and peers_ca belong together: set both or none")
        return self
