"""A driver with a real HAProxy under a policy, and clients that can come from any address."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Self

from dataplane_support import Answer, Node, Response, Rig, call, server
from nodegate.daemon.enforcement import lanes_of
from nodegate.daemon.policies import Policies
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.documents import parse
from nodegate.haproxy.pools import backend_name
from nodegate.model import Change, ChangeKind, Plan, Routing
from nodegate.policy.inforce import Applied
from nodegate.protocols import adapters
from support import until

BEHIND = '[client]\ntrusted_proxies = ["127.0.0.0/8"]\n'
"""The tests come from the loopback: with this they can say which client they are."""

VERSION = {"X-IOTA-API-Version": "1"}


class PolicyRig(Rig):
    """One pool `main` of a kind under its shipped policy with `toml` over it."""

    def __init__(
        self, toml: str = BEHIND, kind: str = "iri", gateway: Mapping[str, Any] | None = None
    ) -> None:
        self.kind = kind
        self.asked = 0
        self._toml = f'kind = "{kind}"\n{toml}'
        super().__init__({"pools": {"main": {"kind": kind}}, "gateway": dict(gateway or {})})

    async def __aenter__(self) -> Self:
        """One thread for HAProxy: of two that write the access log at once it drops a line, now and then."""
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(processors)})
        try:
            return await super().__aenter__()
        finally:
            os.sched_setaffinity(0, processors)

    def new_driver(self) -> HaproxyDriver:
        self.driver = HaproxyDriver(self.settings, self.state)
        self.policies = Policies(self.settings, self.state / "policies", self.driver)
        file = self.state / "policies" / f"{self.kind}.toml"
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(self._toml)
        self.reshape()
        return self.driver

    def reshape(self) -> Routing:
        """The shape that a pass would want now."""
        pools = {"main": self.kind}
        guarded = self.policies.guarded(pools)
        assert self.policies.faults == ()
        self.lanes = lanes_of(guarded)["main"]
        self.shape = self.driver.shape(pools, {"main": adapters()[self.kind].traffic}, guarded)
        return self.shape

    def driver_text(self) -> str:
        """The configuration file that HAProxy has."""
        return (self.state / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")

    async def serve(self, name: str = "one", answer: Answer | None = None) -> Node:
        """A node in every lane."""
        node = await self.node(name, answer)
        for lane, bound in self.lanes.items():
            await self.add(server(node, backend=backend_name("main", lane), maxconn=bound))
        return node

    async def pass_(self) -> tuple[str, ...]:
        """What a pass does for maps and skeleton."""
        self.reshape()
        running = (await self.driver.running()).routing
        changes = [
            Change(kind=ChangeKind.SET_MAP, why="test", map_name=name, entries=entries)
            for name, entries in self.shape.maps.items()
            if running.maps.get(name) != entries
        ]
        if running.skeleton != self.shape.skeleton:
            changes.insert(0, Change(kind=ChangeKind.RELOAD, why="test", skeleton=self.shape.skeleton))
        wanted = Routing(skeleton=self.shape.skeleton, maps=self.shape.maps, servers=self.wanted)
        return await self.driver.apply(Plan(changes=tuple(changes)), wanted)

    async def put(self, toml: str) -> Applied:
        """`nodegate policy apply` of this document."""
        return await self.policies.apply(parse(f'kind = "{self.kind}"\n{toml}', file="new.toml"))

    async def ask(
        self, body: bytes | str = "getNodeInfo", by: str = "192.0.2.1", *, path: str = "/", method: str = "POST", **headers: str
    ) -> Response:  # fmt: skip
        """One request on a connection of its own, from the client `by`."""
        data = body if isinstance(body, bytes) else call(body)
        given = {"X-Forwarded-For": by, **VERSION} | {k.replace("_", "-"): v for k, v in headers.items()}
        self.asked += 1
        async with self.client() as client:
            return await client.send(method, path, data, {k: v for k, v in given.items() if v})

    async def last_line(self) -> dict[str, Any]:
        """The line of the last request that `ask` made; it is written a moment later."""
        lines: list[dict[str, Any]] = await until(self._all_lines, what="the access log has all requests")
        return lines[-1]

    def _all_lines(self) -> list[dict[str, Any]]:
        lines = self.lines()
        return lines if len(lines) >= self.asked else []

    def lines(self) -> list[dict[str, Any]]:
        """The access log."""
        text = (self.state / "access.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def rule(response: Response) -> str:
    """The rule that an answer names."""
    return response.headers.get("x-nodegate-rule", "")
