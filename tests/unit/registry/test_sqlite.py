"""The embedded registry: its file, other processes, and all that can happen to a file."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import registry_process
from contract.registry_contract import FixedClock, a_node
from nodegate.errors import Conflict, Unavailable
from nodegate.registry import sqlite
from nodegate.registry.sqlite import SqliteRegistry
from nodegate.registry.sqlitefile import SCHEMA
from support import until

Opener = Callable[[], SqliteRegistry]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry.db"


@pytest.fixture
async def opener(path: Path) -> AsyncIterator[Opener]:
    opened: list[SqliteRegistry] = []

    def open_() -> SqliteRegistry:
        opened.append(SqliteRegistry(path, FixedClock()))
        return opened[-1]

    yield open_
    for registry in opened:
        await registry.close()


@pytest.fixture
def registry(opener: Opener) -> SqliteRegistry:
    return opener()


class Process:
    """`contract/registry_process.py` on a file."""

    def __init__(self, path: Path, *arguments: str) -> None:
        command = [sys.executable, registry_process.__file__, str(path), *arguments]
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().rstrip("\n")

    async def next_line(self) -> str:
        return await asyncio.wait_for(asyncio.to_thread(self.line), 30)

    def lines(self) -> list[str]:
        """All that it says until its end. Not by `communicate`, which forgets what `line` has read ahead."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        with self.child:
            self.child.stdin.close()
            return self.child.stdout.read().splitlines()


@pytest.fixture
def process(path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(path, *arguments))
        return started[-1]

    yield start
    for one in started:
        with one.child as child:  # its pipes are closed at the end, and it is waited for
            child.kill()


# The file


