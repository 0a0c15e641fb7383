"""NiceGUI with the pages on it. Importing this module loads NiceGUI, which takes half a second and 40 MB."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nicegui.run
from fastapi import FastAPI, Request
from nicegui import Client, app, ui
from starlette.types import ASGIApp

from nodegate.dashboard.files import Files, Nonces
from nodegate.dashboard.frame import Build, Site, open_page
from nodegate.dashboard.gate import TOKEN
from nodegate.dashboard.pages import (
    clients,
    cluster,
    events,
    node,
    nodes,
    overview,
    plan,
    policy,
    registrations,
)
from nodegate.dashboard.roles import Role
from nodegate.dashboard.source import Source
from nodegate.dashboard.warm import warm

log = logging.getLogger("nodegate.dashboard")

PAGES: tuple[tuple[str, str, Build], ...] = (
    ("/", "Overview", overview.build),
    ("/nodes", "Nodes", nodes.build),
    ("/clients", "Clients", clients.build),
    ("/policy", "Policy", policy.build),
    ("/plan", "Plan", plan.build),
    ("/events", "Events", events.build),
    ("/cluster", "Cluster", cluster.build),
    ("/registrations", "Registrations", registrations.build),
)
FIRST = ("/", "/nodes")
"""Pages that are built once before somebody waits for them; together they have all that pages are made of."""
RECONNECT = 25.0
"""Seconds for which a page that lost its connection is kept: a phone that changes its network."""


@asynccontextmanager
async def running(source: Source, prefix: str) -> AsyncIterator[ASGIApp]:
    """The pages under `prefix`, as one ASGI application, as long as the context lasts."""
    site = Site(source)
    for path, title, build in PAGES:
        _add(site, path, title, build)
    _add_node(site)
    app.add_middleware(Nonces)
    app.config.socket_io_js_transports = ["websocket"]
    nicegui.run.process_pool_start_method = "spawn"
    host = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.run_with(
        host, mount_path=prefix, title="nodegate", dark=None, language="en-US", tailwind=False,
        binding_refresh_interval=None, reconnect_timeout=RECONNECT, message_history_length=50,
        gzip_middleware_factory=None, show_welcome_message=False,
        favicon=Path(__file__).parent / "assets" / "favicon.svg",
    )  # fmt: skip
    async with host.router.lifespan_context(host):
        looking = asyncio.create_task(site.hub.run(), name="dashboard")
        files = Files(host)
        try:
            await _warm(site, files, prefix)
            yield files
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


async def _warm(site: Site, files: ASGIApp, prefix: str) -> None:
    """Build the pages that people open first, for a viewer who is gone afterwards."""
    sessions, now = site.source.sessions, site.source.now()
    viewer = sessions.of_cookie(sessions.begin(Role.VIEWER, TOKEN, now), now)
    assert viewer is not None
    strangers = set(Client.instances)
    try:
        count = await warm(files, [f"{prefix}{path}" for path in FIRST], viewer.id)
        log.debug("%d files of the dashboard are ready", count)
    except Exception:  # the pages work without it, only later
        log.exception("the dashboard's pages could not be prepared by a fault of nodegate's own")
    finally:
        sessions.end(viewer.id)
        for name in set(Client.instances) - strangers:
            Client.instances[name].delete()


def _add(site: Site, path: str, title: str, build: Build) -> None:
    @ui.page(path, title=f"{title} · nodegate")
    async def show(client: Client, request: Request) -> None:
        await open_page(site, client, request, title, path, build)


def _add_node(site: Site) -> None:
    @ui.page("/nodes/{node_id}")
    async def show(client: Client, request: Request, node_id: str) -> None:
        await open_page(site, client, request, node_id, "/nodes", node.build_for(node_id))
