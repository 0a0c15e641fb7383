"""`GET /api/v1/gateways`: this gateway and the others of its cluster."""

from __future__ import annotations

from fastapi import APIRouter

from nodegate.api.context import ApiContext
from nodegate.views.cluster import GatewaysDocument


def gateway_routes(context: ApiContext) -> APIRouter:
    """The one route."""
    router = APIRouter(tags=["gateway"])

    @router.get("/api/v1/gateways", summary="The gateways of the cluster")
    async def gateways() -> GatewaysDocument:
        """Each gateway that is remembered, with Consul's word on whether it lives, its versions of the policies, and
        what it could not take over. Without a cluster there is none, and `me` is null."""
        return context.gateways()

    return router
