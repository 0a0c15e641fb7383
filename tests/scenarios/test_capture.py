"""`nodegate capture` and `nodegate sockets` beside real ones: a lab node that is stalled, tcpdump, tshark."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest

from captures import PORT, Packet, daily, pcap
from netlab import Host, network
from nodegate.host.capture.analysis import Analysis
from nodegate.host.capture.pcapfile import CaptureReader
from nodegate.host.capture.report import Report, report_of
from nodegate.host.sockets.gauge import Gauge
from support import until_sync

pytestmark = pytest.mark.scenario

NODEGATE = (sys.executable, "-m", "nodegate")
STALL = "getTransactionsToApprove"
LOOKUP = json.dumps({"command": "findTransactions", "addresses": ["A" * 81]})  # needs the lock of the stall
PATIENCE = 90.0
DAY = daily(250, hung=12)

tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is missing: apt-get install tshark"
)


def oracle(data: bytes, place: Path) -> tuple[Counter[str], Counter[str]]:
    """What tshark says: requests, and requests without an answer, by command."""
    place.write_bytes(data)
    done = subprocess.run(
        ["tshark", "-n", "-r", place, "-d", f"tcp.port=={PORT},http", "-o", "tcp.reassemble_out_of_order:TRUE",
         "-Y", "http", "-T", "fields", "-E", "occurrence=a", "-e", "frame.number", "-e", "http.request.method",
         "-e", "http.request_in", "-e", "json.path_with_value"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    asked: dict[str, str] = {}
    answered: set[str] = set()
    for line in done.stdout.splitlines():
        number, method, request, values = (*line.split("\t"), "", "", "", "")[:4]
        if method:
            named = [value for value in values.split(",") if value.startswith("/command:")]
            asked[number] = named[0].partition(":")[2] if named else "?"
        answered.update(part for part in request.split(",") if part)
    return Counter(asked.values()), Counter(name for key, name in asked.items() if key not in answered)


def ours(data: bytes) -> Report:
    analysis, reader = Analysis([PORT]), CaptureReader()
    analysis.add(reader.feed(data))
    reader.finish()
    analysis.finish()
    return report_of(analysis, after=0.0, top=5, damage=reader.damage)


def doubled(packets: list[Packet]) -> bytes:
    dice = random.Random(4)
    return pcap([each for packet in packets for each in [packet] * (2 if dice.random() < 0.1 else 1)])


@tshark
@pytest.mark.parametrize(
    ("data", "begun"),
    [
        pytest.param(pcap(DAY.sorted()), 0, id="whole"),
        pytest.param(doubled(DAY.sorted()), 0, id="doubled"),
        # tshark calls an answer whose last chunk is cut off none; here the head of an answer is one.
        pytest.param(pcap(DAY.sorted())[:-700], 1, id="truncated"),
    ],
)
def test_tshark_counts_the_same(data: bytes, begun: int, tmp_path: Path) -> None:
    asked, unanswered = oracle(data, tmp_path / "node.pcap")
    report = ours(data)
    assert {row.command: row.calls for row in report.commands} == asked
    mine = Counter({row.command: row.unanswered for row in report.commands if row.unanswered})
    assert mine <= unanswered
    assert unanswered.total() - mine.total() <= begun


@tshark
@pytest.mark.parametrize("damage", ["lost", "swapped"])
def test_where_tshark_is_misled_the_acknowledgements_are_not(damage: str, tmp_path: Path) -> None:
    dice = random.Random(9)
    packets = DAY.sorted()
    if damage == "lost":
        packets = [packet for packet in packets if dice.random() >= 0.02]
    else:
        packets.sort(key=lambda packet: packet.time + dice.random() * 0.0002)
    data = pcap(packets)
    asked, misled = oracle(data, tmp_path / "node.pcap")
    report = ours(data)
    mine = {row.command: row.unanswered for row in report.commands if row.unanswered}
    assert set(mine) == {STALL}
    assert mine[STALL] <= DAY.unanswered[STALL]
    assert report.requests >= asked.total()
    assert misled.total() >= report.unanswered  # tshark 4.0 calls many more unanswered, all of them falsely


@pytest.fixture
def host() -> Iterator[Host]:
    with network(1, needs=("tcpdump",)) as net:
        yield net.hosts[0]


def start(stack: ExitStack, host: Host, *command: object, **options: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["ip", "netns", "exec", host.name, *map(str, command)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip

    def end() -> None:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()

    stack.callback(end)
    return process


def sniffers(host: Host) -> int:
    return len(host.run("cat", "/proc/net/packet").stdout.splitlines()) - 1


def output(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=PATIENCE)
    found: dict[str, Any] = json.loads(said)
    return found


def ready(stream: IO[str] | None) -> dict[str, Any]:
    assert stream is not None
    found: dict[str, Any] = json.loads(stream.readline())
    return found


def test_the_stall_of_an_attacked_node_is_found_by_tcpdump_and_live_and_in_its_sockets(
    host: Host, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        node = start(
            stack,
            host,
            *NODEGATE,
            "lab",
            "nodes",
            "--count",
            1,
            "--base-port",
            PORT,
            "--stall",
            3000,
            "--json",
        )
        ready(node.stdout)
        log = stack.enter_context((tmp_path / "tcpdump.log").open("w"))
        dump = start(stack, host, "tcpdump", "-i", "lo", "-U", "-s", 0, "-B", 16384, "-w", "-", f"tcp port {PORT}",
                     stderr=log)  # fmt: skip
        piped = start(stack, host, *NODEGATE, "capture", "-", "--json", stdin=dump.stdout)
        assert dump.stdout is not None
        dump.stdout.close()
        live = start(stack, host, *NODEGATE, "capture", "-i", "lo", "--json")
        until_sync(lambda: sniffers(host) == 2, within=PATIENCE, what="both listen")

        ask = (
            "curl",
            "-s",
            "-m",
            "30",
            "-H",
            "X-IOTA-API-Version: 1",
            "-H",
            "Content-Type: application/json",
            "-d",
        )
        url = f"http://127.0.0.1:{PORT}"
        for _ in range(5):
            assert host.run(*ask, '{"command":"getNodeInfo"}', url).returncode == 0
        attack = host.run(
            *NODEGATE, "lab", "attack", url, "--only", "stall", "--for", "1", "-c", "17", "--json"
        )
        assert attack.returncode in {0, 1}, attack.stderr
        stuck = [start(stack, host, "curl", "-s", "-m", "300", *ask[4:], LOOKUP, url) for _ in range(3)]
        gauge = Gauge([PORT], pid=host.pids()[0], owed_after=0.2)
        stack.callback(gauge.close)
        until_sync(
            lambda: gauge.read()[0].sockets.owed >= len(stuck),
            within=PATIENCE, what="the sockets in the node's own network say that answers are owed",
        )  # fmt: skip
        live.send_signal(signal.SIGINT)
        dump.send_signal(signal.SIGINT)
        for report in (output(piped), output(live)):
            rows = {row["command"]: row for row in report["commands"]}
            assert rows["getNodeInfo"]["answered"] >= 5
            assert rows["getNodeInfo"]["unanswered"] == 0
            assert rows[STALL]["unanswered"] > 0
            assert report["findings"][0]["cause"] == "old-reference-stall"
            assert report["findings"][0]["rule"] == "body-pattern"
            assert rows["findTransactions"]["unanswered"] + rows["findTransactions"]["pending"] >= len(stuck)
            assert report["dropped"] == 0
