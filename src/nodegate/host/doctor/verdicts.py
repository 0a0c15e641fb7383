"""How a check answers: fine or not, with what was found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nodegate.host.doctor.facts import Expect, Facts


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule holds, and what was found."""

    fine: bool
    text: str


Check = Callable[[Facts, Expect], Verdict | None]
"""Judges one rule; None where it does not concern this host. Raises Unsure with the reason when it cannot."""


def good(text: str) -> Verdict:
    """The rule holds."""
    return Verdict(True, text)


def bad(text: str) -> Verdict:
    """The rule is broken."""
    return Verdict(False, text)


def listed(words: Iterable[object], most: int = 4) -> str:
    """`a, b, c`, and how many more."""
    items = [str(word) for word in words]
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
