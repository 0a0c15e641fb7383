"""What the document's files hold: keys, addresses of Tor exits, the jar's digest. Reads, and decides nothing else."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

from nodegate.documents import KeyPath
from nodegate.errors import BadDocument, Fault
from nodegate.host.provision.reading import Source
from nodegate.settings import Settings, load_settings

T = TypeVar("T")
_KEY = re.compile(r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) ([A-Za-z0-9+/=]{40,})( [^\x00-\x1f]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file of the operator's machine that goes to the hosts as it is."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that was read. `keys` are public keys, `own_key` the one that belongs to ssh.key (None: unknown);
    `uploads` by the name that the document calls them."""

    keys: tuple[str, ...]
    own_key: str | None
    tor4: tuple[str, ...]
    tor6: tuple[str, ...]
    uploads: Mapping[str, Upload]
    settings: Settings | None
    gossip_key: str


def read_inputs(source: Source) -> Inputs:
    """Raises BadDocument with every file that is missing or does not hold what it should."""
    fleet, attempts = source.fleet, _Attempts(source)
    keys: list[str] = []
    for number, name in enumerate(fleet.ssh.keys):
        keys += attempts.read(("ssh", "keys", number), partial(_public_keys, source.path(name))) or []
    tor = (
        attempts.read(("firewall", "tor_exits"), partial(_addresses, source, fleet.firewall.tor_exits)) or []
    )
    uploads = {
        name: attempts.read(key, partial(_upload, source.path(name))) for key, name in _upload_names(source)
    }
    settings = gossip = None
    if fleet.gateway is not None:
        settings = attempts.read(
            ("gateway", "config"), partial(load_settings, source.path(fleet.gateway.config), {})
        )
    if fleet.consul is not None:
        place = source.path(fleet.consul.gossip_key)
        gossip = attempts.read(("consul", "gossip_key"), partial(place.read_text, "utf-8", "replace"))
    own = attempts.read(("ssh", "key"), partial(own_key, source))
    attempts.end()
    return Inputs(
        keys=tuple(dict.fromkeys(keys)), own_key=own, settings=settings, gossip_key=(gossip or "").strip(),
        uploads={name: upload for name, upload in uploads.items() if upload is not None},
        tor4=tuple(str(item) for item in tor if item.version == 4),
        tor6=tuple(str(item) for item in tor if item.version == 6),
    )  # fmt: skip


class _Attempts:
    """Reads one file after the other and keeps what is wrong, so that an operator sees all of it at once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._faults: list[Fault] = []

    def read(self, key: KeyPath, reader: Callable[[], T]) -> T | None:
        """What the reader gives; None, and a fault at `key` of the document, when it cannot."""
        try:
            return reader()
        except BadDocument as error:
            self._faults.extend(error.faults)
        except OSError as error:
            words = f"{error.filename} cannot be read: {error.strerror}"
            self._faults.append(self._source.document.fault(key, words))
        return None

    def end(self) -> None:
        """Raises BadDocument when anything was wrong."""
        if self._faults:
            raise BadDocument(self._faults)


def own_key(source: Source) -> str | None:
    """The public part of ssh.key, without its comment; None when ssh is to choose, or when only a passphrase
    would tell it."""
    name = source.fleet.ssh.key
    if name is None:
        return None
    place = source.path(name)
    with place.open("rb"):
        pass  # a missing or closed file is a fault; ssh-keygen's own words are about formats
    done = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(place)], capture_output=True, text=True, check=False, timeout=30
    )  # fmt: skip
    public = place.with_name(place.name + ".pub")
    if done.returncode == 0:
        text = done.stdout
    elif public.exists():
        text = public.read_text()
    else:
        return None
    found = _KEY.match(text)
    return None if found is None else f"{found[1]} {found[2]}"


def _public_keys(place: Path) -> list[str]:
    found = []
    for number, line in enumerate(place.read_text("utf-8", errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if _KEY.fullmatch(text) is None:
            words = "not a public key (a private one must never be named here)"
            raise BadDocument([Fault(file=str(place), line=number, key="", message=words)])
        found.append(text)
    if not found:
        raise BadDocument([Fault(file=str(place), line=None, key="", message="holds no public key")])
    return found


def _addresses(source: Source, name: str | None) -> list[IPv4Address | IPv6Address]:
    if name is None:
        return []
    place = source.path(name)
    found, faults = set(), []
    for number, line in enumerate(place.read_text("utf-8", errors="replace").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found.add(ip_address(text))
        except ValueError:
            faults.append(
                Fault(file=str(place), line=number, key="", message=f"{text[:60]!r} is not an IP address")
            )
    if faults:
        raise BadDocument(faults[:20])
    return sorted(found, key=lambda item: (item.version, int(item)))


def _upload_names(source: Source) -> list[tuple[KeyPath, str]]:
    fleet = source.fleet
    names: list[tuple[KeyPath, str | None]] = []
    if fleet.node is not None:
        names += [(("node", "jar"), fleet.node.jar), (("node", "program"), fleet.node.program)]
        names += [(("node", "files", there), here) for there, here in fleet.node.files.items()]
    if fleet.gateway is not None:
        names.append((("gateway", "config"), fleet.gateway.config))
        names += [(("gateway", "files", there), here) for there, here in fleet.gateway.files.items()]
        if fleet.gateway.package is not None and fleet.gateway.package.endswith(".whl"):
            names.append((("gateway", "package"), fleet.gateway.package))
    if fleet.consul is not None:
        names += [(("consul", "binary"), fleet.consul.binary), (("consul", "ca"), fleet.consul.ca)]
    return [(key, name) for key, name in names if name is not None]


def _upload(place: Path) -> Upload:
    digest = hashlib.sha256()
    with place.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return Upload(path=place, sha256=digest.hexdigest())
