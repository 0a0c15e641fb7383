"""Capture files: every format says the same, whatever the chunks; damage is told, never guessed at."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import Packet, block, daily, ethernet, pcap, pcapng
from nodegate.errors import Malformed
from nodegate.host.capture.pcapfile import CaptureReader, Frame

PACKETS = [Packet(1_700_000_000 + number * 0.000125, bytes([0x45, number]) * 30) for number in range(20)]


def read(data: bytes, *, chunk: int = 1 << 20) -> list[Frame]:
    reader = CaptureReader()
    frames = [
        frame for place in range(0, len(data), chunk) for frame in reader.feed(data[place : place + chunk])
    ]
    reader.finish()
    assert reader.damage is None
    return frames


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pcap(PACKETS), id="pcap"),
        pytest.param(pcap(PACKETS, order=">"), id="pcap of a big-endian machine"),
        pytest.param(pcap(PACKETS, nanoseconds=True), id="pcap with nanoseconds"),
        pytest.param(pcapng(PACKETS), id="pcapng"),
        pytest.param(pcapng(PACKETS, order=">"), id="pcapng of a big-endian machine"),
        pytest.param(pcapng(PACKETS, resolution=9), id="pcapng with nanoseconds"),
        pytest.param(pcapng(PACKETS) + pcapng([]), id="pcapng with a second section"),
        pytest.param(
            pcapng(PACKETS) + block("<", 5, bytes(12)), id="pcapng with a block that is passed over"
        ),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_every_format_gives_the_same_frames(data: bytes, chunk: int) -> None:
    frames = read(data, chunk=chunk)
    assert [frame[2] for frame in frames] == [ethernet(packet.ip) for packet in PACKETS]
    assert {frame[1] for frame in frames} == {1}
    assert [frame[0] for frame in frames] == pytest.approx([packet.time for packet in PACKETS], abs=1e-6)


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_capture_that_ends_in_a_packet_keeps_what_is_before(make: object) -> None:
    data = make(PACKETS)[:-5]  # type: ignore[operator]
    reader = CaptureReader()
    frames = reader.feed(data)
    reader.finish()
    assert len(frames) == len(PACKETS) - 1
    assert reader.damage is not None
    assert "middle of a packet" in reader.damage


def test_a_packet_that_claims_gigabytes_ends_the_reading() -> None:
    reader = CaptureReader()
    damaged = pcap(PACKETS[:3]) + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 0x7FFFFFFF)
    assert len(reader.feed(damaged)) == 3
    assert reader.damage is not None
    assert "2,147,483,647 bytes" in reader.damage
    assert reader.feed(b"more") == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (struct.pack("<IIIII", 7, 0, 0, 0, 0), "interface 7"),
        (struct.pack("<IIIII", 0, 0, 0, 999, 999), "999 bytes"),
        (b"\0" * 8, "too short"),
    ],
)
def test_a_damaged_block_is_told(body: bytes, words: str) -> None:
    reader = CaptureReader()
    assert len(reader.feed(pcapng(PACKETS[:3]) + block("<", 6, body))) == 3
    assert words in str(reader.damage)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08\0" + bytes(30), "zcat"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "neither pcap nor pcapng"),
        (b"\xd4\xc3", "neither pcap nor pcapng"),
    ],
)
def test_what_is_no_capture_is_refused_with_advice(data: bytes, words: str) -> None:
    reader = CaptureReader()

    def whole() -> None:
        reader.feed(data)
        reader.finish()

    with pytest.raises(Malformed, match=words):
        whole()


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from([b"", pcap([]), pcapng([]), pcap(PACKETS[:2], order=">"), pcapng(PACKETS[:2])]),
    noise=st.binary(max_size=200),
    chunk=st.integers(min_value=1, max_value=64),
)
def test_hostile_bytes_raise_nothing_but_malformed(start: bytes, noise: bytes, chunk: int) -> None:
    data = start + noise
    reader = CaptureReader()
    try:
        for place in range(0, len(data), chunk):
            reader.feed(data[place : place + chunk])
        reader.finish()
    except Malformed:
        return
    assert reader.damage is None or reader.damage


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(), flips=st.integers(min_value=1, max_value=20), form=st.sampled_from([pcap, pcapng]))
def test_flipped_bytes_never_raise_once_the_header_is_good(seed: int, flips: int, form: object) -> None:
    dice = random.Random(seed)
    data = bytearray(form(daily(10, hung=1).packets))  # type: ignore[operator]
    for _ in range(flips):
        data[dice.randrange(24, len(data))] = dice.randrange(256)
    reader = CaptureReader()
    reader.feed(bytes(data))
    reader.finish()
