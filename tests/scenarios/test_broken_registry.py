"""The registry's file is locked, damaged or gone: the last inventory stays in force, and it is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway import Gateway, flowing, ids, quick_lab, unharmed

pytestmark = pytest.mark.scenario


def overwrite(file: Path) -> None:
    """A disk that writes nonsense: all but the first page is gone."""
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.seek(100)
        handle.write(b"\xa5" * (size - 100))


def cut(file: Path) -> None:
    file.write_bytes(b"")


def replace_by_text(file: Path) -> None:
    file.write_text("this is not a database\n" * 1000)


async def test_while_another_program_writes_orders_are_refused_in_words_and_nothing_else_suffers() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                with closing(sqlite3.connect(gateway.state / "registry.db", isolation_level=None)) as other:
                    other.execute("BEGIN EXCLUSIVE")
                    refused = await gateway.cli("nodes", "drain", "iri-1")
                    assert refused.code == 4
                    assert "locked by another program" in refused.err
                    assert (await gateway.status())["state"] == "ok"
                    assert (await gateway.nodes())["iri-1"]["serving"]
                    other.execute("ROLLBACK")
                await gateway.intend("iri-1", "drain")
                await gateway.until_node("iri-1", lambda row: row["serving"] is False, "is drained")
            unharmed(stream.report())


@pytest.mark.parametrize(
    ("damage", "words"),
    [(overwrite, "damaged"), (cut, "damaged"), (replace_by_text, "damaged"), (Path.unlink, "is gone")],
)
async def test_a_registry_damaged_at_run_time_is_told_and_harms_nobody_until_it_is_healed(
    damage: Callable[[Path], object], words: str
) -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes[:2]) as gateway:
            extra = lab.nodes[2]
            await gateway.api("POST", "/api/v1/nodes", {"id": extra.id, "url": extra.url, "kind": "iri"})
            await gateway.until_serving(*ids(lab.nodes))
            file = gateway.state / "registry.db"
            backup = file.read_bytes()
            async with gateway.load() as stream:
                damage(file)
                damaged = file.read_bytes() if file.exists() else None
                impaired = await gateway.until_status(
                    lambda status: not status["registry"]["ok"], "the damage is seen"
                )
                assert words in impaired["registry"]["text"]
                assert str(file) in impaired["registry"]["text"]
                assert any(words in fault for fault in impaired["faults"])
                refused = await gateway.api(
                    "PATCH", f"/api/v1/nodes/{extra.id}", {"intent": "drain"}, expect=503
                )
                assert words in refused["error"]["message"]
                passes = (await gateway.status())["passes"]
                await gateway.until_status(lambda status: status["passes"] > passes, "passes go on")
                await gateway.until_serving(*ids(lab.nodes))
                await flowing(stream)
                assert (file.read_bytes() if file.exists() else None) == damaged  # left as it is

                file.write_bytes(backup)
                await gateway.until_status(lambda status: status["state"] == "ok", "it is healed")
                await gateway.intend(extra.id, "drain")
                await gateway.until_node(extra.id, lambda row: row["serving"] is False, "is drained")
            unharmed(stream.report())


@pytest.mark.parametrize("damage", [overwrite, cut, replace_by_text])
async def test_nodegate_does_not_start_on_a_damaged_registry_and_leaves_all_as_it_is(
    damage: Callable[[Path], object],
) -> None:
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(lab.nodes) as gateway:
            assert await gateway.interrupt() == 0
            file = gateway.state / "registry.db"
            damage(file)
            damaged = file.read_bytes()
            said = len(gateway.log)
            await gateway.start(ready=False)
            assert await gateway.ended() == 4
            (message,) = gateway.log[said:].splitlines()
            assert "damaged" in message
            assert str(file) in message
            assert gateway.haproxies() == []
            assert not (gateway.state / "admin").exists()
            assert file.read_bytes() == damaged


async def test_haproxy_serves_on_when_nodegate_cannot_come_back_because_of_its_registry() -> None:
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            async with gateway.load() as stream:
                await gateway.kill()
                file = gateway.state / "registry.db"
                backup = file.read_bytes()
                overwrite(file)
                await gateway.start(ready=False)
                assert await gateway.ended() == 4
                await flowing(stream)
                file.write_bytes(backup)
                await gateway.start()
                await gateway.until_serving(*ids(lab.nodes))
            unharmed(stream.report())
            assert gateway.haproxy_pids == before


async def test_one_record_that_cannot_be_understood_is_a_fault_and_the_others_serve() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes[:1]) as gateway:
            for node in lab.nodes[1:]:
                await gateway.api("POST", "/api/v1/nodes", {"id": node.id, "url": node.url, "kind": "iri"})
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                with closing(sqlite3.connect(gateway.state / "registry.db")) as other, other:
                    other.execute("UPDATE nodes SET record = '{\"url\": 7' WHERE id = 'iri-2'")
                    other.execute("UPDATE state SET latest = latest + 1")
                status = await gateway.until_status(lambda status: status["faults"], "the fault is seen")
                assert "iri-2" in status["faults"][0]
                await gateway.until_serving("iri-1", "iri-3")
                await flowing(stream)
            unharmed(stream.report())
