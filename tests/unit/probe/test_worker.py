"""The prober against real servers: what it sees, keeps, forgets, and survives."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from nodegate.errors import Unavailable
from nodegate.model import (
    Answer,
    Criteria,
    Failure,
    FailureKind,
    Instant,
    Inventory,
    Node,
    Observation,
    Question,
    Reading,
    Traffic,
)
from nodegate.probe.exchange import Exchanged, Exchanger
from nodegate.probe.once import MAX_QUESTIONS
from nodegate.probe.worker import Prober, probe_once
from nodegate.protocols import adapters
from nodegate.settings import ProbeSettings
from support import free_port, until

INFO = {
    "appName": "IRI",
    "appVersion": "1.8.6-RELEASE",
    "latestMilestoneIndex": 100,
    "latestSolidSubtangleMilestoneIndex": 99,
    "neighbors": 3,
}
QUICK = ProbeSettings(interval=0.1, timeout=1.0)


class SteadyClock:
    def now(self) -> Instant:
        return Instant(time.monotonic())


CLOCK = SteadyClock()


def response(body: Any, status: int = 200, *headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(head).encode() + raw


def a_node(url: str, node_id: str = "n", kind: str = "iri", **options: Any) -> Node:
    return Node(id=node_id, url=url, kind=kind, options=options)


def an_inventory(*nodes: Node) -> Inventory:
    return Inventory(nodes=nodes, index=1, read_at=CLOCK.now())


async def once(node: Node, settings: ProbeSettings = QUICK) -> Observation:
    return await probe_once(adapters()[node.kind], node, settings, CLOCK)


@asynccontextmanager
async def running(prober: Prober) -> AsyncIterator[None]:
    task = asyncio.create_task(prober.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def seen(prober: Prober, node_id: str = "n") -> Callable[[], Observation | None]:
    return lambda: prober.observations.get(node_id)


async def test_one_probe_of_a_healthy_node(serve: Any, sending: Any) -> None:
    server = await serve(sending(response(INFO)))
    observation = await once(a_node(server.url))
    assert isinstance(observation.outcome, Reading)
    assert observation.outcome.height == 99
    assert observation.address == "127.0.0.1"
    assert observation.latency is not None
    assert 0 < observation.latency <= observation.duration
    assert abs(observation.at - CLOCK.now()) < 2


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (response({"error": "Invalid API Version"}, 400), FailureKind.STATUS, 'error "Invalid API Version"'),
        (response({**INFO, "neighbors": None}), FailureKind.MALFORMED, "neighbors is null"),
        (
            response(b"", 302, "Location: https://x.example/"),
            FailureKind.REDIRECT,
            'redirect to "https://x.example/"',
        ),
        (response(b"<html>", 503), FailureKind.STATUS, "status 503"),
    ],
)
async def test_what_is_no_reading_says_why(
    serve: Any, sending: Any, answer: bytes, kind: FailureKind, words: str
) -> None:
    server = await serve(sending(answer))
    observation = await once(a_node(server.url))
    assert isinstance(observation.outcome, Failure)
    assert observation.outcome.kind is kind
    assert words in observation.outcome.text
    assert observation.latency is not None


async def test_a_node_that_cannot_be_reached_has_no_latency() -> None:
    observation = await once(a_node(f"http://127.0.0.1:{free_port()}"))
    assert isinstance(observation.outcome, Failure)
    assert observation.outcome.kind is FailureKind.REFUSED
    assert (observation.latency, observation.address) == (None, "127.0.0.1")


async def test_all_questions_share_one_deadline(serve: Any) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        writer.write(response(INFO))

    server = await serve(slow)
    node = a_node(server.url, check_exposed=True)
    began = time.monotonic()
    observation = await once(node, ProbeSettings(timeout=0.6))
    assert time.monotonic() - began < 1.0
    assert isinstance(observation.outcome, Failure)
    assert observation.outcome.kind is FailureKind.TIMEOUT
    assert "within 0.6 s" in observation.outcome.text
    assert observation.latency is not None


async def test_the_limits_check_asks_one_after_the_other(serve: Any) -> None:
    async def limits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b"getNodeInfo" in server.requests[-1]
        writer.write(response(INFO) if info else response({"error": "COMMAND x is not available"}, 401))

    server = await serve(limits)
    observation = await once(a_node(server.url, check_exposed=True))
    assert isinstance(observation.outcome, Reading)
    assert observation.outcome.exposed == ()
    assert len(server.requests) == 6


async def test_observes_all_nodes_again_and_again(serve: Any, sending: Any) -> None:
    well = await serve(sending(response(INFO)))
    reported: list[Observation] = []
    prober = Prober(adapters(), QUICK, CLOCK, reported.append)
    dead = a_node(f"http://127.0.0.1:{free_port()}", "dead")
    prober.update(an_inventory(a_node(well.url, "well"), dead))
    async with running(prober):
        await until(lambda: sum(one.node_id == "well" for one in reported) >= 3)
        await until(lambda: sum(one.node_id == "dead" for one in reported) >= 3)
    assert isinstance(prober.observations["well"].outcome, Reading)
    assert isinstance(prober.observations["dead"].outcome, Failure)
    stats = prober.stats()
    assert (stats.nodes, stats.in_flight) == (2, 0)
    assert stats.probes["iri", "reading"] >= 3
    assert stats.probes["iri", "refused"] >= 3
    lateness = prober.take_lateness()
    assert len(lateness) >= 6
    assert all(0 <= late < 5 for late in lateness)
    assert prober.take_lateness() == ()


async def test_a_removed_node_is_forgotten_even_while_it_is_asked(serve: Any) -> None:
    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(hangs)
    prober = Prober(adapters(), ProbeSettings(interval=0.1, timeout=30.0), CLOCK)
    prober.update(an_inventory(a_node(server.url)))
    async with running(prober):
        await until(lambda: server.connections == 1)
        prober.update(an_inventory())
        await until(lambda: prober.stats().in_flight == 0)
        assert prober.observations == {}


async def test_a_changed_url_is_asked_at_once_and_the_old_answer_is_void(serve: Any, sending: Any) -> None:
    old = await serve(sending(response(INFO)))
    new = await serve(sending(response({**INFO, "latestSolidSubtangleMilestoneIndex": 77})))
    prober = Prober(adapters(), ProbeSettings(interval=600.0), CLOCK)
    prober.update(an_inventory(a_node(old.url)))
    async with running(prober):
        await until(seen(prober))
        prober.update(an_inventory(a_node(new.url)))
        assert prober.observations == {}
        observation = await until(seen(prober))
    assert observation.outcome.height == 77


async def test_a_changed_weight_asks_nothing_and_forgets_nothing(serve: Any, sending: Any) -> None:
    server = await serve(sending(response(INFO)))
    prober = Prober(adapters(), ProbeSettings(interval=600.0), CLOCK)
    prober.update(an_inventory(a_node(server.url)))
    async with running(prober):
        first = await until(seen(prober))
        weighed = Node(id="n", url=server.url, kind="iri", weight=7)
        prober.update(an_inventory(weighed))
        assert prober.observations == {"n": first}
    assert server.connections == 1


async def test_an_answer_to_the_old_question_is_dropped(serve: Any, sending: Any) -> None:
    release = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(response(INFO))

    old = await serve(late)
    new = await serve(sending(response({**INFO, "neighbors": 42})))
    reported: list[Observation] = []
    prober = Prober(adapters(), ProbeSettings(interval=600.0, timeout=30.0), CLOCK, reported.append)
    prober.update(an_inventory(a_node(old.url)))
    async with running(prober):
        await until(lambda: old.connections == 1)
        prober.update(an_inventory(a_node(new.url)))
        release.set()
        observation = await until(seen(prober))
    assert observation.outcome.peers == 42
    assert len(reported) == 1


async def test_probe_soon_does_not_wait_for_the_interval(serve: Any, sending: Any) -> None:
    server = await serve(sending(response(INFO)))
    prober = Prober(adapters(), ProbeSettings(interval=600.0), CLOCK)
    prober.update(an_inventory(a_node(server.url)))
    async with running(prober):
        for count in range(1, 4):
            await until(lambda count=count: server.connections == count)
            await until(lambda: prober.stats().in_flight == 0)
            prober.probe_soon("n")


async def test_never_more_in_flight_than_allowed_and_never_two_of_one_node(serve: Any) -> None:
    open_now, most = 0, 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.03)
        open_now -= 1
        writer.write(response(INFO))

    server = await serve(slow)
    prober = Prober(adapters(), ProbeSettings(interval=0.1, concurrency=4), CLOCK)
    prober.update(an_inventory(*(a_node(server.url, f"n{number}") for number in range(20))))
    async with running(prober):
        await until(lambda: server.connections >= 60)
        assert prober.stats().in_flight <= 4
    assert most <= 4


class Flawed:
    """An adapter with a bug for one node, and one that never stops asking for another."""

    kind = "flawed"
    traffic = Traffic()
    criteria = Criteria()

    def faults(self, node: Node) -> tuple[str, ...]:
        return ()

    def ask(self, node: Node, answers: tuple[Answer, ...]) -> tuple[Question, ...]:
        return (Question(),) if not answers or node.id == "curious" else ()

    def read(self, node: Node, answers: tuple[Answer, ...]) -> Reading:
        if node.id == "buggy":
            raise KeyError("height")
        return Reading(height=len(answers))


async def test_a_bug_in_an_adapter_stops_nothing_and_is_logged_once(
    serve: Any, sending: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(sending(response(b"")))
    prober = Prober({"flawed": Flawed()}, QUICK, CLOCK)
    prober.update(an_inventory(a_node(server.url, "buggy", "flawed"), a_node(server.url, "well", "flawed")))
    with caplog.at_level(logging.ERROR, logger="nodegate.probe"):
        async with running(prober):
            await until(lambda: prober.stats().probes.get(("flawed", "fault"), 0) >= 3)
            await until(lambda: prober.stats().probes.get(("flawed", "reading"), 0) >= 3)
    assert set(prober.observations) == {"well"}
    (record,) = caplog.records
    assert "node buggy" in record.getMessage()
    assert "KeyError" in record.getMessage()
    assert record.exc_info is not None


async def test_an_adapter_that_never_stops_asking_is_stopped(serve: Any, sending: Any) -> None:
    server = await serve(sending(response(b"")))
    node = a_node(server.url, "curious", "flawed")
    observation = await probe_once(Flawed(), node, ProbeSettings(timeout=20), CLOCK)
    assert isinstance(observation.outcome, Reading)
    assert observation.outcome.height == MAX_QUESTIONS


async def test_a_callback_that_fails_does_not_stop_the_prober(
    serve: Any, sending: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(observation: Observation) -> None:
        raise RuntimeError("disk full")

    server = await serve(sending(response(INFO)))
    prober = Prober(adapters(), QUICK, CLOCK, broken)
    prober.update(an_inventory(a_node(server.url)))
    async with running(prober):
        await until(lambda: server.connections >= 3)
    assert "n" in prober.observations
    assert "disk full" in caplog.text


async def test_what_this_machine_lacks_says_nothing_about_the_node(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def lacks(*_: Any) -> Exchanged:
        raise Unavailable("this machine cannot probe: Too many open files")

    monkeypatch.setattr(Exchanger, "ask", lacks)
    prober = Prober(adapters(), QUICK, CLOCK)
    prober.update(an_inventory(a_node("http://127.0.0.1:1")))
    async with running(prober):
        await until(lambda: prober.stats().probes.get(("iri", "fault"), 0) >= 3)
    assert prober.observations == {}
    assert len(caplog.records) == 1
    assert "Too many open files" in caplog.text


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (a_node("http://127.0.0.1:1", kind="btc"), "there is no node kind 'btc'"),
        (a_node("http://127.0.0.1:1", colour="red"), "option colour: kind iri has no such option"),
    ],
)
async def test_a_node_that_cannot_be_asked_says_why(node: Node, words: str) -> None:
    prober = Prober(adapters(), QUICK, CLOCK)
    prober.update(an_inventory(node))
    async with running(prober):
        observation = await until(seen(prober))
    assert observation.outcome.kind is FailureKind.MALFORMED
    assert words in observation.outcome.text
    assert observation.address is None


async def test_can_be_run_again_after_it_was_cancelled(serve: Any) -> None:
    async def hangs_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections == 1:
            await reader.read()
        writer.write(response(INFO))

    server = await serve(hangs_once)
    prober = Prober(adapters(), ProbeSettings(interval=0.2, timeout=30.0), CLOCK)
    prober.update(an_inventory(a_node(server.url)))
    async with running(prober):
        await until(lambda: server.connections == 1)
    assert prober.stats().in_flight == 0
    async with running(prober):
        await until(seen(prober))


async def test_nodes_may_come_before_and_after_the_start(serve: Any, sending: Any) -> None:
    server = await serve(sending(response(INFO)))
    prober = Prober(adapters(), QUICK, CLOCK)
    async with running(prober):
        await asyncio.sleep(0)
        prober.update(an_inventory(a_node(server.url)))
        await until(seen(prober))
