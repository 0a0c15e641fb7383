"""The lab's control port: see the nodes, switch their faults, add and remove nodes over HTTP.

It listens on the loopback only and asks for no password: a lab holds nothing worth one. Requests that a
browser could send from a foreign page are refused (a Host that is not the loopback; a body that is not JSON).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from aiohttp import web

from nodegate.errors import BadDocument, Fault, NodegateError, Refused, Unavailable
from nodegate.lab.faults import WORDS, fault_of
from nodegate.lab.lab import KINDS, LOOPBACK, Lab

DEFAULT_PORT: Final = 14279
"""Just below the ports that IRI nodes and gateways commonly use."""
_NODE_NAME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})?")
_MAX_BODY: Final = 64 * 1024
_LAB: Final = web.AppKey("lab", Lab)


class Control:
    """The control port of a lab, to be started and stopped with it."""

    def __init__(self, lab: Lab) -> None:
        self._runner = web.AppRunner(_application(lab), access_log=None)
        self.url = ""

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1 and return the URL. Raises Unavailable when the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise Unavailable(
                f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; choose another --control port"
            ) from error
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()


def _application(lab: Lab) -> web.Application:
    app = web.Application(middlewares=[_guarded], client_max_size=_MAX_BODY)
    app[_LAB] = lab
    app.router.add_get("/faults", _faults)
    app.router.add_get("/nodes", _nodes)
    app.router.add_post("/nodes", _add)
    app.router.add_get("/nodes/{id}", _node)
    app.router.add_delete("/nodes/{id}", _remove)
    app.router.add_put("/nodes/{id}/fault", _fault)
    app.router.add_delete("/nodes/{id}/fault", _heal)
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Any) -> web.StreamResponse:
    """Errors as documents, and no foreign callers."""
    try:
        host = request.host.rpartition(":")[0] or request.host
        if host not in {LOOPBACK, "localhost"}:
            raise Refused(f"the lab is spoken to as {LOOPBACK}, not as {request.host!r}")
        if request.method in {"PUT", "POST"} and request.content_type != "application/json":
            raise Refused("send application/json")
        response: web.StreamResponse = await handler(request)
        return response
    except NodegateError as error:
        return _failure(error)
    except web.HTTPException as error:
        document = {"error": {"code": error.status, "message": error.reason}}
        return web.json_response(document, status=error.status)


def _failure(error: NodegateError) -> web.Response:
    document: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, BadDocument):
        document["faults"] = [{"key": fault.key, "message": fault.message} for fault in error.faults]
    return web.json_response({"error": document}, status=error.code)


async def _document(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        fault = Fault(file="request", line=None, key="", message="not a JSON document")
        raise BadDocument([fault]) from error


async def _faults(request: web.Request) -> web.Response:
    return web.json_response({"faults": {name.value: words for name, words in WORDS.items()}})


async def _nodes(request: web.Request) -> web.Response:
    return web.json_response({"nodes": [node.document() for node in request.app[_LAB].nodes]})


async def _node(request: web.Request) -> web.Response:
    return web.json_response(request.app[_LAB].node(request.match_info["id"]).document())


async def _add(request: web.Request) -> web.Response:
    data = await _document(request)
    kind = data.get("kind", "iri") if isinstance(data, dict) else None
    name = data.get("name", "") if isinstance(data, dict) else None
    if kind not in KINDS or set(data) - {"kind", "name"} or not _NODE_NAME.fullmatch(str(name)):
        message = (
            f'send {{"kind": KIND}} with a kind of {", ".join(KINDS)}, and a "name" if it is to have one'
        )
        raise BadDocument([Fault(file="request", line=None, key="kind", message=message)])
    node = await request.app[_LAB].add(kind, name=str(name))
    return web.json_response(node.document(), status=201)


async def _remove(request: web.Request) -> web.Response:
    await request.app[_LAB].remove(request.match_info["id"])
    return web.Response(status=204)


async def _fault(request: web.Request) -> web.Response:
    lab, name = request.app[_LAB], request.match_info["id"]
    lab.node(name)
    await lab.fault(name, fault_of(await _document(request), file="request"))
    return web.json_response(lab.node(name).document())


async def _heal(request: web.Request) -> web.Response:
    lab, name = request.app[_LAB], request.match_info["id"]
    await lab.heal(name)
    return web.json_response(lab.node(name).document())