async def test_the_file_and_its_companions_are_for_the_owner_alone(
    registry: SqliteRegistry, path: Path
) -> None:
    await registry.put(a_node())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("registry.db", "registry.db-wal", "registry.db-shm"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_was_confirmed_is_there_after_a_restart(opener: Opener, path: Path) -> None:
    first = opener()
    put = await first.put(a_node(weight=3))
    before = await first.read()
    await first.close()
    assert [file.name for file in path.parent.iterdir()] == ["registry.db"]
    second = opener()
    assert (await second.read()) == before
    assert (await second.put(replace(put, weight=4))).version > put.version


async def test_a_copy_of_the_one_file_is_a_backup_at_any_time(
    registry: SqliteRegistry, path: Path, tmp_path: Path
) -> None:
    for number in range(3):
        await registry.put(a_node(f"n{number}"))
    shutil.copyfile(path, tmp_path / "copy.db")
    copy = SqliteRegistry(tmp_path / "copy.db", FixedClock())
    assert (await copy.read()) == (await registry.read())
    await copy.close()


async def test_the_inventory_says_when_it_was_read(path: Path) -> None:
    clock = FixedClock(5.0)
    registry = SqliteRegistry(path, clock)
    assert (await registry.read()).read_at == 5.0
    clock.at = type(clock.at)(9.0)
    assert (await registry.read()).read_at == 9.0
    await registry.close()


async def test_an_odd_path_is_only_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory&x=%41 ü#1" / "registry.db"
    registry = SqliteRegistry(path, FixedClock())
    await registry.put(a_node())
    await registry.close()
    assert path.is_file()


async def test_a_relative_path_does_not_move_with_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    registry = SqliteRegistry(Path("registry.db"), FixedClock())
    monkeypatch.chdir(tmp_path / "elsewhere")
    await registry.put(a_node())
    await registry.close()
    assert (tmp_path / "registry.db").is_file()


async def test_own_writes_do_not_make_it_open_the_file_again(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.put(a_node("first"))
    opened: list[object] = []
    connect = sqlite3.connect

    def counted(database: object, **options: Any) -> sqlite3.Connection:
        opened.append(database)
        return connect(database, **options)  # type: ignore[no-any-return,call-overload]

    monkeypatch.setattr(sqlite3, "connect", counted)
    for number in range(5):
        await registry.put(a_node(f"n{number}"))
        await registry.read()
    assert opened == []


# Other processes


async def test_a_write_of_another_process_is_noticed_soon(
    registry: SqliteRegistry, process: Callable[..., Process]
) -> None:
    index = (await registry.read()).index
    waiting = asyncio.create_task(registry.changed(index))
    other = process("put", "stranger")
    assert await other.next_line() == "stranger"
    confirmed = time.monotonic()
    assert await asyncio.wait_for(waiting, 10) == index + 1
    assert time.monotonic() - confirmed < 2.0
    assert [node.id for node in (await registry.read()).nodes] == ["stranger"]


async def test_processes_that_begin_at_once_make_one_registry(
    opener: Opener, process: Callable[..., Process]
) -> None:
    others = [process("put", f"n{number}") for number in range(3)]
    assert [other.lines() for other in others] == [["n0"], ["n1"], ["n2"]]
    inventory = await opener().read()
    assert ([node.id for node in inventory.nodes], inventory.index) == (["n0", "n1", "n2"], 3)


async def test_a_killed_process_loses_nothing_that_was_confirmed(
    opener: Opener, process: Callable[..., Process]
) -> None:
    other = process("puts")
    confirmed = [await other.next_line() for _ in range(25)]
    other.child.send_signal(signal.SIGKILL)
    confirmed += [line for line in other.lines() if line]
    inventory = await opener().read()
    held = {node.id for node in inventory.nodes}
    assert held >= set(confirmed[:-1])  # the very last line may be cut
    assert len(held) <= len(confirmed) + 1
    assert (inventory.index, inventory.faults) == (len(held), ())


async def test_a_locked_file_can_be_read_and_refuses_writes_in_words_until_it_is_free(
    registry: SqliteRegistry, path: Path, process: Callable[..., Process]
) -> None:
    node = await registry.put(a_node())
    other = process("lock")
    assert await other.next_line() == "locked"
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.02)

    heart = asyncio.create_task(beat())
    with pytest.raises(Unavailable, match="locked by another program") as raised:
        await registry.put(replace(node, weight=1))
    heart.cancel()
    assert str(path) in str(raised.value)
    assert beats > 20  # waiting for the lock did not hold up the event loop
    assert (await registry.read()).nodes == (node,)
    other.child.communicate(timeout=30)
    assert (await registry.put(replace(node, weight=1))).version > node.version


async def test_a_file_that_another_holds_for_itself_is_unavailable_until_it_is_free(
    opener: Opener, path: Path
) -> None:
    first = opener()
    await first.put(a_node())
    await first.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        registry = opener()
        with pytest.raises(Unavailable, match="locked by another program"):
            await registry.read()
    assert [node.id for node in (await registry.read()).nodes] == ["n1"]


async def test_a_reader_in_another_program_does_not_hold_up_writes(
    registry: SqliteRegistry, path: Path
) -> None:
    node = await registry.put(a_node())
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM nodes").fetchall()
        begun = time.monotonic()
        for weight in range(5):
            node = await registry.put(replace(node, weight=weight))
        assert time.monotonic() - begun < 2.0
    assert (await registry.read()).nodes == (node,)


# Damage


def _other_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE nodes (id, version, record)")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")


def _without(table: str) -> Callable[[Path], None]:
    def drop(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"DROP TABLE {table}")

    return drop


def _without_index(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM state")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "other bytes": (lambda path: path.write_bytes(b"no database\n" * 1000), "is damaged"),
    "a few other bytes": (lambda path: path.write_bytes(b"oops"), "is damaged"),
    "emptied": (lambda path: os.truncate(path, 0), "is damaged (it is an empty file)"),
    "half of it gone": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    "only its header": (lambda path: os.truncate(path, 100), "is damaged"),
    "removed": (Path.unlink, "is gone"),
    "a directory": (_directory, "cannot be opened"),
    "a database of something else": (_other_database, "is damaged (it is a database of something else)"),
    "of a newer nodegate": (_newer, "was written by a newer nodegate (schema 2, this one knows 1)"),
    "without nodes": (_without("nodes"), "no such table: nodes"),
    "without state": (_without("state"), "no such table: state"),
    "without an index": (_without_index, "the table `state` is empty"),
}


def contents(path: Path) -> object:
    """The bytes of a file, the schema and the rows of a database; None if there is no file."""
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("PRAGMA user_version").fetchone(), list(db.iterdump())
    except sqlite3.Error:
        return path.read_bytes()


