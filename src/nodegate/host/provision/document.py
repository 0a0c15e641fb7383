"""The document of `nodegate provision`: which hosts, and what each of them is to be. Pure.

Paths in it are relative to the document. Ports are TCP unless said otherwise.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nodegate.host.rules import WANTED

Port = Annotated[int, Field(ge=1, le=65535)]
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")
_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")

Part = Literal["node", "gateway", "keepalived", "consul"]
PARTS: tuple[Part, ...] = ("node", "gateway", "keepalived", "consul")


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None:
            raise ValueError(f"{text!r} is not {what}")
        return text

    return AfterValidator(check)


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an address or a network such as 192.0.2.0/24") from None


def _absolute(text: str) -> str:
    if re.fullmatch(r"/[A-Za-z0-9._/+@-]+", text) is None or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not an absolute path without spaces")
    return text


def _below(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._+@-][A-Za-z0-9._/+@-]*", text) is None or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not a file's name below the node's data directory")
    return text


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


User = Annotated[str, _matching(_USER, "a user's name")]
Line = Annotated[str, _matching(_LINE, "one line of text")]
Argument = Annotated[str, Field(min_length=1), _matching(_LINE, "one line of text")]
Network = Annotated[str, AfterValidator(_network)]
RemotePath = Annotated[str, AfterValidator(_absolute)]
Package = Annotated[str, _matching(_PACKAGE, "a Debian package's name")]
Neighbour = Annotated[
    str, _matching(re.compile(r"(tcp|udp)://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}"),
                   "a neighbour such as tcp://192.0.2.20:15600")
]  # fmt: skip


class Table(BaseModel):
    """A table of the document: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ssh(Table):
    """How the hosts are reached, and what SSH is afterwards: this port, keys only, no root.

    `user` administers by sudo; with `keys` (files with public keys) it is made if it is missing. A bare host that
    knows only root is entered by `first_user` at `first_port`, the first time. `key` is the private key (None:
    ssh's own choice, by agent and ~/.ssh/config). `host_keys`: "accept-new" trusts a host's key at the first
    contact and never another; "strict" wants it in known_hosts already.
    """

    user: User
    port: Port = WANTED.ssh_port
    first_user: User | None = None
    first_port: Port = 22
    key: str | None = None
    keys: tuple[str, ...] = ()
    known_hosts: str | None = None
    host_keys: Literal["accept-new", "strict"] = "accept-new"


class Opening(Table):
    """One more port that the firewall lets in; `sources` empty: from everywhere."""

    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    sources: tuple[Network, ...] = ()


class Firewall(Table):
    """nftables that drop what is not named here or by the other tables.

    `ssh_from` empty: SSH from everywhere. `tor_exits` is a file with one address a line: new connections from
    them are dropped, but for SSH. `rollback` are the seconds after which a host whose new rules cut it off takes
    the old ones back: long enough for a login over a bad line, short enough to wait for.
    """

    ssh_from: tuple[Network, ...] = ()
    open: tuple[Opening, ...] = ()
    tor_exits: str | None = None
    rollback: Annotated[int, Field(ge=20, le=600)] = 60


