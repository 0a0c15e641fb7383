"""`[portal]`: the page on which owners of nodes register them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nodegate.settings.base import Section
from nodegate.settings.checks import Address, Name, PathPrefix, Url

DAY = 86_400.0


def checked_network(text: str) -> str:
    """A network such as 192.0.2.0/24 or 2001:db8::/32; a single address is one too."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 192.0.2.0/24: {error}") from error


Network = Annotated[str, AfterValidator(checked_network)]


class PortalSettings(Section):
    """`[portal]`: where it listens, whom it takes, and how much it lets be asked."""

    listen: Address | None = Field(
        None, description="address of the portal's own listener, plain HTTP; None: there is no portal"
    )
    public_url: Url | None = Field(
        None,
        description="how owners reach it, such as https://nodes.example.org; links in mails begin with it. Required with listen",
    )
    path: PathPrefix = Field(
        "",
        description="path on the addresses in gateway.listen that leads to the portal too, such as /join; empty: none",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="networks of the proxies whose X-Forwarded-For is believed; the gateway's own HAProxy asks from the loopback",
    )
    title: str = Field(
        "Node registration",
        min_length=1,
        max_length=60,
        description="name of the fleet, as pages and mails show it",
    )
    contact: str = Field(
        "", max_length=200, description="where owners ask for help, shown as text on pages and in mails"
    )
    pools: tuple[Name, ...] = Field(
        ("main",), min_length=1, description="pools that nodes may join; the kind of each must be declared"
    )
    approval: bool = Field(False, description="let confirmed nodes wait until an operator approves them")
    networks: tuple[Network, ...] = Field(
        (),
        description="networks from which nodes are taken although they are not of the public internet, such as your own 10.0.0.0/8",
    )
    nodes_per_address: int = Field(
        1, ge=1, le=1000, description="nodes that may be registered at one IP address (IPv6: at one /64)"
    )
    nodes_per_owner: int = Field(
        5, ge=1, le=1000, description="nodes that may be registered with one e-mail address"
    )
    weight: int = Field(100, ge=1, le=256, description="weight of a node that has proven itself")
    probation: float = Field(
        3 * DAY,
        ge=0,
        description="seconds a node must have been up, all together, until it has its whole weight; 0: at once",
    )
    first_weight: float = Field(
        0.1, gt=0, le=1, description="share of the weight with which a node starts its probation"
    )
    tell_after: float = Field(
        1800.0, ge=1, description="seconds a node must have been out before its owner gets a mail"
    )
    remove_after: float | None = Field(
        14 * DAY, ge=60, description="seconds a node must have been out before it is removed; None: never"
    )
    link_life: float = Field(DAY, ge=60, description="seconds a link in a mail is good for")
    session_life: float = Field(
        DAY / 2, ge=60, description="seconds an owner's page stays open in a browser after a link was used"
    )
    client_checks: int = Field(
        10,
        ge=1,
        description="node checks per hour for one client (IPv6: one /64), and of one IP address",
    )
    domain_registrations: int = Field(
        50, ge=1, description="registrations per day from e-mail addresses of one domain"
    )
    recipient_mails: int = Field(
        6, ge=1, description="mails per hour to one e-mail address that somebody asked for on a page"
    )
    badges: Literal["registered", "all", "off"] = Field(
        "registered",
        description="whose status anyone may see as a badge: that of registered nodes, of all, of none",
    )