def restore(path: Path, backup: Path) -> None:
    if path.is_dir():
        path.rmdir()
    shutil.copyfile(backup, path)


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_damaged_file_is_told_in_words_left_alone_and_used_again_once_healed(
    registry: SqliteRegistry, path: Path, damage: Callable[[Path], object], words: str
) -> None:
    node = await registry.put(a_node(options={"padding": "x" * 20_000}))
    before = await registry.read()
    backup = path.with_name("backup")
    shutil.copyfile(path, backup)
    damage(path)
    left = contents(path)
    calls: list[Callable[[], Awaitable[object]]] = [
        registry.read,
        lambda: asyncio.wait_for(registry.changed(before.index), 10),
        lambda: registry.put(replace(node, weight=1)),
        lambda: registry.delete("n1", node.version),
        registry.read,
    ]
    for call in calls:
        with pytest.raises(Unavailable) as raised:
            await call()
        assert words in str(raised.value)
        assert str(path) in str(raised.value)
    assert contents(path) == left
    restore(path, backup)
    assert (await registry.read()) == before
    assert (await registry.put(replace(node, weight=1))).version > node.version


@pytest.mark.parametrize("name", [name for name in DAMAGE if name != "removed"])
async def test_a_file_that_was_damaged_before_the_start_is_not_taken_for_an_empty_registry(
    opener: Opener, path: Path, name: str
) -> None:
    damage, words = DAMAGE[name]
    first = opener()
    await first.put(a_node(options={"padding": "x" * 20_000}))
    await first.close()
    damage(path)
    left = contents(path)
    with pytest.raises(Unavailable) as raised:
        await opener().read()
    assert words in str(raised.value)
    assert contents(path) == left


