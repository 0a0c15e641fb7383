from __future__ import annotations

import json
from pathlib import Path

from nodegate.daemon.latency import SAMPLE, LogTail


def line(total_ms: int, verdict: str = "served") -> str:
    known = {
        "time": "2024-05-01T12:00:00.000Z",
        "id": "1",
        "client": "192.0.2.1",
        "verdict": verdict,
        "total_ms": total_ms,
    }
    return json.dumps(known) + "\n"


def test_each_sample_has_what_came_since_the_last_one(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    tail = LogTail(log)
    assert tail.sample() == ()
    log.write_text(line(7))
    assert tail.sample() == ()  # what was there before the first look is old
    with log.open("a") as file:
        file.write(line(100) + line(250) + line(9, "refused") + line(30)[:20])
    assert tail.sample() == (0.1, 0.25)
    with log.open("a") as file:
        file.write(line(30)[20:] + "broken\n")
    assert tail.sample() == (0.03,)
    assert tail.sample() == ()


def test_a_log_that_was_put_aside_begins_anew_and_much_traffic_costs_no_more(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line(1) * 10)
    tail = LogTail(log)
    tail.sample()
    log.write_text(line(5))
    assert tail.sample() == (0.005,)
    with log.open("a") as file:
        file.write(line(8) * 5000)
    assert 100 < len(tail.sample()) < SAMPLE / len(line(8)) + 1
