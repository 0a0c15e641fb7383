"""From frames to segments: every link layer that tcpdump writes, IPv6 with extensions, and bytes of ill will."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import ethernet, ip
from nodegate.host.capture.packets import LINKS, Fragmented, Segment, address_words, segment_of

TCP = struct.pack("!HHIIBBHHH", 40000, 14265, 7, 9, 0x50, 0x18, 1, 0, 0) + b"hello"
FOUR, SIX = ip("192.0.2.9", "192.0.2.1", TCP), ip("2001:db8::9", "2001:db8::1", TCP)


def cooked(packet: bytes, kind: int = 0x0800) -> bytes:
    return bytes(14) + struct.pack("!H", kind) + packet


def cooked2(packet: bytes, kind: int = 0x0800) -> bytes:
    return struct.pack("!H", kind) + bytes(18) + packet


def with_extensions(*headers: tuple[int, bytes]) -> bytes:
    """An IPv6 packet whose headers, each with the kind of the one that follows put in, stand before TCP."""
    kinds = [kind for kind, _ in headers] + [6]
    body = b"".join(bytes([kinds[place + 1]]) + rest for place, (_, rest) in enumerate(headers)) + TCP
    return struct.pack("!IHBB", 6 << 28, len(body), kinds[0], 64) + SIX[8:40] + body


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        pytest.param(1, ethernet(FOUR), id="ethernet"),
        pytest.param(1, ethernet(FOUR) + bytes(6), id="ethernet with padding"),
        pytest.param(1, ethernet(FOUR, 0x8100), id="vlan"),
        pytest.param(1, ethernet(FOUR, 0x88A8, 0x8100), id="qinq"),
        pytest.param(1, ethernet(SIX), id="ipv6"),
        pytest.param(1, ethernet(SIX, 0x8100), id="ipv6 in a vlan"),
        pytest.param(113, cooked(FOUR), id="linux cooked"),
        pytest.param(113, cooked(struct.pack("!HH", 7, 0x86DD) + SIX, 0x8100), id="vlan, linux cooked"),
        pytest.param(276, cooked2(SIX, 0x86DD), id="linux cooked, version 2"),
        pytest.param(276, cooked2(struct.pack("!HH", 7, 0x0800) + FOUR, 0x8100), id="vlan, linux cooked 2"),
        pytest.param(101, FOUR, id="raw ip"),
        pytest.param(229, SIX, id="raw ipv6"),
        pytest.param(0, struct.pack("<I", 2) + FOUR, id="bsd loopback"),
        pytest.param(0, struct.pack(">I", 30) + SIX, id="macos loopback"),
        pytest.param(101, with_extensions((0, bytes(7)), (60, b"\1" + bytes(14))), id="ipv6 options"),
        pytest.param(101, with_extensions((44, bytes(7))), id="ipv6 atomic fragment"),
        pytest.param(101, with_extensions((51, b"\4" + bytes(22))), id="ipv6 authentication"),
        pytest.param(101, FOUR[:2] + b"\0\0" + FOUR[4:], id="longer than the length can say"),
    ],
)
def test_the_segment_is_found(link: int, frame: bytes) -> None:
    found = segment_of(link, frame)
    assert found is not None
    source, source_port, target, target_port, seq, ack, flags, size, data = found
    assert (source_port, target_port, seq, ack, flags) == (40000, 14265, 7, 9, 0x18)
    assert (size, data) == (5, b"hello")
    assert (address_words(source), address_words(target)) in {
        ("192.0.2.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1"),
    }  # fmt: skip


@pytest.mark.parametrize("packet", [FOUR, SIX])
@pytest.mark.parametrize("frame", [ethernet, lambda packet: ethernet(packet, 0x8100)])
def test_a_packet_that_was_cut_knows_its_length(packet: bytes, frame: object) -> None:
    found = segment_of(1, frame(packet)[:-3])  # type: ignore[operator]
    assert found is not None
    assert found[-2:] == (5, b"he")


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(FOUR[:6] + b"\x20\x00" + FOUR[8:]),  # more fragments
        ethernet(FOUR[:6] + b"\x00\x05" + FOUR[8:]),
        ethernet(with_extensions((44, b"\0\0\x09" + bytes(4)))),
    ],
)
def test_fragments_are_told(frame: bytes) -> None:
    with pytest.raises(Fragmented):
        segment_of(1, frame)


def test_what_is_not_tcp_is_nothing() -> None:
    udp = FOUR[:9] + b"\x11" + FOUR[10:]
    assert segment_of(1, ethernet(udp)) is None
    assert segment_of(1, bytes(12) + b"\x08\x06" + bytes(46)) is None
    assert segment_of(101, b"") is None


def test_a_link_type_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        segment_of(147, FOUR)


def test_an_ipv4_address_in_ipv6_is_shown_as_what_it_is() -> None:
    assert address_words(bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])) == "192.0.2.1"


@settings(max_examples=200, deadline=None)
@given(
    link=st.sampled_from(sorted(LINKS)),
    start=st.sampled_from(
        [b"", ethernet(FOUR)[:40], ethernet(SIX)[:60], FOUR[:24], SIX[:44], cooked(FOUR)[:30]]
    ),
    noise=st.binary(max_size=120),
)
def test_hostile_bytes_never_raise(link: int, start: bytes, noise: bytes) -> None:
    found: Segment | None = None
    with contextlib.suppress(Fragmented):
        found = segment_of(link, start + noise)
    if found is not None:
        assert len(found[-1]) <= found[-2]