async def test_a_backup_that_is_put_in_the_files_place_is_in_force_at_once(
    registry: SqliteRegistry, path: Path
) -> None:
    kept = await registry.put(a_node("kept"))
    shutil.copyfile(path, path.with_name("backup"))
    old = await registry.read()
    await registry.put(a_node("late"))
    waiting = asyncio.create_task(registry.changed((await registry.read()).index))
    path.with_name("backup").replace(path)
    assert await asyncio.wait_for(waiting, 10) == old.index
    assert (await registry.read()).nodes == (kept,)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a registry with 30 nodes."""
    path = tmp_path_factory.mktemp("whole") / "registry.db"

    async def fill() -> None:
        registry = SqliteRegistry(path, FixedClock())
        for number in range(30):
            await registry.put(a_node(f"n{number:02}", options={"padding": "x" * (40 * number)}))
        await registry.close()

    asyncio.run(fill())
    return path.read_bytes()


async def test_a_schema_that_is_no_text_any_more_is_damage(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(whole.replace(b"NOT NULL", b"NOT \xc0ULL"))
    registry = SqliteRegistry(tmp_path / "registry.db", FixedClock())
    with pytest.raises(Unavailable, match=r"is damaged \(its schema is not text\)"):
        await registry.read()
    await registry.close()


@given(data=st.data())
@settings(deadline=None, max_examples=80)
def test_no_damage_makes_nodes_vanish_in_silence(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged[at] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))

    async def found() -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "registry.db"
            path.write_bytes(damaged[:end])
            registry = SqliteRegistry(path, FixedClock())
            try:
                inventory = await registry.read()
            except Unavailable as error:
                return 30 if "\n" not in str(error) else -1
            finally:
                await registry.close()
            return len(inventory.nodes) + len(inventory.faults)

    assert asyncio.run(found()) == 30


async def test_a_record_that_cannot_be_understood_does_not_hide_the_others(
    registry: SqliteRegistry, path: Path
) -> None:
    good = await registry.put(a_node("good"))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO nodes VALUES ('odd', 2, '{\"format\": 9}')")
        db.execute("INSERT INTO nodes VALUES ('broken', 3, 'not json')")
        db.execute("INSERT INTO nodes VALUES ('bytes', 4, CAST(x'ff00' AS TEXT))")
        db.execute("INSERT INTO nodes VALUES (CAST(x'ff' AS TEXT), 5, '{}')")
        db.execute("UPDATE state SET latest = 5")
    for _ in range(2):
        inventory = await registry.read()
        assert inventory.nodes == (good,)
        assert [fault.partition(":")[0] for fault in inventory.faults] == [
            "record of node 'broken' (version 3)",
            "record of node 'bytes' (version 4)",
            "record of node 'odd' (version 2)",
            "record of node '\\\\xff' (version 5)",
        ]
    mended = await registry.put(a_node("odd", version=2))
    assert mended in (await registry.read()).nodes


async def test_a_record_that_another_program_changed_is_read_anew(
    registry: SqliteRegistry, path: Path
) -> None:
    put = await registry.put(a_node(weight=11))
    assert (await registry.read()).nodes == (put,)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE nodes SET record = replace(record, '\"weight\":11', '\"weight\":12')")
    assert (await registry.read()).nodes == (replace(put, weight=12),)


# The system under it


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_a_stranger_to_the_file_is_told_to_check_owner_and_mode(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "registry.db"
        registry = SqliteRegistry(path, FixedClock())
        await registry.put(a_node())
        await registry.close()
        for mode in (0o600, 0o444):
            path.chmod(mode)
            read, put = Process(path, "try").lines()
            for said in (read, put):
                assert said.startswith(f"Unavailable: registry {path} cannot be ")
                assert "check owner and mode of the file and its directory" in said
        (read, put) = Process(Path(folder) / "new" / "registry.db", "try").lines()
        assert (
            read
            == put
            == f"Unavailable: registry {folder}/new/registry.db: Permission denied; check its directory"
        )


async def test_when_the_disk_takes_no_more_nothing_that_was_confirmed_is_lost(
    path: Path, process: Callable[..., Process]
) -> None:
    said, confirmed, readable, after = process("limited", "100000").lines()
    assert said.startswith(f"Unavailable: registry {path} cannot be ")
    assert "free space" in said
    assert int(confirmed) > 50
    assert (int(readable), int(after)) == (int(confirmed), int(confirmed) + 1)


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    registry = SqliteRegistry(tmp_path / "file" / "registry.db", FixedClock())
    with pytest.raises(Unavailable, match="Not a directory; check its directory"):
        await registry.read()
    await registry.close()


# Life


async def test_a_closed_registry_says_so_and_wakes_who_waits(registry: SqliteRegistry) -> None:
    index = (await registry.read()).index
    waiting = asyncio.create_task(registry.changed(index))
    await asyncio.sleep(0)
    await registry.close()
    await registry.close()
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(Unavailable, match="closed"):
        await registry.read()
    assert "closed" in repr(registry)


async def test_a_registry_that_was_never_used_can_be_closed(path: Path) -> None:
    await SqliteRegistry(path, FixedClock()).close()
    assert contents(path) is None


async def test_a_cancelled_put_is_done_whole_or_not_at_all(registry: SqliteRegistry) -> None:
    for number in range(10):
        task = asyncio.create_task(registry.put(a_node(f"n{number}")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    inventory = await registry.read()
    assert inventory.index == len(inventory.nodes)
    assert inventory.faults == ()
    try:
        await registry.put(a_node("n0"))
    except Conflict:
        assert "n0" in {node.id for node in inventory.nodes}


@pytest.mark.parametrize("ends", ["put", "delete", "close"])
async def test_who_waits_need_not_wait_for_the_next_look(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(sqlite, "POLL", 3600.0)
    node = await registry.put(a_node())
    waiting = asyncio.create_task(registry.changed(node.version))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.2)  # it looks once, and then waits
    calls = {
        "put": lambda: registry.put(node),
        "delete": lambda: registry.delete("n1", node.version),
        "close": registry.close,
    }
    await calls[ends]()
    if ends == "close":
        with pytest.raises(Unavailable, match="closed"):
            await asyncio.wait_for(waiting, 20)
    else:
        assert await asyncio.wait_for(waiting, 20) > node.version


async def test_many_writes_wake_a_waiter_each_time(registry: SqliteRegistry) -> None:
    seen = [(await registry.read()).index]

    async def watch() -> None:
        while seen[-1] < 20:
            seen.append(await registry.changed(seen[-1]))

    watching = asyncio.create_task(watch())
    for number in range(20):
        await registry.put(a_node(f"n{number}"))
        await until(lambda number=number: seen[-1] == number + 1, within=5)  # type: ignore[misc]
    await asyncio.wait_for(watching, 10)
    assert seen == list(range(21))