class System(Table):
    """Housekeeping. `time_servers` empty: the distribution's own. `reboot` ("04:30"): when upgrades that need it
    may restart the host; None: never by itself."""

    upgrades: bool = True
    reboot: Annotated[str, _matching(re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]"), "a time such as 04:30")] | None = None  # fmt: skip
    time_servers: tuple[Annotated[str, _matching(_HOST, "a server's name")], ...] = ()
    journal: Annotated[str, _matching(re.compile(r"[0-9]+[KMGT]"), "a size such as 500M")] = WANTED.journal_max_use  # fmt: skip


class Node(Table):
    """The node: IRI from a jar, or any command. It runs as the user `name`, with its data in /var/lib/NAME.

    `jar` is a file beside the document; `java` the program that runs it and `java_package` what installs that
    (empty: nothing, it is there). `command` is the program, absolute, and its arguments; `program` a file
    beside the document that is put where the command begins. `files` are put into the data directory: name there
    → file here. `api_from` empty: the API listens on the loopback only; else those hosts (the gateways) may ask.
    `peer_ports` are open for everybody. `memory` bounds the whole unit.
    """

    name: User = "iri"
    kind: Literal["iri", "command"] = "iri"
    jar: str | None = None
    java: RemotePath = "/usr/bin/java"
    java_package: Package | Literal[""] = "default-jre-headless"
    java_options: tuple[Argument, ...] = ("-Xmx2g",)
    command: tuple[Argument, ...] = ()
    program: str | None = None
    options: tuple[Argument, ...] = ()
    files: dict[Annotated[str, AfterValidator(_below)], str] = {}
    environment: dict[Annotated[str, _matching(_VARIABLE, "a variable's name")], Line] = {}
    neighbours: tuple[Neighbour, ...] | None = None
    port: Port = WANTED.node_port
    api_from: tuple[Network, ...] = ()
    remote_limit: tuple[Annotated[str, _matching(re.compile(r"[A-Za-z]+"), "a command's name")], ...] = (
        "addNeighbors", "getNeighbors", "removeNeighbors", "attachToTangle", "interruptAttachingToTangle",
    )  # fmt: skip
    peer_ports: tuple[Opening, ...] = (Opening(port=15600),)
    fd_limit: Annotated[int, Field(ge=1024, le=1_048_576)] = WANTED.fd_limit
    memory: Annotated[str, _matching(re.compile(r"[0-9]+[KMGT]"), "a size such as 6G")] | None = None


class Gateway(Table):
    """nodegate and its HAProxy, as two units. `config` is a nodegate.toml beside the document, `files` more for
    /etc/nodegate (certificates, tokens): name there → file here. Either `package` (what pip installs into
    /opt/nodegate: a wheel beside the document, or a requirement) or `program`, where nodegate is already."""

    config: str
    files: dict[Annotated[str, AfterValidator(_below)], str] = {}
    package: str | None = None
    program: RemotePath | None = None


class Keepalived(Table):
    """A shared address for the hosts that run `keepalived`: the first of the document has it first. `config` of
    [gateway] must set gateway.health."""

    addresses: tuple[str, ...]
    interface: str
    router_id: int = 51
    advert: float = 0.2
    ready: int = 1
    pool: str | None = None


class Consul(Table):
    """Consul's agent. `gossip_key` and `ca` are files beside the document; `binary` one that is put at `program`,
    without it the package `package` is installed (empty: nothing)."""

    join: tuple[str, ...]
    gossip_key: str
    ca: str | None = None
    datacenter: str = "dc1"
    binary: str | None = None
    package: Package | Literal[""] = "consul"
    program: RemotePath = "/usr/bin/consul"
    modern: bool = False


class Host(Table):
    """One host; `runs` None: every part that the document has. What stands here wins over [ssh] and [node]."""

    name: Annotated[str, _matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}"), "a host's name")]
    address: Annotated[str, _matching(_HOST, "a host's address")]
    runs: tuple[Part, ...] | None = None
    neighbours: tuple[Neighbour, ...] | None = None
    own: Annotated[str, AfterValidator(_ip)] | None = None
    ssh_port: Port | None = None
    first_port: Port | None = None


class Fleet(Table):
    """The whole document."""

    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    ssh: Ssh
    node: Node | None = None
    firewall: Firewall = Firewall()
    system: System = System()
    gateway: Gateway | None = None
    keepalived: Keepalived | None = None
    consul: Consul | None = None

    def parts(self, host: Host) -> tuple[Part, ...]:
        """What runs on the host."""
        there = tuple(part for part in PARTS if getattr(self, part) is not None)
        return there if host.runs is None else tuple(part for part in PARTS if part in host.runs)
