"""What `nodegate capture` reads a second, what it says at lost packets, and what a look at 4,000 sockets costs."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.environment import use_tests
from bench.figures import Figure, Outcome

REQUESTS = 20_000
HUNG = 50
CHUNK = 1 << 18
SOCKETS = 4000
LEFT = 1000
ROUNDS = 5


async def run() -> Outcome:
    """Everything is in memory and on the loopback; times are those of the CPU."""
    return await asyncio.to_thread(_measure)


def _measure() -> Outcome:
    use_tests()
    from captures import Packet, daily, pcap

    packets = daily(REQUESTS, hung=HUNG).sorted()
    whole = pcap(packets)
    seconds = min(_read(whole)[0] for _ in range(ROUNDS))
    figures = [
        Figure(what="requests a second and core, from a file", value=(REQUESTS + HUNG) / seconds, unit="/s",
               at_least=20_000, note=f"{len(packets):,} packets, {len(whole) / 1e6:.0f} MB"),
    ]  # fmt: skip
    for share in (0.001, 0.01, 0.05):
        dice = random.Random(11)
        kept: list[Packet] = [packet for packet in packets if dice.random() >= share]
        _, unanswered, hung = _read(pcap(kept))
        figures += [
            Figure(what=f"false \"never answered\", {share:.1%} of packets lost", value=unanswered - hung, at_most=0),
            Figure(what=f"stalls found of {HUNG}, {share:.1%} lost", value=hung),
        ]  # fmt: skip
    return Outcome(figures=(*figures, *_sockets()))


def _read(data: bytes) -> tuple[float, int, int]:
    """CPU seconds, requests said to be unanswered, and those of them that really are."""
    from nodegate.host.capture.analysis import Analysis
    from nodegate.host.capture.pcapfile import CaptureReader
    from nodegate.host.capture.report import report_of

    began = time.process_time()
    analysis, reader = Analysis([14265]), CaptureReader()
    for place in range(0, len(data), CHUNK):
        analysis.add(reader.feed(data[place : place + CHUNK]))
    reader.finish()
    analysis.finish()
    found = report_of(analysis, after=0.0, top=10)
    seconds = time.process_time() - began
    hung = sum(row.unanswered for row in found.commands if row.command == "getTransactionsToApprove")
    return seconds, found.unanswered, hung


def _sockets() -> Iterator[Figure]:
    from nodegate.host.sockets.gauge import Gauge

    with _connections() as port:
        gauge = Gauge([port])
        try:
            gauge.read()
            wall, cpu = [], []
            for _ in range(4 * ROUNDS):
                began, used = time.perf_counter(), time.process_time()
                (reading,) = gauge.read()
                wall.append((time.perf_counter() - began) * 1000)
                cpu.append((time.process_time() - used) * 1000)
        finally:
            gauge.close()
    note = f"{reading.sockets.established:,} established, {reading.sockets.close_wait:,} CLOSE_WAIT"
    yield Figure(what=f"a look at {SOCKETS:,} sockets", value=min(wall), unit="ms", at_most=10, note=note)
    yield Figure(what="its CPU, median", value=statistics.median(cpu), unit="ms")


@contextmanager
def _connections() -> Iterator[int]:
    """Connections of which a part was left by the client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * SOCKETS + 1000), hard))
    held = []
    try:
        server = socket.create_server(("127.0.0.1", 0), backlog=SOCKETS)
        held.append(server)
        for number in range(SOCKETS):
            client = socket.create_connection(server.getsockname())
            held.append(server.accept()[0])
            if number < LEFT:
                client.close()
            else:
                held.append(client)
        yield server.getsockname()[1]
    finally:
        for each in held:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
