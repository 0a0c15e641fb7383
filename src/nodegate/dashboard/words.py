"""Numbers and times as the pages say them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from nodegate.daemon.history import Point
from nodegate.model import Instant

WIDTH, HEIGHT = 80.0, 20.0
"""The box that a sparkline is drawn in."""


HOUR = 3600.0
SHORTEST = 300.0
"""Seconds that a chart shows at least, so that the first minute after a start is not stretched over the page."""


def window(started_at: Instant, now: Instant) -> Instant:
    """Where charts begin: an hour ago, or when nodegate was started."""
    return Instant(max(now - HOUR, min(started_at, now - SHORTEST)))


def plural(count: int, noun: str) -> str:
    """`1 node`, `1,000 nodes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def rate(value: float | None) -> str:
    """A rate per second with as many digits as it deserves."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def ms(seconds: float | None) -> str:
    """Seconds as milliseconds."""
    return "-" if seconds is None else f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def number(value: int | None) -> str:
    """A count, a dash for what is not known."""
    return "-" if value is None else f"{value:,}"


def clock(instant: Instant) -> str:
    """The time of day, in UTC."""
    return datetime.fromtimestamp(instant, UTC).strftime("%H:%M:%S")


def spark(points: Sequence[Point], since: Instant, until: Instant) -> str:
    """An SVG path of the points within the box of `WIDTH` by `HEIGHT`; "" for fewer than two. Times outside of
    the window are drawn at its edges; a constant is a line in the middle."""
    if len(points) < 2 or until <= since:
        return ""
    values = [point.value for point in points]
    low, high = min(values), max(values)
    steps = []
    for point in points:
        x = WIDTH * min(1.0, max(0.0, (point.at - since) / (until - since)))
        share = 0.5 if high == low else (point.value - low) / (high - low)
        steps.append(f"{x:.1f} {HEIGHT - 1 - share * (HEIGHT - 2):.1f}")
    return "M" + "L".join(steps)
