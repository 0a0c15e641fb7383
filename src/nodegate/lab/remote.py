"""A lab in another process, spoken to over its control port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from nodegate.errors import Conflict, Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.lab.faults import FaultName, fault

_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabNode:
    """One node of a lab, as its ready line or its control port names it."""

    id: str
    url: str
    kind: str


class RemoteLab:
    """The commands of a lab's control port. Every method raises Unavailable when nobody answers there."""

    def __init__(self, control: str) -> None:
        self.control = control.rstrip("/")

    async def nodes(self) -> tuple[dict[str, Any], ...]:
        """All nodes with faults and counters, as `GET /nodes` shows them."""
        document = await self._call("GET", "/nodes")
        return tuple(document["nodes"])

    async def node(self, name: str) -> dict[str, Any]:
        """One node. Raises NotFound."""
        return await self._call("GET", f"/nodes/{name}")

    async def fault(
        self, name: str, fault_name: FaultName | str, **parameters: float | int | str
    ) -> dict[str, Any]:
        """Give a node a fault. Raises NotFound, and BadDocument for a fault that cannot be."""
        wanted = fault(fault_name, **parameters)
        return await self._call("PUT", f"/nodes/{name}/fault", wanted.document())

    async def heal(self, name: str) -> dict[str, Any]:
        """Take a node's fault away. Raises NotFound."""
        return await self._call("DELETE", f"/nodes/{name}/fault")

    async def add(self, kind: str = "iri", *, name: str = "") -> LabNode:
        """Start one more node; without a `name` the lab chooses one. Raises Conflict when it is taken."""
        node = await self._call("POST", "/nodes", {"kind": kind, **({"name": name} if name else {})})
        return LabNode(id=node["id"], url=node["url"], kind=node["kind"])

    async def remove(self, name: str) -> None:
        """Stop a node for good. Raises NotFound."""
        await self._call("DELETE", f"/nodes/{name}")

    async def _call(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, self.control + path, json=document) as response,
            ):
                body = await response.json() if response.status != 204 else {}
                status = response.status
        except (aiohttp.ContentTypeError, ValueError) as error:
            raise Malformed(f"{self.control} is not a lab's control port: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"no lab answers at {self.control}; is `nodegate lab nodes` running, and is --control right?"
            ) from error
        if not isinstance(body, dict):
            raise Malformed(f"{self.control} is not a lab's control port")
        if status >= 400:
            raise _failure(status, body)
        return body


def _failure(status: int, body: dict[str, Any]) -> NodegateError:
    """The error that the control port answered with, as it was raised there."""
    details = body.get("error")
    message = str(details.get("message")) if isinstance(details, dict) else str(body)
    kinds: dict[int, type[NodegateError]] = {404: NotFound, 409: Conflict, 503: Unavailable}
    return kinds.get(status, Refused)(message)
