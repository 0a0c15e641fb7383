from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.daemon.history import Point
from nodegate.dashboard import words
from nodegate.model import Instant

T0 = Instant(1_700_000_000.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.04, "0.0"), (3.25, "3.2"), (99.94, "99.9"), (12345.6, "12,346")],
)
def test_a_rate_has_as_many_digits_as_it_deserves(value: float | None, text: str) -> None:
    assert words.rate(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0012, "1.2 ms"), (2.5, "2.50 s")])
def test_a_latency_is_in_milliseconds_up_to_a_second(value: float | None, text: str) -> None:
    assert words.ms(value) == text


def test_counts_and_nouns() -> None:
    assert (words.plural(1, "node"), words.plural(1200, "node")) == ("1 node", "1,200 nodes")
    assert (words.number(None), words.number(1_500_000)) == ("-", "1,500,000")
    assert words.clock(T0) == "22:13:20"


def test_charts_begin_with_the_daemon_and_an_hour_ago_at_the_earliest() -> None:
    assert words.window(T0, Instant(T0 + 10)) == T0 + 10 - words.SHORTEST
    assert words.window(T0, Instant(T0 + 1000)) == T0
    assert words.window(T0, Instant(T0 + 9000)) == T0 + 9000 - words.HOUR


def test_a_line_needs_two_points_and_a_span() -> None:
    one = Point(at=T0, value=1.0)
    assert words.spark((), T0, Instant(T0 + 60)) == ""
    assert words.spark((one,), T0, Instant(T0 + 60)) == ""
    assert words.spark((one, one), T0, T0) == ""


def test_a_line_goes_from_left_to_right_and_up_for_more() -> None:
    points = [Point(at=Instant(T0 + 60 * step), value=float(step)) for step in range(3)]
    assert words.spark(points, T0, Instant(T0 + 120)) == "M0.0 19.0L40.0 10.0L80.0 1.0"


@given(
    values=st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=40),
    offsets=st.lists(st.floats(-1e4, 1e4), min_size=40, max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_a_line_never_leaves_its_box(values: list[float], offsets: list[float]) -> None:
    points = [Point(at=Instant(T0 + at), value=value) for value, at in zip(values, offsets, strict=False)]
    path = words.spark(points, T0, Instant(T0 + 3600))
    assert re.fullmatch(r"M[\d. L]+", path)
    for pair in path[1:].split("L"):
        x, y = map(float, pair.split())
        assert 0 <= x <= words.WIDTH
        assert 0 <= y <= words.HEIGHT
