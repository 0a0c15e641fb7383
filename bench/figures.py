"""What a benchmark returns: figures with their aims, the same for the table and for the JSON file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.

    `value` is None when it could not be measured here, and `note` says why. `at_most` and `at_least` are the
    aim, None for a figure that is only shown. `ratio` is the value divided by that of `peer`, measured in the
    same run.
    """

    what: str
    value: float | None
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    ratio: float | None = None
    peer: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None when there is no aim, or no value."""
        if self.value is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All figures of one benchmark, and what else it saw (`details`, for the JSON file alone)."""

    figures: tuple[Figure, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


def shown(value: float, unit: str = "") -> str:
    """A number in three digits, with its unit."""
    if value == 0:
        text = "0"
    elif abs(value) >= 100 or float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return f"{text} {unit}".strip()


def median(values: Iterable[float]) -> float:
    """The middle one; of an even number the upper of the two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def ratio(value: float | None, of: float | None) -> float | None:
    """How many times `of` the value is, None when that cannot be said."""
    return None if value is None or not of else value / of
