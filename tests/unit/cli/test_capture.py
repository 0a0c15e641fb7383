"""`nodegate capture` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captures import Packet, daily, ethernet, pcap, pcapng
from nodegate.cli import run

DAY = daily(120, hung=4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "node.pcap"
    place.write_bytes(pcap(DAY.sorted()))
    return place


def test_people_get_tables_and_the_likely_cause(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", str(file), "--after", "0"]) == 1
    told = capsys.readouterr().out
    assert "124 requests" in told
    assert "4 unanswered" in told
    assert "the old-reference stall" in told
    assert "Oldest without an answer" in told


def test_programs_get_one_document(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", str(file), "--after", "0", "--json", "--top", "2"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["requests"], document["unanswered"], len(document["oldest"])) == (124, 4, 2)
    assert document["findings"][0]["rule"] == "body-pattern"


def test_all_answered_is_exit_code_0(tmp_path: Path) -> None:
    place = tmp_path / "node.pcapng"
    place.write_bytes(pcapng(daily(20, hung=0).sorted()))
    assert run(["capture", str(place)]) == 0


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 6, "no such file"),
        (b"", 8, "empty"),
        (b"\x1f\x8b" + bytes(40), 8, "zcat FILE"),
        (pcap([Packet(1.0, bytes(60))], link=147), 8, "link type 147"),
    ],
)
def test_bad_files_are_told(
    content: bytes | None, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "bad.pcap"
    if content is not None:
        place.write_bytes(content)
    assert run(["capture", str(place)]) == code
    assert words in capsys.readouterr().err


def test_a_truncated_capture_is_read_to_its_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(file.read_bytes()[: -len(ethernet(DAY.sorted()[-1].ip)) // 2])
    run(["capture", str(file), "--after", "0"])
    assert "ends in the middle of a packet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one of them"),
        (["x.pcap", "-i", "lo"], "name one of them"),
        (["x.pcap", "--port", "0"], "--port"),
    ],
)
def test_a_wrong_command_line_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["capture", *arguments]) == 3
    assert words in capsys.readouterr().err


def test_an_interface_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "-i", "nosuch0", "--for", "0.1"]) in {5, 6}
    assert "CAP_NET_RAW" in (told := capsys.readouterr().err) or "there is no interface nosuch0" in told


def test_a_capture_may_come_from_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nodegate", "capture", "-", "--json", "--after", "0"],
        input=pcap(DAY.sorted()), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["requests"] == 124
