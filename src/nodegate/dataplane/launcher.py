"""HAProxy as a service of its own: leave a configuration in place that it takes, and become it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NoReturn

from nodegate.dataplane.binary import find_haproxy
from nodegate.dataplane.certificate import system_authorities
from nodegate.dataplane.lifecycle import Lifecycle
from nodegate.dataplane.process import HaproxyProcess
from nodegate.dataplane.shape import make_shape
from nodegate.dataplane.store import Store
from nodegate.errors import Conflict
from nodegate.haproxy.paths import Paths
from nodegate.settings import Settings


def become_haproxy(settings: Settings, state: Path) -> NoReturn:
    """Replace this process by HAProxy's master, on the configuration that the state directory holds.

    That is the one HAProxy had last, with its servers; where there is none, the gateway without nodes, which
    nodegate fills when it takes HAProxy over. Raises Conflict when an HAProxy runs there already or an
    address is taken, Unsafe when HAProxy takes no configuration.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = Paths(directory=state.absolute() / "haproxy", ca_bundle=system_authorities())
    process = HaproxyProcess(find_haproxy(settings.gateway.haproxy), paths)
    asyncio.run(_prepare(settings, paths, process))
    process.become()


async def _prepare(settings: Settings, paths: Paths, process: HaproxyProcess) -> None:
    found = await process.processes()
    if found is not None:
        raise Conflict(
            f"HAProxy runs on {paths.directory} already, process {found.master}; `nodegate down` stops it"
        )
    life = Lifecycle(process, Store(paths), settings.gateway.tls_certificate)
    await life.prepare(make_shape(settings, (), {}, paths))
    os.umask(0o077)
