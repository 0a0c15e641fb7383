"""Fabio's tags on a real HAProxy: services with tags become pools, and nodes tell what reached them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataplane_support import Node, Request, Rig, http
from nodegate.catalog import Check, Instance
from nodegate.fabio.nodes import Found, nodes_of
from nodegate.model import ChangeKind, Instant, Inventory, Judgement, Server, ServerState, Status, Verdict
from nodegate.routing.sharing import Shared, share_out

PASSING = (Check(id="own", name="own", status="passing", service_id="x"),)


def instance(
    service: str, *tags: str, number: int = 1, port: int = 80, checks: Sequence[Check] = PASSING, **more: Any
) -> Instance:
    """One instance `SERVICE-NUMBER` with a passing check."""
    return Instance(
        service=service, id=f"{service}-{number}", node="consul-1", address=more.pop("address", "127.0.0.1"),
        port=port, tags=tags, checks=tuple(checks), datacenter=more.pop("datacenter", "dc1"), **more,
    )  # fmt: skip


def shared(found: Found, down: Sequence[str] = ()) -> Shared:
    """What the planner makes of the nodes while those in `down` are down."""
    inventory = Inventory(nodes=found.nodes, routes=found.routes, index=1, read_at=Instant(0.0))
    verdicts = {name: Verdict(node_id=name, status=Status.DOWN, since=Instant(0.0)) for name in down}
    return share_out(inventory, Judgement(verdicts=verdicts))


class FabioRig(Rig):
    """A gateway whose services change with `serve`."""

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(document)
        self.running: dict[str, Node] = {}
        self.reloads = 0
        self.found = Found()

    async def serve(self, services: Mapping[str, Sequence[str]], down: Sequence[str] = ()) -> Found:
        """Serve instances `SERVICE-NUMBER` with these tags, and nothing else. Counts reloads."""
        instances = []
        for name, tags in services.items():
            if name not in self.running:
                self.running[name] = await self.node(name, _told(name))
            service, _, number = name.rpartition("-")
            instances.append(instance(service, *tags, number=int(number), port=self.running[name].port))
        self.found = nodes_of(instances, self.settings.fabio)
        plan = shared(self.found, down)
        pools = {"main": "http"} | {node.pool: node.kind for node in plan.inventory.nodes}
        before = self.shape
        self.shape = self.driver.shape(pools, {}, routes=plan.routes)
        self.wanted = {
            (f"pool_{node.pool}", node.id): Server(
                backend=f"pool_{node.pool}", name=node.id, address="127.0.0.1",
                port=self.running[node.id].port, weight=node.weight,
                state=ServerState.MAINT if node.id in down else ServerState.READY,
            )
            for node in plan.inventory.nodes
        }  # fmt: skip
        if before.skeleton != self.shape.skeleton:
            self.reloads += 1
            refused = await self.reload()
            assert refused == (), refused
        running = (await self.driver.running()).routing
        from nodegate.routing.diff import diff

        changes = diff(replace(running, maps=running.maps), replace(self.shape, servers=self.wanted))
        assert all(change.kind is not ChangeKind.RELOAD for change in changes), changes
        refused = await self.apply(changes)
        assert refused == (), (refused, changes)
        return self.found

    async def get(self, place: str, **headers: str) -> Answered:
        """GET `HOST/PATH`, the host possibly empty (then `gateway.example`)."""
        host, slash, path = place.partition("/")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client() as client:
            response = await client.send(
                "GET", slash + path, headers={"Host": host or "gateway.example"} | given
            )
        return Answered(response.status, response.headers, response.body)


class Answered:
    """What a client got: the node that answered with what had reached it, or HAProxy's own answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.seen: dict[str, Any] = json.loads(body) if status == 200 and body.startswith(b"{") else {}

    @property
    def node(self) -> str | None:
        return self.seen.get("node")

    @property
    def path(self) -> str | None:
        return self.seen.get("path")

    @property
    def sent(self) -> dict[str, str]:
        """The headers that reached the node."""
        return dict(self.seen.get("headers", {}))

    @property
    def location(self) -> str | None:
        return self.headers.get("location")


def _told(name: str) -> Any:
    def answer(request: Request) -> bytes:
        return http(json.dumps({"node": name, "path": request.path, "headers": request.headers}).encode())

    return answer
