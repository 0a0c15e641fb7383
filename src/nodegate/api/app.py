"""The admin API as one ASGI application: it reads the Snapshot and writes intents to the registry. Of HAProxy
it touches only what no registry keeps: counters and bans."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from nodegate import __version__
from nodegate.api import errors
from nodegate.api.access import access_routes
from nodegate.api.clients import client_routes
from nodegate.api.context import ApiContext
from nodegate.api.events import event_routes
from nodegate.api.fabio import fabio_routes
from nodegate.api.gateways import gateway_routes
from nodegate.api.guard import Guard
from nodegate.api.history import history_routes
from nodegate.api.nodes import node_routes
from nodegate.api.policy import policy_routes
from nodegate.api.reference import page
from nodegate.api.registrations import registration_routes
from nodegate.api.scaling import scaling_routes
from nodegate.api.system import system_routes

DESCRIPTION = (
    "Send the token from the file `token` of the state directory as `Authorization: Bearer TOKEN`; only "
    "`/healthz`, `/readyz` and this documentation need none. Times are ISO 8601 in UTC, null means not known. "
    "Failures answer with an `ErrorDocument`."
)


def create_app(context: ApiContext, *, doors: Mapping[str, ASGIApp] | None = None) -> FastAPI:
    """The application for `context`, and beside it the `doors` (see `Guard`). Raises ValueError when the
    token is empty."""
    app = FastAPI(
        title="nodegate admin API",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    # The scheme only documents: `Guard` has asked for the token long before a route runs.
    bearer = [Security(HTTPBearer(auto_error=False, description="the file `token` of the state directory"))]
    guarded, open_routes = system_routes(context)
    app.include_router(node_routes(context), dependencies=bearer)
    app.include_router(fabio_routes(context), dependencies=bearer)
    app.include_router(policy_routes(context), dependencies=bearer)
    app.include_router(client_routes(context), dependencies=bearer)
    app.include_router(access_routes(context), dependencies=bearer)
    app.include_router(gateway_routes(context), dependencies=bearer)
    app.include_router(scaling_routes(context), dependencies=bearer)
    app.include_router(registration_routes(context), dependencies=bearer)
    app.include_router(event_routes(context), dependencies=bearer)
    app.include_router(history_routes(context), dependencies=bearer)
    app.include_router(guarded, dependencies=bearer)
    app.include_router(open_routes)
    _add_documentation(app)
    app.add_middleware(Guard, token=context.token, admin=context.settings.gateway.admin, doors=doors)
    return app


def _add_documentation(app: FastAPI) -> None:
    """The schema is made at the first request and kept by the framework: a start does not wait for it."""

    @app.get("/api/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi()))
