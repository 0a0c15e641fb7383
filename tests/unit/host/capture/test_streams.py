"""Bytes in order again, whatever the capture did to the packets."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.host.capture.streams import GRACE, MAX_HELD, Stream


class Sink:
    """Remembers what it got, with what was lost as question marks."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed(self, data: bytes, start: int, ack: int, time: float) -> None:
        self.data += data

    def lost(self, count: int) -> None:
        self.data += b"?" * count


TEXT = bytes(range(65, 91)) * 40


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(),
    first=st.sampled_from([0, 5, (1 << 32) - 300, (1 << 31) - 10]),
    size=st.integers(min_value=1, max_value=200),
)
def test_swapped_doubled_and_overlapping_segments_give_the_text(seed: int, first: int, size: int) -> None:
    dice = random.Random(seed)
    segments = [(place, TEXT[place : place + size]) for place in range(0, len(TEXT), size)]
    for _ in range(5):
        place = dice.randrange(len(TEXT))
        segments.append((place, TEXT[place : place + dice.randrange(1, 300)]))
    segments += dice.sample(segments, len(segments) // 5)
    segments.sort(key=lambda segment: segment[0] + dice.random() * 5 * size)
    sink = Sink()
    stream = Stream(sink, first)
    for place, data in segments:
        stream.segment(stream.place((first + place) % (1 << 32)), data, len(data), 0, 1.0)
    assert bytes(sink.data) == TEXT
    assert stream.whole
    assert stream.held_bytes == 0


def test_bytes_that_the_peer_has_and_the_capture_does_not_are_left_out_after_a_while() -> None:
    sink = Sink()
    stream = Stream(sink, 0)
    stream.segment(0, b"abc", 3, 0, 1.0)
    stream.segment(6, b"ghi", 3, 0, 1.0)
    stream.acknowledged(9, 1.0)
    assert not stream.overdue(1.0 + GRACE / 2)
    assert stream.overdue(1.0 + GRACE * 2)
    stream.jump()
    assert bytes(sink.data) == b"abc???ghi"


def test_bytes_that_come_within_the_grace_are_read() -> None:
    sink = Sink()
    stream = Stream(sink, 0)
    stream.acknowledged(3, 1.0)
    stream.segment(0, b"abc", 3, 0, 1.01)
    assert not stream.overdue(9.0)
    assert bytes(sink.data) == b"abc"


def test_a_segment_that_was_cut_is_followed_by_what_is_missing() -> None:
    sink = Sink()
    stream = Stream(sink, 0)
    stream.segment(0, b"ab", 5, 0, 1.0)
    stream.segment(5, b"fg", 2, 0, 1.0)
    assert bytes(sink.data) == b"ab???fg"


def test_what_is_held_is_bounded() -> None:
    stream = Stream(Sink(), 0)
    for number in range(10 * MAX_HELD):
        stream.segment(2 + number * 2, b"x", 1, 0, 1.0)
        assert len(stream.held) <= MAX_HELD + 1


def test_the_end_of_the_stream_is_no_byte() -> None:
    stream = Stream(Sink(), 0)
    stream.ended = 3
    stream.acknowledged(4, 1.0)
    assert stream.high == 3
