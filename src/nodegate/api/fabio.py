"""`/api/routes`: the routes that services bring along, as Fabio's own API lists them."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import Response

from nodegate.api.context import ApiContext
from nodegate.fabio.commands import RouteRow, commands, rows
from nodegate.haproxy.services import rules_of
from nodegate.model import Intent, Status


def fabio_routes(context: ApiContext) -> APIRouter:
    """Routes of services, for programs that were written for Fabio."""
    router = APIRouter(prefix="/api", tags=["routes"])

    @router.get(
        "/routes", summary="Routes of services, in Fabio's form", response_model=list[RouteRow] | None
    )
    def list_routes(request: Request) -> Response:
        """One object for each target of each route, in the order in which routes are tried; null where there are
        none. With `?raw` the same as text, one route command a line. Targets that do not serve now are left out."""
        snapshot = context.snapshot()
        inventory = snapshot.inventory
        routes = (inventory.routes if inventory is not None else None) or ()
        verdicts = snapshot.judgement.verdicts
        out = [
            node.id
            for node in (inventory.nodes if inventory is not None else ())
            if node.intent is not Intent.SERVE
            or ((verdict := verdicts.get(node.id)) is not None and verdict.status is Status.DOWN)
        ]
        rules = rules_of(context.settings)
        if "raw" in request.query_params:
            return Response(commands(routes, rules, out), media_type="text/plain")
        listed = [row.model_dump() for row in rows(routes, rules, out)]
        return Response(json.dumps(listed or None), media_type="application/json")

    return router
