"""What is kept of Consul for a start without it."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nodegate.catalog import Check, Instance
from nodegate.consul.kv import Entry
from nodegate.errors import Unavailable
from nodegate.model import Instant
from nodegate.registry.remembered import Keeper, Memory, confirm_memory, read_memory, write_memory
from support import until

CHECK = Check(id="c", name="c", status="passing", service_id="a")
MEMORY = Memory(
    store="s", index=42, read_at=Instant(1e9),
    entries={"nodegate/nodes/ü": Entry(key="nodegate/nodes/ü", value=b"\x00\xff", version=7)},
    instances=(Instance(service="s", id="a", node="n", address="::1", port=1, tags=("t",), meta={"k": "v"}, checks=(CHECK,)),),
)  # fmt: skip


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "inventory.json"
    write_memory(file, MEMORY)
    confirm_memory(file, Instant(0.0))
    assert read_memory(file) == MEMORY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["inventory.json"]


def test_its_time_is_that_of_the_last_read_that_confirmed_it(tmp_path: Path) -> None:
    file = tmp_path / "inventory.json"
    write_memory(file, MEMORY)
    confirm_memory(file, Instant(1e9 + 500))
    found = read_memory(file)
    assert found is not None
    assert found.read_at == 1e9 + 500


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "store": "s", "index": 1, "read_at": 1, "entries": [1]}',
    ],
)
def test_a_file_that_nodegate_did_not_write_is_left_aside(tmp_path: Path, content: str) -> None:
    file = tmp_path / "inventory.json"
    file.write_text(content)
    assert read_memory(file) is None
    assert file.read_text() == content


def test_a_file_cut_anywhere_is_left_aside(tmp_path: Path) -> None:
    file = tmp_path / "inventory.json"
    write_memory(file, MEMORY)
    whole = file.read_text()
    assert json.loads(whole)
    for length in range(0, len(whole) - 1, 37):
        file.write_text(whole[:length])
        assert read_memory(file) is None


def test_no_file_is_no_memory(tmp_path: Path) -> None:
    assert read_memory(tmp_path / "inventory.json") is None
    confirm_memory(tmp_path / "inventory.json", Instant(1.0))


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be kept"):
        write_memory(tmp_path / "missing" / "inventory.json", MEMORY)
    assert os.listdir(tmp_path) == []


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> Instant:
        return Instant(self.at)


async def kept(keeper: Keeper, *, same: bool) -> None:
    keeper.keep(lambda: MEMORY, same=same)
    await keeper.finish()


async def test_changes_that_follow_each_other_are_written_once_and_the_last_one_counts(
    tmp_path: Path,
) -> None:
    file = tmp_path / "inventory.json"
    keeper, made = Keeper(file, Clock()), list[int]()

    def memory(index: int) -> Memory:
        made.append(index)
        return replace(MEMORY, index=index)

    for index in (1, 2, 3):
        keeper.keep(partial(memory, index), same=False)
    assert not file.exists()  # whoever waits for a change does not wait for the disk
    await until(file.exists, what="the inventory is kept")
    await keeper.finish()
    found = read_memory(file)
    assert found is not None
    assert (made, found.index) == ([3], 3)


async def test_a_keeper_writes_what_is_new_and_only_that(tmp_path: Path) -> None:
    file, clock = tmp_path / "inventory.json", Clock()
    keeper = Keeper(file, clock)
    assert keeper.recall() is None
    await kept(keeper, same=True)  # the first one, whatever it is
    assert file.exists()
    file.unlink()
    await kept(keeper, same=True)
    assert not file.exists()
    await kept(keeper, same=False)
    assert file.exists()
    clock.at = 1e9 + 700
    await kept(keeper, same=True)
    assert file.stat().st_mtime == clock.at


async def test_a_disk_that_takes_nothing_stops_nothing_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "later"
    keeper = Keeper(folder / "inventory.json", Clock())
    for _ in range(2):
        await kept(keeper, same=False)
    assert len(caplog.records) == 1
    folder.mkdir()
    await kept(keeper, same=True)
    assert (folder / "inventory.json").exists()
