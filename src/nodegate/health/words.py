"""Numbers and foreign text as words for reasons: bounded, whatever a node sends."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 80
_LARGEST = 10**18


def number(value: int) -> str:
    """`1204` → `1,204`; absurdly large numbers are not spelled out (Python refuses beyond 4,300 digits)."""
    if abs(value) > _LARGEST:
        return "more than 10^18" if value > 0 else "less than -10^18"
    return f"{value:,}"


def seconds(value: float) -> str:
    """`0.25` → `0.25 s`, `95.2` → `95 s`."""
    return f"{value:,.0f} s" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".") + " s"


def quoted(text: str) -> str:
    """Text that a node sent, in quotes, cut, with control characters made visible."""
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def short(text: str) -> str:
    """Text that a node sent, without quotes: one line, cut."""
    return text if len(text) <= _LONGEST and text.isprintable() else plain(text[:_LONGEST])


def plain(text: str) -> str:
    """Text of our own making that may quote a node: one line, cut."""
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    return line if len(text) <= 4 * _LONGEST else line + "…"


def listed(items: Iterable[str], *, most: int = 5) -> str:
    """Up to `most` items, and how many more there are."""
    every = [plain(item) for item in items]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
