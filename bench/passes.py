"""A pass over 10,000 nodes in this process: judge, wanted routing, diff, safety. No HAProxy, no network."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bench.figures import Figure, Outcome, median
from nodegate.health import criteria_of, judge
from nodegate.model import (
    ChangeKind,
    Failure,
    FailureKind,
    Instant,
    Inventory,
    Judgement,
    Node,
    Observation,
    Plan,
    Reading,
    Routing,
    Seconds,
)
from nodegate.protocols.iri import Iri
from nodegate.routing.diff import applied, diff
from nodegate.routing.plan import desired
from nodegate.routing.safety import withhold_unsafe
from nodegate.settings import Settings
from nodegate.wiring import COLLECT

NODES = 10_000
ROUNDS = 9
LIMIT_MS = 200.0
START = Instant(1_700_000_000.0)
INTERVAL = 10.0
HEIGHT = 1_500_000
REFUSED = Failure(kind=FailureKind.REFUSED, text="connection refused (192.0.2.1:14265)")

Observations = Mapping[str, Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a pass starts from, and the time at which it does."""

    inventory: Inventory
    observations: Observations
    before: Judgement
    running: Routing
    now: Instant


def fleet(count: int) -> Inventory:
    """One pool of IRI nodes, each with an address of its own."""
    nodes = tuple(
        Node(
            id=f"node-{place:05}",
            url=f"http://10.{place >> 16}.{place >> 8 & 255}.{place & 255}:14265",
            kind="iri",
            version=place + 1,
        )
        for place in range(count)
    )
    return Inventory(nodes=nodes, index=count, read_at=START)


def probed(inventory: Inventory, cycle: int, *, failing: int = 0) -> dict[str, Observation]:
    """All nodes as seen in that cycle of probes, spread over the interval; the first `failing` refuse."""
    began, count = START + cycle * INTERVAL, len(inventory.nodes)
    return {
        node.id: Observation(
            node_id=node.id,
            at=Instant(began + INTERVAL * place / count),
            duration=Seconds(0.004),
            latency=Seconds(0.003),
            address=node.url.removeprefix("http://").partition(":")[0],
            outcome=REFUSED if place < failing else _reading(HEIGHT + cycle, place),
        )
        for place, node in enumerate(inventory.nodes)
    }


def _reading(height: int, place: int) -> Reading:
    """An honest node; some are a milestone behind, as in any real pool."""
    return Reading(
        height=height - (place % 7 == 0),
        claimed_tip=height,
        peers=5,
        chain="KPWCHICGJZXKE9GSUDXZYUAPLHAKAHYHDXNPHENTERYMMBQOPSQIDENXKLKCEYCPVTZQLEEJVYJZV9BWU",
        app="IRI",
        version="1.8.6",
    )


SETTINGS = Settings()
CRITERIA = {"main": criteria_of(Iri().criteria, SETTINGS.pool("main"))}


def one_pass(world: World) -> tuple[Judgement, Plan]:
    """The part of `daemon.control.Control.one_pass` that decides."""
    judgement = judge(
        world.inventory, world.observations, world.before, world.now,
        criteria=CRITERIA, settings=SETTINGS.health,
    )  # fmt: skip
    wanted = desired(
        world.inventory, judgement, world.running,
        settings=SETTINGS, skeleton=world.running.skeleton, maps=world.running.maps,
    )  # fmt: skip
    plan = withhold_unsafe(
        diff(world.running, wanted), world.running, world.inventory, judgement, world.now,
        settings=SETTINGS.safety,
    )  # fmt: skip
    return judgement, plan


def _after(world: World, cycle: int, *, failing: int = 0) -> World:
    """The world once the pass is carried out and all nodes are probed once more."""
    judgement, plan = one_pass(world)
    return replace(
        world,
        before=judgement,
        running=applied(world.running, plan.changes),
        observations=probed(world.inventory, cycle, failing=failing),
        now=Instant(START + (cycle + 1) * INTERVAL),
    )


def _worlds() -> dict[str, tuple[World, Callable[[Plan], bool]]]:
    """The cases by name, each with what its plan must look like: a pass that decides nothing would be fast."""
    inventory = fleet(NODES)
    nothing = Routing(skeleton="bench", maps={"routes": {"/": "main"}})
    first = World(
        inventory=inventory,
        observations=probed(inventory, 0),
        before=Judgement(),
        running=nothing,
        now=Instant(START + INTERVAL),
    )
    again = _after(first, 1)
    settled = _after(again, 2)
    out = NODES // 20
    falling = settled
    for cycle in range(3, 3 + SETTINGS.health.fall):
        falling = _after(falling, cycle, failing=out)
    return {
        "first pass, 10,000 servers to add": (first, lambda plan: _count(plan, ChangeKind.ADD) == NODES),
        "nothing new": (replace(settled, observations=again.observations), lambda plan: not plan.changes),
        "all probed again, all well": (settled, lambda plan: not plan.changes),
        "all probed again, 5 % go down": (falling, lambda plan: _count(plan, ChangeKind.SET_STATE) == out),
    }


def _count(plan: Plan, kind: ChangeKind) -> int:
    return sum(change.kind is kind for change in plan.changes)


def _timed(world: World) -> list[float]:
    """CPU milliseconds of several passes: a pass waits for nothing, so on an idle machine that is its time."""
    times = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.thread_time()
        one_pass(world)
        times.append((time.thread_time() - began) * 1000)
    return times


async def run() -> Outcome:
    """Raises RuntimeError when a pass does not decide what its case asks for."""
    gc.set_threshold(*COLLECT)  # as the daemon does
    figures = []
    samples: dict[str, list[float]] = {}
    for name, (world, expected) in _worlds().items():
        _, plan = one_pass(world)
        if not expected(plan):
            raise RuntimeError(f"{name}: the plan has {len(plan.changes)} changes, which is not this case")
        times = samples[name] = _timed(world)
        figures.append(
            Figure(
                what=f"pass over 10,000 nodes: {name}",
                value=median(times),
                unit="ms",
                at_most=LIMIT_MS,
                note=f"of {ROUNDS}: {min(times):.0f} to {max(times):.0f} ms",
            )
        )
    return Outcome(figures=tuple(figures), details={"cpu_ms": samples})
