from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from nodegate.errors import Refused, Unsafe
from nodegate.lab.lab import Lab
from nodegate.lab.load import Load, LoadOptions, loopback
from nodegate.model import Seconds
from support import free_port, until

Serve = Callable[[Callable[[int], bytes]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(answer)` starts a server that sends the bytes `answer(place)` for the request at `place`
    of all, and closes the connection when they end in b"!close"."""
    servers = []
    asked = 0

    async def start(answer: Callable[[int], bytes]) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    data = answer(asked)
                    asked += 1
                    writer.write(data.removesuffix(b"!close"))
                    if data.endswith(b"!close"):
                        break
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


def good(body: bytes = b"ok", headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(url: str, **more: object) -> LoadOptions:
    return LoadOptions(
        **{"url": url, "method": "GET", "bodies": (b"",), "requests": 10, "connections": 2, **more}
    )  # type: ignore[arg-type]


async def run(options: LoadOptions) -> Load:
    load = Load(options)
    await load.start()
    await asyncio.wait_for(load.wait(), 20)
    return load


async def test_good_answers_are_counted_timed_and_their_connections_kept(lab: Lab) -> None:
    (node,) = await lab.start(1)
    report = (await run(LoadOptions(url=node.url, connections=4, requests=200, expect=b"appName"))).report()
    assert (report.ok, report.failures, dict(report.by_status)) == (200, 0, {200: 200})
    assert node.requests["getNodeInfo"] == 200
    assert node.accepted == 4
    assert report.p50 is not None
    assert report.worst is not None
    assert 0 < report.p50 <= report.worst < 10
    document = report.document()
    assert (document["ok"], document["failed"], set(document["latency_ms"])) == (
        200,
        0,
        {"p50", "p90", "p99", "max"},
    )


async def test_bodies_are_sent_in_turn(lab: Lab) -> None:
    (node,) = await lab.start(1)
    bodies = (b'{"command":"getNodeInfo"}', b'{"command":"getNodeAPIConfiguration"}')
    await run(LoadOptions(url=node.url, bodies=bodies, requests=20, connections=3))
    assert node.requests == {"getNodeInfo": 10, "getNodeAPIConfiguration": 10}


async def test_answers_are_counted_by_the_node_that_the_gateway_names(serve: Serve) -> None:
    url = await serve(lambda place: good(headers=f"X-Nodegate-Node: n{place % 2}\r\n"))
    assert (await run(get(url))).report().by_node == {"n0": 5, "n1": 5}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", "status 503"),
        (good(b"other"), "unexpected"),
        (b"!close", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok!close", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok!close", "closed"),
        (b"SMTP ready\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n", "malformed"),
    ],
)
async def test_each_failure_has_its_reason(serve: Serve, answer: bytes, reason: str) -> None:
    url = await serve(lambda place: answer)
    report = (await run(get(url, requests=3, connections=1, expect=b"ok"))).report()
    assert (report.ok, dict(report.failed)) == (0, {reason: 3})
    assert len(report.samples) == 3
    assert f" s: {reason}: " in report.samples[0]


async def test_a_refused_connection_and_a_reset_one_are_told_apart(lab: Lab) -> None:
    report = (await run(get(f"http://127.0.0.1:{free_port()}", requests=2))).report()
    assert dict(report.failed) == {"refused": 2}
    (node,) = await lab.start(1)
    await lab.fault(node.id, "hang")
    load = Load(LoadOptions(url=node.url, connections=1, requests=1))
    await load.start()
    await until(lambda: node.requests.total() == 1)
    node.reset_all()
    assert dict((await load.wait()).failed) == {"reset": 1}


async def test_a_node_that_hangs_is_given_up_after_the_timeout(lab: Lab) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "hang")
    report = (await run(LoadOptions(url=node.url, connections=2, requests=2, timeout=Seconds(0.1)))).report()
    assert dict(report.failed) == {"timeout": 2}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nT: v\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok!close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok!close",
    ],
)
async def test_every_way_to_frame_a_body_is_read(serve: Serve, answer: bytes) -> None:
    url = await serve(lambda place: answer)
    report = (await run(get(url, requests=4, expect=b"ok"))).report()
    assert (report.ok, report.samples) == (4, ())


async def test_a_connection_closed_between_two_requests_is_no_failure(serve: Serve) -> None:
    url = await serve(lambda place: good() + b"!close")
    report = (await run(get(url, requests=5, connections=1, rate=50.0))).report()
    assert (report.ok, report.samples) == (5, ())


async def test_a_rate_is_kept_and_a_latency_counts_from_the_moment_a_request_was_due(lab: Lab) -> None:
    (node,) = await lab.start(1)
    began = time.monotonic()
    report = (await run(LoadOptions(url=node.url, connections=3, requests=30, rate=100.0))).report()
    assert report.ok == 30
    assert time.monotonic() - began >= 0.29
    # One connection, one answer of 0.3 s: the requests that were due meanwhile waited, and that shows.
    await lab.fault(node.id, "slow", seconds=0.3)
    load = Load(LoadOptions(url=node.url, connections=1, requests=10, rate=100.0))
    await load.start()
    await until(lambda: load.report().ok >= 1)
    await lab.heal(node.id)
    report = await load.wait()
    assert report.p50 is not None
    assert report.p50 > 0.15


async def test_it_ends_at_its_duration(lab: Lab) -> None:
    (node,) = await lab.start(1)
    load = await run(LoadOptions(url=node.url, connections=2, duration=Seconds(0.3)))
    assert not load.running
    assert load.report().ok > 10
    assert 0.25 <= load.report().seconds < 5


async def test_stopping_lets_the_answers_under_way_arrive(lab: Lab) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "slow", seconds=0.2)
    load = Load(LoadOptions(url=node.url, connections=3))
    await load.start()
    await until(lambda: node.requests.total() == 3)
    assert load.running
    report = await load.stop()
    assert (report.ok, report.failures, node.requests.total()) == (3, 0, 3)


async def test_phases_of_a_story_are_counted_apart(lab: Lab) -> None:
    (node,) = await lab.start(1)
    async with Load(LoadOptions(url=node.url, connections=1)) as load:
        await until(lambda: load.report().ok > 5)
        quiet = load.restart_counts()
        await lab.fault(node.id, "error", status=500)
        await until(lambda: load.report().failed.get("status 500", 0) > 1)
    assert quiet.failures == 0
    assert load.report().failures > 1
    with pytest.raises(Refused, match="once"):
        await load.start()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "a.localhost"])
def test_the_loopback_is_a_target(host: str) -> None:
    assert loopback(host) in {host, "127.0.0.1"}


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "0.0.0.0", "example.org", "127.0.0.1.example.org", "2001:db8::1", "1.27"]
)
def test_nothing_else_is_a_target(host: str) -> None:
    with pytest.raises(Unsafe, match="loopback only"):
        loopback(host)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://127.0.0.1"}, "not a URL"),
        ({"url": "http://"}, "not a URL"),
        ({"connections": 0}, "connections"),
        ({"connections": 10_000}, "connections"),
        ({"rate": 0.0}, "rate"),
        ({"bodies": ()}, "bodies"),
        ({"headers": {"X": "a\r\nY: b"}}, "line break"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        Load(LoadOptions(**{"url": "http://127.0.0.1:1", **options}))  # type: ignore[arg-type]
    with pytest.raises(Unsafe):
        Load(LoadOptions(url="http://198.51.100.7/"))
