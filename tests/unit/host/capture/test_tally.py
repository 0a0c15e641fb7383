"""Counts and percentiles in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.host.capture.tally import Book, Latencies, Request


@settings(max_examples=150, deadline=None)
@given(
    seconds=st.lists(st.floats(min_value=1e-5, max_value=5000), min_size=1, max_size=200),
    share=st.floats(min_value=0.01, max_value=1),
)
def test_a_percentile_is_right_within_a_step(seconds: list[float], share: float) -> None:
    latencies = Latencies()
    for value in seconds:
        latencies.add(value)
    ordered = sorted(seconds)
    exact = next(value for place, value in enumerate(ordered, 1) if place >= share * len(ordered))
    assert latencies.percentile(share) == pytest.approx(exact, rel=0.012)
    assert latencies.largest == ordered[-1]


def test_without_answers_there_is_no_percentile() -> None:
    assert Latencies().percentile(0.5) is None


def test_the_slowest_are_kept_and_no_more() -> None:
    book = Book(keep=3)
    for number in range(50):
        request = Request(
            began=1.0, client=bytes(4), commands=("getNodeInfo",), size=1, mark=0, head=False, excerpt=b"", reference=False
        )  # fmt: skip
        book.asked(request)
        book.answer(request, 200, (number * 37) % 50)
    assert sorted(item.seconds for item in book.slowest) == [47, 48, 49]
    assert (book.requests, book.answered) == (50, 50)
