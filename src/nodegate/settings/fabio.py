"""`[fabio]`: what the tags of Fabio and of the HAProxy predecessor mean on services of a Consul registry."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nodegate.settings.base import Section
from nodegate.settings.checks import Name


def _checked_network(text: str) -> str:
    """A network in CIDR form or a single address."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8") from error


Network = Annotated[str, AfterValidator(_checked_network)]


class AuthScheme(Section):
    """`[fabio.auth.NAME]`: who may use routes with `auth=NAME`."""

    file: Path = Field(
        description="htpasswd file with bcrypt ($2y$) or crypt ($5$, $6$) passwords; read at the start"
    )
    realm: str = Field(
        "",
        max_length=100,
        pattern=r"^[ !#-\[\]-~]*$",
        description="what browsers show; empty: the scheme's name",
    )


class FabioSettings(Section):
    """How services with `urlprefix-` tags are routed. Counts with a Consul registry only."""

    enabled: bool = Field(True, description="understand `urlprefix-` tags")
    predecessor: bool = Field(
        True, description="understand `haproxy.` tags, as the HAProxy and Consul balancer for IRI used them"
    )
    strict: bool = Field(
        False,
        description="Fabio's own behaviour where nodegate's is deliberately another: a failing check takes an instance out at once and without damping, Consul's Weights do not count, a port in the Host header must be in the route, a redirect that cannot be understood is proxied",
    )
    tag_prefix: str = Field(
        "urlprefix-", min_length=1, pattern=r"^\S+$", description="what routing tags begin with"
    )
    service_status: tuple[Literal["passing", "warning", "critical", "unknown"], ...] = Field(
        ("passing",), min_length=1, description="statuses of a Consul check that let an instance serve"
    )
    checks_required: Literal["one", "all"] = Field(
        "one", description="how many of an instance's own checks must have such a status"
    )
    unchecked: bool = Field(
        False,
        description="route instances that have no check of their own too: nodegate's probes judge them; Fabio never does",
    )
    matcher: Literal["prefix", "iprefix", "glob"] = Field(
        "prefix",
        description="how the path of a route is compared: as a prefix, as a prefix whatever the case, or as a glob of the whole path",
    )
    glob_hosts: bool = Field(True, description="hosts of routes may be globs such as *.example.com")
    no_route_status: int = Field(
        404, ge=200, le=599, description="status of the answer to requests that match no route"
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        max_length=24,
        description="networks whose Forwarded, X-Forwarded-* and X-Real-Ip headers are believed and extended; of everybody else they are replaced",
    )
    auth: Mapping[Name, AuthScheme] = Field(
        default_factory=dict, description="basic authentication for routes with `auth=NAME`"
    )
