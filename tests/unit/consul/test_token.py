"""A token that may not read sees an empty world; it is not believed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from consul import ConsulAgent, consul_binary
from nodegate.consul.client import ConsulClient
from nodegate.consul.token import prove_token, refuse_blindness
from nodegate.consul.watch import CatalogWatch
from nodegate.daemon.clock import SteadyClock
from nodegate.errors import Refused


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent(acl=str(uuid.uuid4())) as agent:
        yield agent


@pytest.mark.parametrize(
    ("checks", "services"),
    [([], {"consul": []}), ({}, {"consul": []}), ([1], {}), ([1], {"a": []}), ([1], None)],
)
def test_a_catalogue_that_no_cluster_has_is_refused(checks: Any, services: Any) -> None:
    with pytest.raises(Refused, match="node_prefix"):
        refuse_blindness(checks, services)


def test_a_catalogue_with_consul_itself_is_believed() -> None:
    refuse_blindness([1], {"consul": []})


@pytest.mark.parametrize("token", [None, "3f1b6c1e-9f6e-4d53-8d0c-1f8f4b1f0a77"], ids=["none", "unknown"])
async def test_neither_no_token_nor_an_unknown_one_reads_as_an_empty_catalogue(
    agent: ConsulAgent, token: str | None
) -> None:
    async with ConsulClient((agent.url,), token) as client:
        with pytest.raises(Refused):
            await CatalogWatch(client, SteadyClock()).read()


async def test_a_token_is_proven_and_an_unknown_one_is_not(agent: ConsulAgent) -> None:
    async with ConsulClient((agent.url,), agent.acl) as client:
        await prove_token(client)
    async with ConsulClient((agent.url,), str(uuid.uuid4())) as client:
        with pytest.raises(Refused, match="does not accept the token"):
            await prove_token(client)


async def test_without_access_control_there_is_nothing_to_prove() -> None:
    with ConsulAgent() as agent:
        async with ConsulClient((agent.url,)) as client:
            await prove_token(client)
