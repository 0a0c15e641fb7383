"""Requests, answers, and what never got one: against captures whose truth is known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Call,
    Connection,
    Packet,
    Traffic,
    command,
    daily,
    ethernet,
    pcap,
    rpc,
)
from nodegate.host.capture import analysis as analysis_module
from nodegate.host.capture.analysis import Analysis
from nodegate.host.capture.pcapfile import CaptureReader
from nodegate.host.capture.report import Report, report_of

INFO = Call(command("getNodeInfo"))
STALL = Call(command("getTransactionsToApprove", depth=3, reference="E" * 81), wait=None)


def analysed(packets: Sequence[Packet], *, after: float = 0.0, snaplen: int = 262144) -> Report:
    analysis = Analysis([14265])
    reader = CaptureReader()
    analysis.add(reader.feed(pcap(packets, snaplen=snaplen)))
    reader.finish()
    analysis.finish()
    return report_of(analysis, after=after, top=10)


def calls(report: Report) -> dict[str, tuple[int, int, int]]:
    return {row.command: (row.calls, row.answered, row.unanswered) for row in report.commands}


def traffic(seed: int = 1) -> Traffic:
    return Traffic(random.Random(seed))


def test_every_request_of_a_day_is_counted_with_its_answer() -> None:
    day = daily(600, hung=20)
    report = analysed(day.sorted())
    assert {row.command: row.calls for row in report.commands} == day.asked
    assert {row.command: row.answered for row in report.commands if row.answered} == day.answered
    assert {row.command: row.unanswered for row in report.commands if row.unanswered} == day.unanswered
    assert (report.requests, report.answered, report.unanswered, report.unpaired) == (620, 600, 20, 0)
    assert report.answers_alone == 0
    (row,) = (row for row in report.commands if row.command == "getBalances")
    assert row.p50 == pytest.approx(0.01, rel=0.05)
    assert row.answer_bytes == 200 * row.answered
    assert row.request_bytes_max == len(command("getBalances", addresses=["A" * 81] * 3, threshold=100))
    assert {row.failed for row in report.commands if row.command == "attachToTangle"} == {
        day.asked["attachToTangle"]
    }


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(Call(command("getTrytes"), answer=b"x" * 30_000), id="length"),
        pytest.param(Call(command("getTrytes"), answer=b"x" * 9000, chunked=True), id="chunks"),
        pytest.param(Call(command("getTrytes", trytes=["T" * 2673] * 8), answer=b"x"), id="long request"),
        pytest.param(
            Call(command("getTrytes"), headers="Expect: 100-continue\r\n", continues=True), id="continue"
        ),
        pytest.param(
            Call(command("getTrytes"), headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"),
            id="upgrade refused",
        ),
    ],
)
@pytest.mark.parametrize("server", ["192.0.2.1", "2001:db8::1"])
def test_messages_of_every_form_are_understood(call: Call, server: str) -> None:
    made = traffic()
    client = "198.51.100.7" if "." in server else "2001:db8::7"
    made.exchange(client, [INFO, call, INFO, STALL], server=server)
    report = analysed(made.packets)
    assert calls(report) == {
        "getNodeInfo": (2, 2, 0),
        "getTrytes": (1, 1, 0),
        "getTransactionsToApprove": (1, 0, 1),
    }


def test_the_answer_to_head_has_no_body() -> None:
    made = traffic()
    head = Call(b"", method="HEAD", target="/health", answer=b"x" * 400)
    made.exchange("198.51.100.7", [head, INFO, head, INFO], name=lambda call: call.method)
    assert calls(analysed(made.packets)) == {"HEAD /health": (2, 2, 0), "getNodeInfo": (2, 2, 0)}


def test_an_answer_until_the_connection_closes_is_one() -> None:
    made = traffic()
    made.exchange("198.51.100.7", [Call(command("getNodeInfo"), answer=b"x" * 5000, until_close=True)])
    assert calls(analysed(made.packets)) == {"getNodeInfo": (1, 1, 0)}


def test_a_stall_behind_a_continue_is_found() -> None:
    made = traffic()
    made.exchange(
        "198.51.100.7", [Call(STALL.body, wait=None, headers="Expect: 100-continue\r\n", continues=True)]
    )
    assert analysed(made.packets).unanswered == 1


def test_pipelined_requests_are_told_apart() -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    line.open(1000)
    line.stream(1000.1, INFO.request + INFO.request + STALL.request, from_client=True)
    line.stream(1000.2, INFO.reply + INFO.reply, from_client=False)
    assert calls(analysed(made.packets)) == {"getNodeInfo": (2, 2, 0), "getTransactionsToApprove": (1, 0, 1)}


def test_bytes_that_come_one_at_a_time_make_the_same_requests() -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    line.open(1000)
    line.stream(1000.1, INFO.request, from_client=True, mss=1)
    line.stream(1000.2, INFO.reply, from_client=False, mss=1)
    line.stream(1000.3, STALL.request, from_client=True, mss=1)
    assert calls(analysed(made.packets)) == {"getNodeInfo": (1, 1, 0), "getTransactionsToApprove": (1, 0, 1)}


def test_an_answer_before_the_request_is_whole_is_an_answer() -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    line.open(1000)
    long = Call(command("broadcastTransactions", trytes=["T" * 2673] * 8), status=413)
    line.stream(1000.1, long.request[:5000], from_client=True)
    line.stream(1000.2, long.reply, from_client=False)
    line.stream(1000.3, long.request[5000:], from_client=True)
    line.close(1001)
    assert analysed(made.packets).unanswered == 0


def test_each_call_of_a_batch_counts() -> None:
    made = traffic()
    batch = Call(json.dumps([rpc("eth_call"), rpc("eth_call", 2), rpc("eth_chainId", 3)]).encode())
    made.exchange("198.51.100.7", [batch], name=lambda call: "batch")
    report = analysed(made.packets)
    assert calls(report) == {"eth_call": (2, 2, 0), "eth_chainId": (1, 1, 0)}
    assert report.requests == 1
    assert report.slowest[0].command == "eth_call, eth_chainId"


def test_sequence_numbers_may_wrap() -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    line.seq, line.ack = (1 << 32) - 100, (1 << 32) - 50
    line.open(1000)
    now = 1000.1
    for _ in range(5):
        now = line.stream(now, INFO.request, from_client=True)
        now = line.stream(now + 0.01, INFO.reply, from_client=False)
    line.stream(now, STALL.request, from_client=True)
    assert calls(analysed(made.packets)) == {"getNodeInfo": (5, 5, 0), "getTransactionsToApprove": (1, 0, 1)}


@pytest.mark.parametrize("skip", range(3, 12))
def test_a_capture_may_start_in_the_middle(skip: int) -> None:
    made = traffic()
    made.exchange("198.51.100.7", [INFO, Call(command("getTrytes"), answer=b"x" * 4000), INFO, STALL])
    report = analysed(made.packets[skip:])
    assert calls(report)["getTransactionsToApprove"] == (1, 0, 1)
    assert report.unanswered == 1


@pytest.mark.parametrize(
    ("flags", "from_client", "state"),
    [
        (FIN | ACK, True, "the client gave up"),
        (RST | ACK, True, "the client gave up"),
        (FIN | ACK, False, "the node closed the connection"),
        (RST | ACK, False, "the node closed the connection"),
        (None, True, "it waits"),
    ],
)
def test_how_a_request_without_an_answer_ended_is_told(
    flags: int | None, from_client: bool, state: str
) -> None:
    made = traffic()
    made.exchange("198.51.100.7", [STALL])
    line = Connection("198.51.100.7", made.port, "192.0.2.1", 14265, 0, 0, made.packets)
    first = traffic()
    again = first.connection("198.51.100.7")
    line.seq, line.ack = again.seq + 1 + len(STALL.request), again.ack + 1
    if flags is not None:
        line.send(1030, flags=flags, from_client=from_client)
    made.exchange("198.51.100.8", [INFO], start=1060)
    (found,) = analysed(made.packets, after=5.0).oldest
    assert found.state == state
    assert found.seconds == pytest.approx(30 if flags else 60, abs=0.5)
    assert "getTransactionsToApprove" in found.body


def test_a_young_request_is_pending_and_not_unanswered() -> None:
    made = traffic()
    made.exchange("198.51.100.7", [STALL])
    made.exchange("198.51.100.8", [INFO], start=1000.2)
    report = analysed(made.packets, after=5.0)
    assert (report.unanswered, report.pending, report.findings) == (0, 1, ())


def test_a_request_that_never_ends_is_told_apart() -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    line.open(1000)
    line.stream(1000.1, INFO.request[:-5], from_client=True)
    report = analysed(made.packets)
    assert (report.requests, report.unfinished) == (0, 1)


def test_a_port_used_again_is_another_connection() -> None:
    made = traffic()
    for start in (1000, 1001, 1002):
        made.port = 30000
        made.exchange("198.51.100.7", [INFO, STALL], start=start)
    assert calls(analysed(made.packets)) == {"getNodeInfo": (3, 3, 0), "getTransactionsToApprove": (3, 0, 3)}


def test_packets_that_come_twice_count_once() -> None:
    day = daily(200, hung=5)
    dice = random.Random(3)
    packets = [each for packet in day.sorted() for each in [packet] * (2 if dice.random() < 0.2 else 1)]
    report = analysed(packets)
    assert {row.command: row.calls for row in report.commands} == day.asked
    assert (report.answered, report.unanswered) == (200, 5)


def test_packets_that_swapped_places_count_all_the_same() -> None:
    day = daily(300, hung=5)
    dice = random.Random(3)
    packets = sorted(day.packets, key=lambda packet: packet.time + dice.random() * 0.0005)
    report = analysed(packets)
    assert {row.command: row.unanswered for row in report.commands if row.unanswered} == day.unanswered
    assert report.requests >= 300


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(min_value=0, max_value=1 << 30), share=st.sampled_from([0.001, 0.01, 0.05]))
def test_lost_packets_never_make_a_stall_that_was_not(seed: int, share: float) -> None:
    day = daily(150, hung=6, seed=seed, clients=4)
    dice = random.Random(seed)
    kept = [packet for packet in day.sorted() if dice.random() >= share]
    report = analysed(kept)
    told = {row.command: row.unanswered for row in report.commands if row.unanswered}
    assert set(told) <= {"getTransactionsToApprove"}
    assert told.get("getTransactionsToApprove", 0) <= 6


def test_most_requests_and_stalls_are_seen_in_spite_of_loss() -> None:
    day = daily(2000, hung=50)
    dice = random.Random(5)
    report = analysed([packet for packet in day.sorted() if dice.random() >= 0.01])
    assert report.requests > 0.97 * 2050
    assert report.unanswered >= 47


def test_packets_that_were_cut_are_told_and_do_no_harm() -> None:
    day = daily(200, hung=5)
    report = analysed(day.sorted(), snaplen=300)
    assert report.requests == 205
    assert report.unanswered == 5
    assert any("were cut" in note for note in report.notes)


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        (lambda made: made.exchange("198.51.100.7", [INFO], server="192.0.2.1"), ""),
        (lambda made: noise(made, 14265), "no HTTP/1 request"),
        (lambda made: noise(made, 8443), "the busiest ports are 8443"),
    ],
)
def test_what_is_odd_about_a_capture_is_told(packets: Callable[[Traffic], object], words: str) -> None:
    made = traffic()
    packets(made)
    notes = analysed(made.packets).notes
    assert any(words in note for note in notes) if words else notes == ()


def noise(made: Traffic, port: int) -> None:
    line = made.connection("198.51.100.7", server_port=port)
    line.open(1000)
    line.stream(1000.1, b"\x16\x03\x01\x02\x00\x01" + bytes(300), from_client=True)


def test_connections_are_bounded_and_what_is_forgotten_is_told() -> None:
    analysis = Analysis([14265], conversations=20)
    made = traffic()
    for number in range(100):
        made.exchange("198.51.100.7", [STALL], start=1000 + number)
    analysis.add([(packet.time, 1, ethernet(packet.ip)) for packet in made.packets])
    assert len(analysis.open) <= 20
    analysis.finish()
    report = report_of(analysis, after=0.0, top=3)
    assert report.unanswered + report.forgotten == 100
    assert len(report.oldest) == 3


def test_invented_commands_and_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodegate.host.capture.tally.MAX_COMMANDS", 5)
    made = traffic()
    for number in range(30):
        made.exchange(f"198.51.100.{number}", [Call(command(f"invented{number}"))])
    report = analysed(made.packets)
    assert len(report.commands) == 6
    assert sum(row.calls for row in report.commands) == 30


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(
            st.booleans(),
            st.one_of(
                st.binary(max_size=80),
                st.sampled_from([INFO.request, INFO.reply, STALL.request, b"HTTP/1.1 101 X\r\nUpgrade: h\r\n\r\n",
                                 b"HEAD / HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
                                 b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
                                 b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"]),
            ),
            st.integers(min_value=-2000, max_value=5000),
            st.sampled_from([ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK, RST, 0, 255]),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_hostile_connections_never_raise(pieces: list[tuple[bool, bytes, int, int]]) -> None:
    made = traffic()
    line = made.connection("198.51.100.7")
    for number, (from_client, data, jump, flags) in enumerate(pieces):
        if from_client:
            line.seq = (line.seq + jump) % (1 << 32)
        else:
            line.ack = (line.ack + jump) % (1 << 32)
        line.send(1000 + number * 0.03, data, flags, from_client=from_client)
    report = analysed(made.packets)
    assert report.requests >= report.unanswered >= 0
    assert report.answered >= 0


def test_the_modules_bounds_are_what_the_page_says() -> None:
    assert analysis_module.MAX_CONVERSATIONS == 20_000
