"""The watch on virtual time: a node that says what the test wants."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nodegate.errors import Malformed, NodegateError, Refused, Unavailable
from nodegate.host.neighbours.exporter import METRICS, Exporter
from nodegate.host.neighbours.tracks import State
from nodegate.host.neighbours.values import Counters, Neighbour
from nodegate.host.neighbours.watch import Seen, Watch, WatchOptions, any_dead
from nodegate.model import Instant, Seconds
from support import free_port


class Told:
    """A node by a table: neighbours and how many new transactions each has brought."""

    def __init__(self, **new: int) -> None:
        self.url = "http://node:14265"
        self.new = new
        self.error: NodegateError | None = None
        self.stubborn = False

    async def neighbours(self) -> tuple[Neighbour, ...]:
        if self.error is not None:
            raise self.error
        return tuple(
            Neighbour(
                uri=f"tcp://{name}:15600", name=name, address="", connected=True, relation="",
                counters=Counters(new=new),
            )
            for name, new in self.new.items()
        )  # fmt: skip

    async def add(self, uris: Sequence[str], alias: str = "") -> int:
        raise AssertionError("a watch adds nobody")

    async def remove(self, uris: Sequence[str]) -> int:
        if self.stubborn:
            raise Refused("not allowed")
        for uri in uris:
            del self.new[uri.removeprefix("tcp://").removesuffix(":15600")]
        return len(uris)

    async def close(self) -> None: ...


class Scene:
    """A watch with a clock that the test moves."""

    def __init__(self, node: Told, **options: object) -> None:
        self.node = node
        self.time = 1000.0
        self.seen: list[Seen] = []
        chosen = {"interval": Seconds(10.0), "grace": Seconds(30.0), **options}
        self.watch = Watch(
            node,
            WatchOptions(**chosen),  # type: ignore[arg-type]
            now=lambda: Instant(self.time),
            tell=self.seen.append,
        )

    async def looks(self, times: int, *moving: str) -> Seen:
        """So many looks, ten seconds apart; `moving` bring something new before each."""
        for _ in range(times):
            self.time += 10
            for name in moving:
                self.node.new[name] += 5
            await self.watch.look()
        return self.seen[-1]


async def test_a_death_is_told_once_and_the_dead_are_left_alone_unless_asked() -> None:
    scene = Scene(Told(a=0, b=0))
    await scene.looks(8, "a")
    turned = [row.neighbour.name for seen in scene.seen for row in seen.turned]
    assert turned == ["b"]
    assert set(scene.node.new) == {"a", "b"}
    assert any_dead(scene.watch.rows)


async def test_the_dead_are_removed_from_node_and_file(tmp_path: Path) -> None:
    file = tmp_path / "iri"
    file.write_text('IRI_NEIGHBORS="tcp://a:15600 tcp://b:15600 tcp://c:15600"\n')
    scene = Scene(Told(a=0, b=0, c=0), remove_dead=True, file=file)
    seen = await scene.looks(4, "a", "c")
    assert seen.removed == ("tcp://b:15600",)
    assert set(scene.node.new) == {"a", "c"}
    assert file.read_text() == 'IRI_NEIGHBORS="tcp://a:15600 tcp://c:15600"\n'
    assert [name.endswith(".bak") for name in sorted(os.listdir(tmp_path))] == [False, True]
    assert not any_dead(scene.watch.rows)


async def test_some_are_kept_even_when_they_are_dead() -> None:
    scene = Scene(Told(a=0, b=0), remove_dead=True, keep=2)
    await scene.looks(9, "a")
    assert set(scene.node.new) == {"a", "b"}


async def test_a_node_that_is_away_is_told_and_the_watch_goes_on() -> None:
    scene = Scene(Told(a=0, b=0))
    await scene.looks(2, "a", "b")
    scene.node.error = Unavailable("no node answers")
    seen = await scene.looks(1)
    assert "no node answers" in seen.trouble
    assert len(seen.rows) == 2
    assert not scene.watch.exported().up
    scene.node.error = Malformed("nonsense")
    assert (await scene.looks(1)).trouble == "nonsense"
    scene.node.error = None
    seen = await scene.looks(1, "a", "b")
    assert seen.trouble == ""
    assert {row.state for row in seen.rows} == {State.LIVE}


async def test_a_node_that_keeps_its_dead_is_told() -> None:
    scene = Scene(Told(a=0, b=0, c=0), remove_dead=True)
    scene.node.stubborn = True
    seen = await scene.looks(5, "a", "c")
    assert seen.removed == ()
    assert "tcp://b:15600 cannot be removed: not allowed" in seen.trouble


async def test_a_file_that_cannot_be_changed_keeps_the_node_as_it_is(tmp_path: Path) -> None:
    scene = Scene(Told(a=0, b=0, c=0), remove_dead=True, file=tmp_path / "none")
    seen = await scene.looks(5, "a", "c")
    assert "no such file" in seen.trouble
    assert set(scene.node.new) == {"a", "b", "c"}


async def test_a_first_refusal_ends_the_watch() -> None:
    scene = Scene(Told())
    scene.node.error = Refused("limited to localhost")
    with pytest.raises(Refused):
        await scene.watch.run(Instant(0.0))


async def test_metrics_are_served_and_all_are_known_names() -> None:
    scene = Scene(Told(a=0, b=0, c=0), remove_dead=True)
    await scene.looks(6, "a", "c")
    exporter = Exporter(scene.watch.exported)
    url = await exporter.start(f"127.0.0.1:{free_port()}")
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            good = {f.name: f for f in text_string_to_metric_families((await client.get(url)).text)}
            scene.node.error = Unavailable("gone")
            await scene.looks(1)
            bad = {f.name: f for f in text_string_to_metric_families((await client.get(url)).text)}
    finally:
        await exporter.stop()
    assert set(good) == set(METRICS)
    assert good["nodegate_neighbours_removed"].samples[0].value == 1
    states = {sample.labels["state"]: sample.value for sample in good["nodegate_neighbours"].samples}
    assert states == {"live": 2, "quiet": 0, "dead": 0}
    told = {
        (s.labels["neighbour"], s.labels["what"]): s.value
        for s in good["nodegate_neighbour_transactions"].samples
    }
    assert told == {("tcp://a:15600", "new"): 30, ("tcp://c:15600", "new"): 30}
    assert bad["nodegate_neighbours_up"].samples[0].value == 0
    assert bad["nodegate_neighbours_look_age_seconds"].samples[0].value == 10
    assert "nodegate_neighbour_dead" not in bad


async def test_an_address_that_is_taken_is_said() -> None:
    scene = Scene(Told())
    one, other = Exporter(scene.watch.exported), Exporter(scene.watch.exported)
    address = f"127.0.0.1:{free_port()}"
    await one.start(address)
    try:
        with pytest.raises(Unavailable, match="cannot serve metrics"):
            await other.start(address)
    finally:
        await one.stop()
        await other.stop()
