"""The kernel's filter, run by a small machine of its own: what passes, and what does not."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from captures import daily, ip, pcap
from nodegate.host.capture.live import ALL, FileSource, Instruction, port_filter


def passes(program: list[Instruction], packet: bytes) -> bool:
    """Classic BPF, as much of it as the filter uses; reading behind the end drops the packet, as the kernel does."""
    place = a = x = 0
    while True:
        code, hit, miss, k = program[place]
        place += 1
        if code == 0x06:
            return k == ALL
        if code in {0x15, 0x45}:
            place += hit if (a == k if code == 0x15 else a & k) else miss
            continue
        if code == 0x74:
            a >>= k
            continue
        at, size = (k + x, 2) if code == 0x48 else (k, 2 if code == 0x28 else 1)
        if at + size > len(packet):
            return False
        value = int.from_bytes(packet[at : at + size], "big")
        if code == 0xB1:
            x = 4 * (value & 15)
        else:
            a = value


def segment(source: int, target: int) -> bytes:
    return struct.pack("!HHIIBBHHH", source, target, 1, 2, 0x50, 0x18, 1, 0, 0)


def four(source: int, target: int) -> bytes:
    return ip("192.0.2.9", "192.0.2.1", segment(source, target))


def six(source: int, target: int) -> bytes:
    return ip("2001:db8::9", "2001:db8::1", segment(source, target))


@pytest.mark.parametrize("ports", [[14265], [1, 14265], [14265, 2, 3], list(range(14216, 14266))])
@pytest.mark.parametrize("make", [four, six])
def test_packets_of_the_ports_pass_in_either_direction(ports: list[int], make: object) -> None:
    assert callable(make)
    program = port_filter(ports)
    assert passes(program, make(40000, 14265))
    assert passes(program, make(14265, 40000))
    assert passes(program, make(40000, ports[0]))
    assert not passes(program, make(40000, 14264 if len(ports) < 50 else 14266))


def test_what_else_comes_does_not_pass() -> None:
    program = port_filter([14265])
    packet = four(40000, 14265)
    assert not passes(program, packet[:9] + b"\x11" + packet[10:])  # UDP
    assert not passes(program, packet[:6] + b"\x00\x07" + packet[8:])  # a later fragment
    assert not passes(program, bytes(60))  # neither IPv4 nor IPv6
    assert not passes(program, b"\x45")


def test_options_move_the_ports_and_extensions_pass_unseen() -> None:
    program = port_filter([14265])
    packet = four(40000, 14265)
    assert passes(program, b"\x46" + packet[1:20] + bytes(4) + packet[20:])
    extended = six(40000, 14265)
    assert passes(program, extended[:6] + b"\x00" + extended[7:])
    assert not passes(program, extended[:6] + b"\x11" + extended[7:])


@pytest.mark.parametrize("ports", [[], list(range(1, 52))])
def test_too_many_ports_are_refused(ports: list[int]) -> None:
    with pytest.raises(ValueError, match="1 to 50 ports"):
        port_filter(ports)


def test_every_jump_stays_in_the_program() -> None:
    program = port_filter(list(range(1, 51)))
    for place, (code, hit, miss, _) in enumerate(program):
        if code in {0x15, 0x45}:
            assert max(hit, miss) < 256
            assert place + 1 + max(hit, miss) < len(program)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input is a pipe; gives the end to write into."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    os.close(writing)


def test_a_stream_that_was_stopped_gives_what_came_and_ends_though_nobody_closes_it(stream: int) -> None:
    data = pcap(daily(3, hung=0).sorted())
    os.write(stream, data)
    source = FileSource("-")
    source.stop()
    frames = [frame for some in source.frames(0.05) for frame in some]
    assert len(frames) == len(daily(3, hung=0).sorted())


def test_a_file_that_was_stopped_is_read_no_further(tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(pcap(daily(3, hung=0).sorted()))
    source = FileSource(str(tmp_path / "x.pcap"))
    source.stop()
    assert list(source.frames(0.05)) == []
