"""Reads the document and checks what one table says against another, before any host is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from nodegate.documents import Document, KeyPath, load, validate
from nodegate.errors import BadDocument
from nodegate.host.provision.document import Fleet, Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that is in itself right: its values, its lines, and the folder that its paths are relative to."""

    document: Document
    fleet: Fleet
    folder: Path

    def path(self, name: str) -> Path:
        """The file that the document calls `name`; `~` is the operator's home."""
        return self.folder / Path(name).expanduser()

    def fault(self, key: KeyPath, message: str) -> BadDocument:
        """One fault at `key`, to be raised."""
        return BadDocument([self.document.fault(key, message)])


def read_fleet(path: Path) -> Source:
    """The document at `path`. Raises BadDocument with every fault and its line."""
    document = load(path)
    fleet = validate(Fleet, document)
    if faults := [document.fault(key, words) for key, words in _contradictions(fleet)]:
        raise BadDocument(faults)
    return Source(document=document, fleet=fleet, folder=path.absolute().parent)


def _contradictions(fleet: Fleet) -> Iterator[tuple[KeyPath, str]]:
    yield from _host_faults(fleet)
    yield from _node_faults(fleet)
    ssh = fleet.ssh
    if ssh.user == "root":
        yield ("ssh", "user"), "not root, which may not log in afterwards: name a user with sudo"
    if ssh.port == 22:
        yield ("ssh", "port"), "22 is what scanners knock at; name another one"
    gateway = fleet.gateway
    if gateway is not None and (gateway.package is None) == (gateway.program is None):
        yield ("gateway",), "give either package (what pip installs) or program (where nodegate is already)"


def _host_faults(fleet: Fleet) -> Iterator[tuple[KeyPath, str]]:
    for field in ("name", "address"):
        counts = Counter(getattr(host, field) for host in fleet.hosts)
        for number, host in enumerate(fleet.hosts):
            if counts[getattr(host, field)] > 1:
                yield ("hosts", number, field), f"{getattr(host, field)!r} is named twice"
    for number, host in enumerate(fleet.hosts):
        parts = fleet.parts(host)
        yield from (
            (("hosts", number, "runs"), f"{part} needs a table [{part}]")
            for part in parts if getattr(fleet, part) is None
        )  # fmt: skip
        if host.neighbours is not None and "node" not in parts:
            yield ("hosts", number, "neighbours"), "this host runs no node"
        if "keepalived" in parts and "gateway" not in parts:
            yield ("hosts", number, "runs"), "keepalived watches the gateway of its host: add gateway"
        if {"keepalived", "consul"} & set(parts) and own_address(host) is None:
            yield (
                ("hosts", number, "own"),
                "is missing: address is a name, and keepalived and Consul need an IP address",
            )


def _node_faults(fleet: Fleet) -> Iterator[tuple[KeyPath, str]]:
    node = fleet.node
    if node is None:
        return
    if node.name == "root":
        yield ("node", "name"), "not root: the node runs as a user of its own"
    if node.kind == "iri" and node.jar is None:
        yield ("node", "jar"), "is missing: the file with IRI's jar"
    if node.kind == "iri" and (node.command or node.program):
        yield ("node", "kind"), 'a command needs kind = "command"'
    if node.kind == "command" and not (node.command and node.command[0].startswith("/")):
        yield ("node", "command"), "should begin with the program's absolute path"
    if node.kind == "command" and node.jar is not None:
        yield ("node", "jar"), 'a jar needs kind = "iri"'
    yield from (
        (("node", "environment", name), "neighbours have a key of their own: node.neighbours")
        for name in node.environment if name == "NEIGHBORS"
    )  # fmt: skip


def own_address(host: Host) -> str | None:
    """The host's own IP address; None when only its name is known."""
    if host.own is not None:
        return host.own
    try:
        return str(ip_address(host.address))
    except ValueError:
        return None
