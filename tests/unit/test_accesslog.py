"""Finding a request in the access log: newest first, through rotated files, in bounded pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access_lines import raw
from nodegate.errors import NotFound, Unavailable
from nodegate.telemetry import accesslog
from nodegate.telemetry.accesslog import find_request, log_files, raw_lines


def write(path: Path, *lines: bytes) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))


def test_a_request_is_found_in_any_file_and_the_newest_line_counts(tmp_path: Path):
    write(tmp_path / "access.log.2", raw(0, id="old", node="first"))
    write(tmp_path / "access.log.1", raw(10, id="twice", node="first"), raw(11, id="mid"))
    write(tmp_path / "access.log", raw(20, id="twice", node="second"), raw(21, id="new"))
    assert find_request(tmp_path, "old").node == "first"
    assert find_request(tmp_path, "mid").time.endswith("03:15.000Z")
    assert find_request(tmp_path, "twice").node == "second"
    assert [path.name for path in log_files(tmp_path)] == ["access.log", "access.log.1", "access.log.2"]


def test_an_unknown_request_is_not_found_and_says_how_far_back_the_log_goes(tmp_path: Path):
    write(tmp_path / "access.log.1", b"broken", raw(0, id="a"))
    write(tmp_path / "access.log", raw(60, id="b"))
    with pytest.raises(NotFound, match=r"goes back to 2026-01-02T03:03:04\.000Z"):
        find_request(tmp_path, "nope")


def test_no_log_is_unavailable_not_not_found(tmp_path: Path):
    with pytest.raises(Unavailable, match=r"no access\.log"):
        find_request(tmp_path, "x")


def test_an_id_inside_other_fields_is_not_the_requests(tmp_path: Path):
    hostile = json.dumps({"id": "wanted"})
    write(
        tmp_path / "access.log",
        raw(0, id="wanted", node="right"),
        raw(1, id="other", path=hostile, method="wanted"),
        b'{"id": "wanted"',
    )
    assert find_request(tmp_path, "wanted").node == "right"


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=30),
    chunk=st.integers(16, 700),
    data=st.data(),
)
def test_wherever_the_pieces_are_cut_every_request_is_found(
    sizes: list[int], chunk: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    directory = tmp_path_factory.mktemp("log")
    write(directory / "access.log", *(raw(i, id=f"r{i}", path="x" * size) for i, size in enumerate(sizes)))
    wanted = data.draw(st.integers(0, len(sizes) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accesslog, "CHUNK", chunk)
        assert len(find_request(directory, f"r{wanted}").path or "") == sizes[wanted]
        with pytest.raises(NotFound):
            find_request(directory, f"r{len(sizes)}")


def test_a_line_without_end_does_not_fill_the_memory_and_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(accesslog, "MAX_LINE", 1000)
    monkeypatch.setattr(accesslog, "CHUNK", 500)
    write(tmp_path / "access.log", raw(0, id="before"), b'"' * 20_000, raw(1, id="after"))
    assert find_request(tmp_path, "before").id == "before"
    assert find_request(tmp_path, "after").id == "after"
    assert [len(found) for found in raw_lines(tmp_path / "access.log")][1] == 1000
    assert len(list(raw_lines(tmp_path / "access.log"))) == 3
