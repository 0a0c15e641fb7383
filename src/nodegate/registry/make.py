"""The registry that the settings ask for."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from nodegate.consul.client import ConsulClient
from nodegate.errors import Unavailable
from nodegate.model import Seconds
from nodegate.ports import Clock
from nodegate.registry.consul import ConsulRegistry
from nodegate.registry.sqlite import SqliteRegistry
from nodegate.settings import RegistrySettings, Settings

TOKEN_VARIABLE = "CONSUL_HTTP_TOKEN"  # noqa: S105 -- the variable's name, as Consul's own tools have it
SQLITE_FILE = "registry.db"
MEMORY_FILE = "inventory.json"


def make_registry(
    settings: Settings, directory: Path, clock: Clock, environ: Mapping[str, str]
) -> SqliteRegistry | ConsulRegistry:
    """The registry of `settings.registry`, with what it keeps in the state directory.

    Nothing is asked yet. Raises Unavailable, naming the file, for certificates that cannot be used.
    """
    if not settings.registry.consul_urls:
        return SqliteRegistry(directory / SQLITE_FILE, clock)
    client = make_client(settings.registry, environ)
    return ConsulRegistry(client, clock, settings.registry, settings.fabio, memory=directory / MEMORY_FILE)


def make_client(settings: RegistrySettings, environ: Mapping[str, str]) -> ConsulClient:
    """The client of the Consul that `settings` name. Raises Unavailable for certificates that cannot be used."""
    return ConsulClient(
        settings.base_urls,
        token=_token(settings, environ),
        tls=_tls(settings),
        timeout=Seconds(settings.timeout),
        datacenter=settings.datacenter,
    )


def _token(settings: RegistrySettings, environ: Mapping[str, str]) -> str | Callable[[], str | None] | None:
    if settings.token_file is not None:
        return _TokenFile(settings.token_file)
    if settings.token is not None:
        return settings.token.get_secret_value()
    return environ.get(TOKEN_VARIABLE) or None


class _TokenFile:
    """The token of a file, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """Raises Unavailable, naming the file, when it cannot be read."""
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_ino)
            if mark != self._mark:
                self._token, self._mark = self._path.read_text(encoding="ascii").strip(), mark
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"registry.token_file {self._path} cannot be read: {error}") from error
        return self._token


def _tls(settings: RegistrySettings) -> ssl.SSLContext | None:
    if not any(url.startswith("https:") for url in settings.base_urls):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_certificate is not None:
            context.load_cert_chain(settings.tls_certificate)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"registry.tls_ca or registry.tls_certificate cannot be used: {error}") from error
    return context
