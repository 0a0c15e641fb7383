"""`/api/v1/nodes`: read from the snapshot, written to the registry as intents."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from nodegate.api import intents
from nodegate.api.bodies import NodeChanges, StrictRoute
from nodegate.api.context import ApiContext
from nodegate.api.errors import ErrorDocument
from nodegate.errors import BadDocument, Fault, NotFound
from nodegate.model import Intent, Node, Status
from nodegate.registry.records import NodeDocument
from nodegate.views import NodeDetail, NodesDocument, detail_of, node_detail, node_rows

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=60,
        description="seconds to wait at most until the daemon has seen the change, so that the next read shows it",
    ),
]
IfMatch = Annotated[
    str | None, Header(description="the record's version, as in the ETag: write only if it is still that")
]
UNTIL_SEEN = 2.0

_ERRORS = {
    404: "there is no such node",
    409: "the id is taken, or somebody else changed the record first",
    422: "the document has faults; each is named by its field's path",
    503: "the registry cannot be reached",
}
_JSON = "application/json"


def node_routes(context: ApiContext) -> APIRouter:
    """All routes of nodes."""
    router = APIRouter(prefix="/api/v1/nodes", tags=["nodes"], route_class=StrictRoute)
    _add_reading(router, context)
    _add_writing(router, context)
    return router


def _add_reading(router: APIRouter, context: ApiContext) -> None:
    @router.get("", summary="All nodes", response_model=NodesDocument)
    def list_nodes(
        pool: Annotated[str | None, Query(description="only this pool")] = None,
        kind: Annotated[str | None, Query(description="only this kind")] = None,
        status: Annotated[Status | None, Query(description="only this status")] = None,
    ) -> Response:
        """Every node of the inventory that passes the filters, in order of id."""
        # Not a coroutine: the framework runs it in a thread, so that 10,000 rows do not hold up the probes.
        rows = node_rows(context.snapshot(), pool=pool, kind=kind, status=status)
        return Response(json.dumps({"nodes": rows}), media_type=_JSON)

    @router.get("/{id}", summary="One node", response_model=NodeDetail, responses=_responses(404))
    async def show_node(id: str) -> Response:
        """One node with its last probe and its places in HAProxy. The ETag is the record's version."""
        detail = node_detail(context.snapshot(), id)
        if detail is None:
            raise NotFound(f"there is no node {id!r}")
        return _answer(detail)


def _add_writing(router: APIRouter, context: ApiContext) -> None:
    @router.post(
        "",
        summary="Add a node",
        status_code=201,
        response_model=NodeDetail,
        responses=_responses(409, 422, 503),
    )
    async def add_node(document: NodeDocument, wait: Wait = UNTIL_SEEN) -> Response:
        """Declare a node. It serves as soon as it has proven to be healthy. Without `id` it gets one from
        the URL's host and port."""
        node = await intents.declare(context, document.model_dump(exclude_unset=True))
        detail = await _once_seen(context, node, wait)
        return _answer(detail, 201, location=f"/api/v1/nodes/{quote(node.id, safe='')}")

    @router.patch(
        "/{id}",
        summary="Change a node",
        response_model=NodeDetail,
        responses=_responses(403, 404, 409, 422, 503),
    )
    async def change_node(
        id: str, changes: NodeChanges, wait: Wait = UNTIL_SEEN, if_match: IfMatch = None
    ) -> Response:
        """Change the fields that are sent. The next pass obeys, without a reload of HAProxy. Of a node that
        nodegate.toml declares only the intent can be changed, to serve or drain."""
        node = await intents.change(context, id, changes.given(), _version(if_match))
        return _answer(await _once_seen(context, node, wait))

    @router.delete(
        "/{id}",
        summary="Remove a node",
        status_code=202,
        response_model=NodeDetail,
        responses={204: {"description": "forgotten"}, **_responses(403, 404, 409, 503)},
    )
    async def remove_node(
        id: str,
        now: Annotated[bool, Query(description="forget at once, without draining")] = False,
        wait: Wait = UNTIL_SEEN,
        if_match: IfMatch = None,
    ) -> Response:
        """Drain the node, and forget it once its last request is over: 202 with the node. With `now` its
        record goes at once: 204."""
        if now:
            await intents.forget(context, id, _version(if_match))
            await intents.seen(
                context, lambda inventory: all(n.id != id for n in inventory.nodes), within=wait
            )
            return Response(status_code=204)
        node = await intents.change(context, id, {"intent": Intent.REMOVE.value}, _version(if_match))
        return _answer(await _once_seen(context, node, wait), 202)


async def _once_seen(context: ApiContext, node: Node, wait: float) -> NodeDetail:
    """The node as the daemon sees it, once the inventory is at least as new as the record."""
    await intents.seen(context, lambda inventory: inventory.index >= node.version, within=wait)
    return detail_of(node, context.snapshot())


def _answer(detail: NodeDetail, status: int = 200, *, location: str | None = None) -> Response:
    headers = {"ETag": f'"{detail.version}"'} | ({"Location": location} if location else {})
    return Response(detail.model_dump_json(), status, headers, _JSON)


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'\s*"?([0-9]{1,18})"?\s*', if_match)
    if found is None:
        raise BadDocument(
            [
                Fault(
                    file="request",
                    line=None,
                    key="If-Match",
                    message=f'{if_match!r} is no version, such as "7"',
                )
            ]
        )
    return int(found.group(1))


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = _ERRORS | {403: "nodegate.toml declares the node"}
    return {status: {"model": ErrorDocument, "description": words[status]} for status in statuses}
