"""Keys with compare-and-set, on a real agent."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from consul import ConsulAgent, consul_binary
from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import KeyValues
from nodegate.errors import Conflict, Malformed, NotFound, Refused


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent(acl=str(uuid.uuid4())) as agent:
        yield agent


@pytest.fixture
async def keys(agent: ConsulAgent) -> AsyncIterator[KeyValues]:
    async with ConsulClient((agent.url,), agent.acl) as client:
        yield KeyValues(client)


@pytest.fixture
def prefix() -> str:
    return f"test/{uuid.uuid4().hex}/"


async def test_a_key_is_created_once_changed_by_version_and_deleted_by_version(
    keys: KeyValues, prefix: str
) -> None:
    key = f"{prefix}a b/ü"
    first = await keys.put(key, b"\x00\xff", version=0, flags=5)
    found = await keys.get(key)
    assert found is not None
    assert (found.value, found.version, found.flags, found.key) == (b"\x00\xff", first, 5, key)
    second = await keys.put(key, b"2", version=first)
    for lost in (0, first, second + 1, -1):
        with pytest.raises(Conflict):
            await keys.put(key, b"3", version=lost)
    with pytest.raises(Conflict):
        await keys.delete(key, version=first)
    await keys.delete(key, version=second)
    assert await keys.get(key) is None
    with pytest.raises(NotFound):
        await keys.delete(key, version=second)


async def test_of_concurrent_writers_exactly_one_wins(keys: KeyValues, prefix: str) -> None:
    results = await asyncio.gather(
        *(keys.put(f"{prefix}k", b"%d" % number, version=0) for number in range(6)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 5 + ["int"]


async def test_what_is_below_a_prefix_can_be_waited_for_also_before_there_is_anything(
    keys: KeyValues, prefix: str
) -> None:
    empty = await keys.below(prefix)
    assert (dict(empty.entries), empty.index >= 1, empty.fresh) == ({}, True, True)
    waiting = asyncio.create_task(keys.below(prefix, index=empty.index))
    await keys.put(f"{prefix}a", b"1")
    found = await waiting
    while not found.entries:  # a prefix without keys has the index of all keys
        found = await keys.below(prefix, index=found.index)
    assert [entry.value for entry in found.entries.values()] == [b"1"]


async def test_a_token_without_the_right_is_refused_a_write_and_shown_nothing(
    agent: ConsulAgent, prefix: str
) -> None:
    token = agent.new_token(f"blind-{uuid.uuid4().hex}", 'node_prefix "" { policy = "read" }')
    async with ConsulClient((agent.url,), token) as client:
        keys = KeyValues(client)
        with pytest.raises(Refused, match="key_prefix"):
            await keys.put(f"{prefix}a", b"1", version=0)
        assert (await keys.below(prefix)).entries == {}


async def test_a_key_that_is_not_as_consul_writes_it_is_malformed() -> None:
    from nodegate.consul.client import Reply
    from nodegate.consul.kv import _entries

    for value in ([{"Key": "a"}], [{"Key": "a", "Value": "%%", "ModifyIndex": 1}], [1], {"a": 1}):
        with pytest.raises(Malformed):
            _entries(Reply(value=value, index=1))
