"""`[registry]`: where nodes are declared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from nodegate.settings.base import Section
from nodegate.settings.checks import checked_address

SQLITE = "sqlite"
SCHEMES = {"consul": "http", "consuls": "https", "http": "http", "https": "https"}
"""How Consul is reached: `consul://` in clear, `consuls://` over TLS; its own tools write http and https."""


def _checked_place(text: str) -> str:
    """`sqlite`, or Consul's address as consul://HOST:PORT, 8500 where no port is given (TLS: 8501)."""
    if text == SQLITE:
        return text
    parts = urlsplit(text)
    if (
        parts.scheme not in SCHEMES
        or not parts.netloc
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f'{text!r} is neither "sqlite" nor an address such as consul://127.0.0.1:8500')
    if "@" in parts.netloc:
        raise ValueError("an address holds no user name and no token; use token_file")
    port = (
        ""
        if re.search(r":[0-9]+$", parts.netloc)
        else (":8500" if SCHEMES[parts.scheme] == "http" else ":8501")
    )
    checked_address(parts.netloc + port)
    return f"{parts.scheme}://{parts.netloc}{port}"


def _many(value: object) -> object:
    """One address stands for a list of one; in a variable they are parted by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _checked_service(text: str) -> str:
    try:
        name = text.format(kind="iri", pool="main")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{text!r}: only {{kind}} and {{pool}} may stand in braces") from error
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", name) is None:
        raise ValueError(f"{text!r}: Consul DNS knows letters, digits and dashes only")
    return text


Place = Annotated[str, AfterValidator(_checked_place)]


class RegistrySettings(Section):
    """Where nodes are declared: in a file of this machine, or in Consul for all gateways."""

    url: Annotated[tuple[Place, ...], BeforeValidator(_many)] = Field(
        (SQLITE,),
        min_length=1,
        description='"sqlite", or Consul as consul://HOST:PORT (consuls:// with TLS), the agent of this machine first; several are tried in turn',
    )
    token: SecretStr | None = Field(
        None, description="Consul's ACL token; better in `token_file`, or in the variable CONSUL_HTTP_TOKEN"
    )
    token_file: Path | None = Field(
        None, description="file that holds the token; a changed one counts at the next request. None: no file"
    )
    tls_ca: Path | None = Field(
        None, description="PEM file of the authority that signed Consul's certificate; None: the system's"
    )
    tls_certificate: Path | None = Field(
        None,
        description="PEM file with certificate and key that Consul asks clients for; None: it asks for none",
    )
    datacenter: str | None = Field(
        None,
        pattern=r"^[a-z0-9_-]+$",
        description="Consul data centre to read and write; None: the agent's own",
    )
    timeout: float = Field(
        5.0, gt=0, le=60, description="seconds for Consul to answer before the next address is tried"
    )
    services: tuple[str, ...] = Field(
        (),
        description="names of services to look at, `*` and `?` allowed; empty: all. Those without tags or meta for nodegate are left alone",
    )
    service: Annotated[str, AfterValidator(_checked_service)] = Field(
        "nodegate-{kind}",
        description="name of the service under which `nodegate nodes add` registers a node; {kind} and {pool} are the node's",
    )
    check: Literal["http", "script", "none"] = Field(
        "http",
        description="check of such a service: http asks what the kind asks first, script runs `nodegate check` (the agent needs enable_script_checks), none leaves it to nodegate's probes",
    )
    check_command: tuple[str, ...] = Field(
        ("nodegate", "check"),
        min_length=1,
        description="command line of the script check, before the node's URL",
    )
    check_interval: float = Field(10.0, ge=1, le=3600, description="seconds between two runs of such a check")
    publish_verdict: bool = Field(
        False,
        description="tell Consul nodegate's verdicts as a TTL check on each service of the agent of this machine, so that Fabio, Traefik and Consul DNS follow them",
    )
    verdict_ttl: float = Field(
        60.0,
        ge=3,
        le=3600,
        description="seconds after which a verdict that is not confirmed turns critical in Consul",
    )
    take_over_after: float = Field(
        60.0,
        ge=5,
        le=86400,
        description="seconds for which a Consul agent must be lost until another gateway registers the nodes of `nodegate nodes add` that it had",
    )
    max_vanish: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of all service instances that may vanish from Consul at once; more are kept for a while",
    )
    vanish_hold: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="seconds for which they are kept, and for which the checks of an agent that has started again keep their former state; 0: not at all",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.url) > 1 and SQLITE in self.url:
            raise ValueError('url: "sqlite" stands alone')
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file: set one of them")
        if len({SCHEMES[place.partition("://")[0]] for place in self.consul_urls}) > 1:
            raise ValueError("url: all addresses are reached with TLS, or none")
        return self

    @property
    def consul_urls(self) -> tuple[str, ...]:
        """Consul's base URLs, empty for the embedded registry."""
        return tuple(place for place in self.url if place != SQLITE)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """`consul_urls` as http and https."""
        parted = (place.partition("://") for place in self.consul_urls)
        return tuple(f"{SCHEMES[scheme]}://{rest}" for scheme, _, rest in parted)
