"""`nodegate nodes import --from consul://…` and `nodegate nodes export --to consul-json`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nodegate.errors import BadDocument, Fault

if TYPE_CHECKING:
    from nodegate.cli.client import AdminClient
    from nodegate.registry.consulmoves import Taken
    from nodegate.settings import FabioSettings, RegistrySettings

FORM = "consul-json"


def read_consul(place: str, token_file: Path | None, tls_ca: Path | None, tag_prefix: str) -> Taken:
    """The services of the Consul at `place` as nodes. Raises as ConsulClient, BadDocument for what is no place."""
    import asyncio

    from pydantic import ValidationError

    from nodegate.settings import FabioSettings, RegistrySettings

    try:
        settings = RegistrySettings.model_validate({"url": place, "token_file": token_file, "tls_ca": tls_ca})
        fabio = FabioSettings(tag_prefix=tag_prefix)
    except ValidationError as error:
        words = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise BadDocument([Fault(file="--from", line=None, key="", message=words)]) from error
    if not settings.consul_urls:
        message = "write an address such as consul://127.0.0.1:8500"
        raise BadDocument([Fault(file="--from", line=None, key="", message=message)])
    return asyncio.run(_taken(settings, fabio))


async def _taken(settings: RegistrySettings, fabio: FabioSettings) -> Taken:
    from nodegate.consul.watch import CatalogWatch
    from nodegate.daemon.clock import SteadyClock
    from nodegate.registry.consulmoves import taken_over
    from nodegate.registry.make import make_client

    async with make_client(settings, os.environ) as client:
        watch = CatalogWatch(client, SteadyClock())
        try:
            catalog = await watch.read()
        finally:
            await watch.close()
    return taken_over(catalog.instances, fabio)


def written_for_consul(daemon: AdminClient, pool: str | None, tag_prefix: str) -> tuple[str, list[str]]:
    """All nodes as a document for `consul services register`, and what it cannot say."""
    from nodegate.cli.transfer import node_of
    from nodegate.model import Intent
    from nodegate.protocols import adapters
    from nodegate.registry.consulmoves import service_definitions
    from nodegate.settings import ProbeSettings, RegistrySettings

    nodes = [node_of(row) for row in daemon.nodes(pool=pool).nodes]
    document = service_definitions(
        nodes, daemon.route_commands(), adapters(), RegistrySettings(), ProbeSettings(), tag_prefix
    )
    lost = [
        f"{node.id}: its intent is {node.intent.value}; "
        + ("it is left out" if node.intent is Intent.REMOVE else "Consul has no word for it")
        for node in nodes
        if node.intent is not Intent.SERVE
    ]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n", lost
