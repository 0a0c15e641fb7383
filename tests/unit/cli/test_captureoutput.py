"""The table of commands on screens of different widths."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from nodegate.cli.captureoutput import Commands
from nodegate.host.capture.report import Row

STALL = Row(
    command="getTransactionsToApprove", calls=12_345, answered=12_328, unanswered=17, failed=3, unpaired=0, pending=0,
    request_bytes=1_200_000, request_bytes_max=200, answer_bytes=99_999_999, answer_bytes_max=90_000, p50=0.1523, p90=0.198,
    p99=0.305, longest=12.4, clients=1_024,
)  # fmt: skip


def shown(width: int) -> list[list[str]]:
    out = StringIO()
    Console(width=width, file=out).print(Commands([STALL]))
    return [line.split() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [70, 80, 100, 110, 130])
def test_what_is_shown_is_shown_whole(width: int) -> None:
    header, row = shown(width)
    assert header[:4] == ["COMMAND", "CALLS", "ANSWERED", "UNANSWERED"]
    assert row[:4] == ["getTransactionsToApprove", "12,345", "12,328", "17"]
    assert not any("…" in word for word in header + row)


def test_a_wide_screen_has_all_columns() -> None:
    header, _ = shown(130)
    assert header[4:] == ["ERRORS", "P50", "P90", "P99", "MAX", "IN", "OUT", "CLIENTS"]


def test_the_least_important_go_first() -> None:
    header, _ = shown(110)
    assert "OUT" not in header
    assert {"P50", "P99", "MAX"} <= set(header)
