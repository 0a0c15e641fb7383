"""A gateway under planning: nodes with verdicts, servers that run, and the plan that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nodegate.model import (
    Change,
    ChangeKind,
    FailureKind,
    Instant,
    Intent,
    Inventory,
    Judgement,
    Node,
    Plan,
    Routing,
    Server,
    ServerState,
    Status,
    Verdict,
)
from nodegate.routing.diff import applied, diff
from nodegate.routing.plan import desired
from nodegate.routing.safety import withhold_unsafe
from nodegate.settings import Settings

NOW = Instant(1000.0)


class Gateway:
    """Nodes, their verdicts and what runs; all in pool `main` unless said otherwise."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.nodes: dict[str, Node] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.running = Routing(skeleton="s1")
        self.skeleton = "s1"
        self.maps: dict[str, dict[str, str]] = {}
        self.read_at = NOW
        self.faults: tuple[str, ...] = ()

    def node(self, name: str, status: Status | None = Status.UP, **fields: Any) -> None:
        """Declare a node and, unless `status` is None, judge it."""
        fields.setdefault("url", f"http://192.0.2.{len(self.nodes) + 1}:14265")
        self.nodes[name] = Node(id=name, kind="iri", **fields)
        if status is not None:
            self.judged(name, status)

    def judged(self, name: str, status: Status, *reasons: str, **fields: Any) -> None:
        host = self.nodes[name].url.rpartition("/")[2].rpartition(":")[0]
        fields.setdefault("address", host)
        if status is Status.DOWN:
            fields.setdefault("rules", (str(FailureKind.REFUSED),))
            reasons = reasons or ("connection refused",)
        self.verdicts[name] = Verdict(node_id=name, status=status, since=NOW, reasons=reasons, **fields)

    def intend(self, name: str, intent: Intent) -> None:
        self.nodes[name] = replace(self.nodes[name], intent=intent)

    def set_running(self, name: str, *, pool: str = "main", **fields: Any) -> None:
        """Change what runs behind the planner's back: sessions, marked_down, state, …"""
        key = (f"pool_{pool}", name)
        self.running = replace(
            self.running, servers={**self.running.servers, key: replace(self.running.servers[key], **fields)}
        )

    @property
    def inventory(self) -> Inventory:
        return Inventory(nodes=tuple(self.nodes.values()), index=1, read_at=self.read_at, faults=self.faults)

    @property
    def judgement(self) -> Judgement:
        return Judgement(verdicts=self.verdicts)

    def wanted(self) -> Routing:
        return desired(
            self.inventory,
            self.judgement,
            self.running,
            settings=self.settings,
            skeleton=self.skeleton,
            maps=self.maps,
        )

    def plan(self) -> Plan:
        return withhold_unsafe(
            diff(self.running, self.wanted()), self.running, self.inventory, self.judgement, NOW,
            settings=self.settings.safety,
        )  # fmt: skip

    def step(self) -> Plan:
        """One pass: plan, and apply all of it."""
        plan = self.plan()
        self.running = applied(self.running, plan.changes)
        return plan

    def settle(self) -> None:
        """Passes until nothing changes."""
        for _ in range(8):
            if not self.step().changes:
                return
        raise AssertionError("does not settle")

    def state(self, name: str, pool: str = "main") -> str | None:
        server = self.running.servers.get((f"pool_{pool}", name))
        return None if server is None else str(server.state)

    def states(self) -> dict[str, str]:
        return {name: str(server.state) for (_, name), server in sorted(self.running.servers.items())}

    @property
    def ready(self) -> set[str]:
        return {
            name for (_, name), server in self.running.servers.items() if server.state is ServerState.READY
        }


def said(plan: Plan) -> list[str]:
    """The plan's changes, one word pair each."""
    return [word(change) for change in plan.changes]


def word(change: Change) -> str:
    what = change.server.name if change.server is not None else change.map_name or ""
    detail = (
        f" {change.server.state}" if change.kind is ChangeKind.SET_STATE and change.server is not None else ""
    )
    return f"{change.kind} {what}{detail}".strip()


@pytest.fixture(scope="session")
def gateway() -> Callable[..., Gateway]:
    """Builds a gateway: `gateway()`, or `gateway(3)` with n1, n2, n3 up and running; keywords are sections."""

    def build(size: int = 0, **sections: dict[str, Any]) -> Gateway:
        made = Gateway(Settings.model_validate(sections))
        for number in range(1, size + 1):
            made.node(f"n{number}")
        if size:
            made.settle()
        return made

    return build


@pytest.fixture(scope="session")
def words() -> Callable[[Plan], list[str]]:
    return said


@pytest.fixture(scope="session")
def server() -> Callable[..., Server]:
    """Builds a server of pool main."""

    def build(name: str = "n1", **fields: Any) -> Server:
        known: dict[str, Any] = {
            "backend": "pool_main", "name": name, "address": "192.0.2.1", "port": 14265, "weight": 100,
            "state": ServerState.READY,
        }  # fmt: skip
        return Server(**(known | fields))

    return build
