"""Where the files of one gateway's HAProxy lie. Names only; nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROUTES = "routes"
METHODS = "methods"
MAPS = (ROUTES, METHODS)
"""The maps of every configuration, by name; `maps/NAME.map` are their files. Policies bring more."""

CERTIFICATE = "certificate.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The files in `directory`, HAProxy's own corner of the state directory.

    `ca_bundle` holds the authorities that the system trusts, None when it has none.
    """

    directory: Path
    ca_bundle: Path | None = None

    @property
    def config(self) -> Path:
        """The configuration that the next start or reload of HAProxy reads."""
        return self.directory / "haproxy.cfg"

    @property
    def good_config(self) -> Path:
        """The last configuration that HAProxy took."""
        return self.directory / "haproxy.cfg.good"

    @property
    def new_config(self) -> Path:
        """A configuration that is still to be validated."""
        return self.directory / "haproxy.cfg.new"

    @property
    def runtime_socket(self) -> Path:
        """The worker's runtime commands."""
        return self.directory / "haproxy.sock"

    @property
    def master_socket(self) -> Path:
        """The master's commands (`reload`, `show proc`)."""
        return self.directory / "master.sock"

    @property
    def exporter_socket(self) -> Path:
        """HTTP on a UNIX socket: `/metrics` for Prometheus, `/healthz`."""
        return self.directory / "exporter.sock"

    @property
    def certificate(self) -> Path:
        """The last good copy of the listener's certificate and key."""
        return self.directory / CERTIFICATE

    @property
    def log(self) -> Path:
        """What HAProxy itself writes to its standard output and error."""
        return self.directory / "haproxy.log"

    @property
    def access_log(self) -> Path:
        """One JSON line per request, beside this directory."""
        return self.directory.parent / "access.log"

    def map_file(self, name: str) -> Path:
        """The file of map `name`."""
        return self.directory / map_reference(name)


def map_reference(name: str) -> str:
    """How the configuration and runtime commands name the map `name`: relative to the configuration."""
    return f"maps/{name}.map"
