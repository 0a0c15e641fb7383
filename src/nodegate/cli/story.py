"""The demo's story: what happens to the nodes, and what the gateway makes of it, chapter by chapter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from nodegate.cli.stage import Stage, haproxy_pid, scaled_by_the_lab, until
from nodegate.errors import Unavailable
from nodegate.lab.faults import FaultName
from nodegate.model import Status
from nodegate.views import NodeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: seconds since the start, the chapter, what was seen, and how long the
    gateway took to deal with it (None where nothing was to be done)."""

    at: float
    chapter: str
    text: str
    took: float | None = None

    def document(self) -> dict[str, object]:
        """For JSON."""
        took = None if self.took is None else round(self.took, 3)
        return {"at": round(self.at, 3), "event": self.chapter, "text": self.text, "seconds": took}


Chapter = Callable[[Stage], AsyncIterator[Event]]


async def tell(stage: Stage) -> AsyncIterator[Event]:
    """The whole story. Raises Unavailable in words when the gateway does not do what it promises."""
    for chapter in CHAPTERS:
        async for event in chapter(stage):
            yield event


async def _opening(stage: Stage) -> AsyncIterator[Event]:
    await until(_answers(stage), lambda count: count > 50)
    yield _event(stage, "five nodes serve", f"clients ask {stage.gateway.url}, every node answers its share")


async def _death(stage: Stage) -> AsyncIterator[Event]:
    async for event in _fault(stage, "iri-2", FaultName.REFUSE, "a node dies"):
        yield event


async def _lag(stage: Stage) -> AsyncIterator[Event]:
    async for event in _fault(stage, "iri-3", FaultName.LAG, "a node lags", milestones=20):
        yield event


async def _lie(stage: Stage) -> AsyncIterator[Event]:
    async for event in _fault(stage, "iri-4", FaultName.LIE, "a node lies about its height"):
        yield event


async def _fault(
    stage: Stage, name: str, fault: FaultName, chapter: str, **parameters: float
) -> AsyncIterator[Event]:
    """Break a node, see it leave; mend it, see it come back."""
    await stage.lab.remote.fault(name, fault, **parameters)
    out, took = await _timed(stage.node(name, lambda row: row.status is Status.DOWN and not row.serving))
    yield _event(stage, chapter, f"{name} is out: {'; '.join(out.reasons)}", took)
    await stage.lab.remote.heal(name)
    _, took = await _timed(stage.node(name, _serves))
    yield _event(stage, "it is mended", f"{name} serves again", took)


async def _growth(stage: Stage) -> AsyncIterator[Event]:
    node = await stage.lab.remote.add("iri")
    began = time.monotonic()
    await stage.gateway.add(node)
    await until(_answers(stage, node.id), lambda count: count > 0)
    yield _event(
        stage,
        "a node is added",
        f"{node.id} was probed, proven healthy, and serves",
        time.monotonic() - began,
    )


async def _drain(stage: Stage) -> AsyncIterator[Event]:
    began = time.monotonic()
    await stage.gateway.ask(lambda client: client.revise("iri-1", {"intent": "drain"}))
    await stage.node("iri-1", lambda row: not row.serving and not row.sessions)
    took, before = time.monotonic() - began, stage.load.report()
    await until(_answers(stage), lambda count: count > before.ok + 100)
    late = stage.load.report().by_node.get("iri-1", 0) - before.by_node.get("iri-1", 0)
    if late:
        raise Unavailable(f"iri-1 got {late} requests after it was drained")
    yield _event(stage, "a node is drained", "iri-1 finished its requests and gets no new ones", took)


async def _crash(stage: Stage) -> AsyncIterator[Event]:
    pid = haproxy_pid(await stage.gateway.status())
    await stage.gateway.kill()
    answered = stage.load.report().ok
    await until(_answers(stage), lambda count: count > answered + 150)
    yield _event(
        stage,
        "nodegate is killed (-9)",
        f"{stage.load.report().ok - answered} more requests were answered without it",
    )
    began = time.monotonic()
    await stage.gateway.start()
    status = await stage.gateway.status()
    if haproxy_pid(status) != pid:
        raise Unavailable(f"HAProxy was process {pid} and is {haproxy_pid(status)}: it was not adopted")
    drained = await stage.node("iri-1", lambda row: row.serving is False)
    yield _event(
        stage, "nodegate is back",
        f"it took over the running HAProxy (process {pid}); iri-1 is still meant to {drained.intent}",
        time.monotonic() - began,
    )  # fmt: skip


async def _scaling(stage: Stage) -> AsyncIterator[Event]:
    """The pool is to keep the nodes that it has, and then loses one for good."""
    serving = await _serving(stage)
    began = time.monotonic()
    await stage.gateway.restart_with(scaled_by_the_lab(len(serving), stage.lab.remote.control))
    await until(lambda: _serving(stage), lambda rows: rows.keys() >= serving.keys())
    yield _event(
        stage, "the pool is given a size",
        f"{len(serving)} healthy nodes; nodegate was restarted for it, HAProxy served on",
        time.monotonic() - began,
    )  # fmt: skip
    began = time.monotonic()
    await stage.lab.remote.remove("iri-5")
    rows = await until(
        lambda: _serving(stage), lambda rows: "iri-5" not in rows and len(rows) >= len(serving)
    )
    name = min(rows.keys() - serving.keys())
    await until(_answers(stage, name), lambda count: count > 0)
    yield _event(
        stage, "a node dies for good",
        f"{name} was started instead of iri-5, proven healthy, and serves", time.monotonic() - began,
    )  # fmt: skip


CHAPTERS: tuple[Chapter, ...] = (_opening, _death, _lag, _lie, _growth, _drain, _crash, _scaling)


async def _serving(stage: Stage) -> dict[str, NodeRow]:
    """The nodes that are up and get requests, by id."""
    return {name: row for name, row in (await stage.gateway.nodes()).items() if _serves(row)}


def _serves(row: NodeRow) -> bool:
    return row.status is Status.UP and bool(row.serving)


def _answers(stage: Stage, node: str | None = None) -> Callable[[], Awaitable[int]]:
    """How many requests were answered so far, by one node or by all."""

    async def count() -> int:
        report = stage.load.report()
        return report.ok if node is None else report.by_node.get(node, 0)

    return count


async def _timed(waiting: Awaitable[NodeRow]) -> tuple[NodeRow, float]:
    began = asyncio.get_running_loop().time()
    row = await waiting
    return row, asyncio.get_running_loop().time() - began


def _event(stage: Stage, chapter: str, text: str, took: float | None = None) -> Event:
    return Event(at=stage.seconds(), chapter=chapter, text=text, took=took)
