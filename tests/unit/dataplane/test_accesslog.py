"""The access log is put aside at its size, and three older ones are kept."""

from __future__ import annotations

from pathlib import Path

from nodegate.dataplane.accesslog import rotate


def test_a_log_is_put_aside_once_it_is_too_large_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    assert not rotate(log, 10)
    with log.open("ab") as writer:
        for number in range(5):
            writer.write(b"%d" % number * 20)
            writer.flush()
            assert rotate(log, 10)
            assert log.stat().st_size == 0
        writer.write(b"x" * 10)
        writer.flush()
        assert not rotate(log, 10)
    assert [(tmp_path / f"access.log.{number}").read_bytes() for number in (1, 2, 3)] == [
        b"4" * 20,
        b"3" * 20,
        b"2" * 20,
    ]
    assert not (tmp_path / "access.log.4").exists()
