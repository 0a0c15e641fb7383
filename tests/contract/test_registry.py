"""The registry contract, on every registry there is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.memory_registry import Memory, MemoryRegistry
from contract.registry_contract import FixedClock, RegistryContract, Store, a_node
from nodegate.model import Source
from nodegate.ports import Registry
from nodegate.registry.declared import DeclaredRegistry
from nodegate.registry.sqlite import SqliteRegistry


class MemoryStore:
    def __init__(self) -> None:
        self.memory = Memory()

    def open(self) -> Registry:
        return MemoryRegistry(FixedClock(), self.memory)

    def break_(self) -> None:
        self.memory.broken = "the memory is out of reach for this test"

    def heal(self) -> None:
        self.memory.broken = None


class SqliteStore:
    """Broken as a careless copy would: the file's bytes are others."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "registry.db"
        self.backup = folder / "backup"
        self.opened: list[SqliteRegistry] = []

    def open(self) -> Registry:
        self.opened.append(SqliteRegistry(self.path, FixedClock()))
        return self.opened[-1]

    def break_(self) -> None:
        shutil.copyfile(self.path, self.backup)
        self.path.write_bytes(b"this was a registry once\n" * 100)

    def heal(self) -> None:
        shutil.copyfile(self.backup, self.path)

    async def close(self) -> None:
        for registry in self.opened:
            await registry.close()


class DeclaredStore(SqliteStore):
    def open(self) -> Registry:
        declared = [a_node("declared-1", source=Source.FILE), a_node("declared-2", source=Source.FILE)]
        return DeclaredRegistry(super().open(), declared)


class TestMemory(RegistryContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqlite(RegistryContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SqliteStore(tmp_path)
        yield store
        await store.close()


class TestDeclaredOverSqlite(RegistryContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = DeclaredStore(tmp_path)
        yield store
        await store.close()
