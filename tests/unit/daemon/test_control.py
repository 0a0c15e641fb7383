"""When a change of the registry asks for a pass, and what a pass makes of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from contract.memory_registry import MemoryRegistry
from nodegate.daemon.clock import SteadyClock
from nodegate.daemon.control import Control, Parts, only_adds
from nodegate.daemon.pools import pools_of
from nodegate.model import (
    Failure,
    FailureKind,
    Instant,
    Intent,
    Inventory,
    Node,
    Observation,
    Plan,
    Reading,
    Routing,
    Running,
    Seconds,
    Server,
    Status,
)
from nodegate.protocols import adapters
from nodegate.routes import PlacedRoute, Route
from nodegate.routing.lanes import Lanes
from nodegate.settings import Settings
from nodegate.telemetry import Telemetry


def node(name: str, **fields: object) -> Node:
    return replace(Node(id=name, url=f"http://{name}.example", kind="iri"), **fields)  # type: ignore[arg-type]


def inventory(*nodes: Node, routes: tuple[Route, ...] | None = None) -> Inventory:
    return Inventory(nodes=nodes, index=1, read_at=Instant(0.0), routes=routes)


def test_new_nodes_alone_are_asked_first_and_need_no_pass_yet() -> None:
    before = inventory(node("a"), node("c"))
    assert only_adds(before, before)
    assert only_adds(before, inventory(node("a"), node("b"), node("c"), node("d")))
    assert only_adds(inventory(), inventory(node("a")))


def test_whatever_else_changes_needs_one() -> None:
    before = inventory(node("a"), node("b"), routes=())
    for after in (
        inventory(node("a"), routes=()),
        inventory(node("a"), node("c"), routes=()),
        inventory(node("a"), node("b", intent=Intent.DRAIN), routes=()),
        inventory(node("a"), node("b", failing="its check is critical"), node("c"), routes=()),
        inventory(node("a"), node("b"), routes=(Route(host="", path="/", targets=()),)),
    ):
        assert not only_adds(before, after)


class Data:
    """A driver and a gateway that do what they are told."""

    def __init__(self) -> None:
        self.routing = Routing(skeleton="s")

    async def ensure(self) -> str | None:
        return None

    async def running(self) -> Running:
        return Running(routing=self.routing, pid=1, uptime=1.0)

    async def apply(self, plan: Plan, wanted: Routing) -> tuple[str, ...]:
        self.routing = wanted
        return ()

    def shape(
        self, pools: Mapping[str, str], crowded: Set[str], routes: Sequence[PlacedRoute] | None = None
    ) -> Routing:
        return Routing(skeleton="s")

    def lanes(self) -> Lanes:
        return {}

    async def heights(self, heights: Mapping[str, int]) -> None:
        pass

    def server(self, name: str) -> Server:
        return self.routing.servers["pool_main", name]


class Bed:
    """Passes by hand: nodes are declared, observations are heard, nothing runs by itself."""

    def __init__(self) -> None:
        self.clock, self.data = SteadyClock(), Data()
        self.registry = MemoryRegistry(self.clock)
        self.control = Control(
            Parts(
                settings=Settings(), adapters=adapters(), registry=self.registry, driver=self.data, gateway=self.data,
                upstreams={}, clock=self.clock, telemetry=Telemetry(clock=self.clock, version="0"),
            )
        )  # fmt: skip

    async def declare(self, node: Node) -> Node:
        stored = await self.registry.put(node)
        await self.control.read_registry()
        return stored

    def hear(self, name: str, address: str, outcome: Reading | Failure) -> None:
        seen = Observation(
            node_id=name, at=self.clock.now(), duration=Seconds(0.01), latency=Seconds(0.01), outcome=outcome,
            address=address,
        )  # fmt: skip
        self.control.prober.hear(seen)


async def test_a_node_that_moved_is_judged_anew_and_its_server_stays_until_the_new_place_has_proven_itself() -> (
    None
):
    bed = Bed()
    stored = await bed.declare(node("a", url="http://192.0.2.1:14265"))
    bed.hear("a", "192.0.2.1", Reading(height=5, claimed_tip=5, peers=3))
    await bed.control.one_pass()
    assert (bed.data.server("a").address, bed.data.server("a").port) == ("192.0.2.1", 14265)

    await bed.declare(replace(stored, url="http://192.0.2.2:9"))
    bed.hear("a", "192.0.2.2", Failure(kind=FailureKind.REFUSED, text="connection refused"))
    await bed.control.one_pass()
    assert bed.control.snapshot.judgement.verdicts["a"].status is Status.DOWN
    assert (bed.data.server("a").address, bed.data.server("a").port) == ("192.0.2.1", 14265)

    bed.hear("a", "192.0.2.2", Reading(height=6, claimed_tip=6, peers=3))
    bed.hear("a", "192.0.2.2", Reading(height=6, claimed_tip=6, peers=3))
    await bed.control.one_pass()
    bed.hear("a", "192.0.2.2", Reading(height=7, claimed_tip=7, peers=3))
    await bed.control.one_pass()
    assert (bed.data.server("a").address, bed.data.server("a").port) == ("192.0.2.2", 9)


async def test_a_node_of_another_kind_does_not_turn_its_pool_into_something_else() -> None:
    bed = Bed()
    await bed.declare(node("z", url="http://192.0.2.1:14265"))
    stranger = await bed.declare(node("a", url="http://192.0.2.2:8545", kind="nokind"))
    inventory = bed.control.snapshot.inventory
    assert inventory is not None
    assert [one.id for one in inventory.nodes] == ["z"]
    assert "pool 'main' holds iri nodes, this one is nokind" in inventory.faults[0]
    await bed.declare(replace(stranger, intent=Intent.REMOVE))
    inventory = bed.control.snapshot.inventory
    assert inventory is not None
    assert [one.id for one in inventory.nodes] == ["a", "z"]
    assert pools_of(Settings(), inventory) == {"main": "iri"}
