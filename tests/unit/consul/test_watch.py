"""The catalogue as it changes: on a real agent, and on a server whose index falls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from consul import ConsulAgent, consul_binary
from nodegate.catalog import Catalog, Instance
from nodegate.consul.client import ConsulClient
from nodegate.consul.watch import CatalogWatch
from nodegate.daemon.clock import SteadyClock
from nodegate.errors import Unavailable
from nodegate.model import Seconds
from support import until


@pytest.fixture(scope="module")
def agent() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent() as agent:
        yield agent


@pytest.fixture
async def watch(agent: ConsulAgent) -> AsyncIterator[CatalogWatch]:
    for service_id in agent.get("/v1/agent/services"):
        agent.deregister(service_id)
    async with ConsulClient((agent.url,)) as client:
        watch = CatalogWatch(client, SteadyClock(), hold=Seconds(0.0))
        yield watch
        await watch.close()


def ttl(name: str, status: str = "passing") -> dict[str, str]:
    return {"CheckID": name, "TTL": "600s", "Status": status}


async def seen(watch: CatalogWatch, condition: Callable[[Catalog], object]) -> Catalog:
    """The catalogue, once `condition` holds of it; `changed` brings every step."""
    async with asyncio.timeout(20):
        catalog = watch.catalog or await watch.read()
        while not condition(catalog):
            catalog = await watch.changed()
        return catalog


def by_id(catalog: Catalog) -> dict[str, Instance]:
    return {one.id: one for one in catalog.instances}


async def test_what_is_registered_is_read_with_all_that_counts(
    agent: ConsulAgent, watch: CatalogWatch
) -> None:
    agent.register(
        "iri", "i1", Address="10.1.2.3", Port=14265, Tags=["urlprefix-/"], Meta={"k": "v"},
        Weights={"Passing": 9, "Warning": 2}, Check=ttl("c1", "warning"),
    )  # fmt: skip
    one = by_id(await watch.read())["i1"]
    assert (one.service, one.address, one.port, one.tags, one.meta) == ("iri", "10.1.2.3", 14265, ("urlprefix-/",), {"k": "v"})  # fmt: skip
    assert (one.weights_passing, one.weights_warning, one.node, one.datacenter) == (9, 2, agent.node, "dc1")
    assert [(check.id, check.status) for check in one.checks] == [("c1", "warning")]
    assert [check.id for check in one.node_checks] == ["serfHealth"]


async def test_every_kind_of_change_is_seen(agent: ConsulAgent, watch: CatalogWatch) -> None:
    agent.register("a", "a1", Port=1, Check=ttl("ca"))
    agent.register("b", "b1", Port=1)
    await seen(watch, lambda catalog: len(catalog.instances) == 2)
    agent.say("ca", "critical", "lost")
    changed = by_id(await seen(watch, lambda catalog: by_id(catalog)["a1"].checks[0].status == "critical"))
    assert changed["a1"].checks[0].output == "lost"
    agent.register("b", "b1", Port=1, Meta={"new": "meta"})
    await seen(watch, lambda catalog: by_id(catalog)["b1"].meta)
    agent.register("b", "b1", Port=2)
    await seen(watch, lambda catalog: by_id(catalog)["b1"].port == 2)
    agent.register("b", "b1", Port=2, Tags=["t"])
    await seen(watch, lambda catalog: by_id(catalog)["b1"].tags == ("t",))
    agent.register("b", "b2", Port=3)
    await seen(watch, lambda catalog: "b2" in by_id(catalog))
    agent.put("/v1/agent/service/maintenance/b2?enable=true&reason=x")
    await seen(watch, lambda catalog: by_id(catalog)["b2"].checks)
    agent.deregister("a1")
    assert by_id(await seen(watch, lambda catalog: "a1" not in by_id(catalog))).keys() == {"b1", "b2"}
    agent.deregister("b2")
    await seen(watch, lambda catalog: by_id(catalog).keys() == {"b1"})


async def test_a_change_of_one_check_leaves_all_other_instances_the_same_objects(
    agent: ConsulAgent, watch: CatalogWatch
) -> None:
    for number in range(5):
        agent.register(f"s{number}", Port=1, Check=ttl(f"c{number}"))
    before = by_id(await seen(watch, lambda catalog: len(catalog.instances) == 5))
    agent.say("c3", "warning")
    after = by_id(await seen(watch, lambda catalog: by_id(catalog)["s3"].checks[0].status == "warning"))
    assert [name for name in before if after[name] is not before[name]] == ["s3"]


async def test_hundreds_of_services_at_once_are_all_seen(agent: ConsulAgent, watch: CatalogWatch) -> None:
    await watch.read()
    seeing = asyncio.create_task(seen(watch, lambda catalog: len(catalog.instances) == 200))
    await asyncio.to_thread(
        lambda: [
            agent.register(f"many{number}", Port=number, Check=ttl(f"m{number}")) for number in range(200)
        ]
    )
    assert {one.port for one in (await seeing).instances} == set(range(200))


async def test_waiting_can_be_cancelled_and_goes_on(agent: ConsulAgent, watch: CatalogWatch) -> None:
    await watch.read()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.changed(), 0.1)
    agent.register("late", Port=1)
    await seen(watch, lambda catalog: "late" in by_id(catalog))


async def test_only_wanted_services_are_fetched(agent: ConsulAgent, watch: CatalogWatch) -> None:
    agent.register("mine", Port=1)
    agent.register("theirs", Port=1, Check=ttl("t"))
    async with ConsulClient((agent.url,)) as client:
        only = CatalogWatch(client, SteadyClock(), lambda name: name == "mine")
        assert by_id(await only.read()).keys() == {"mine"}
        await only.close()


class FakeConsul:
    """One service with one check, whose index a test may set back; blocks as Consul does."""

    def __init__(self) -> None:
        self.index = 100
        self.status = "passing"
        self.port = 1
        self.news = asyncio.Condition()
        self.asked: list[str] = []
        self.broken = False

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        after = int(parse_qs(urlsplit(str(request.rel_url)).query).get("index", ["0"])[0])
        async with self.news:
            # As Consul: an index beyond its own waits too, until the next change.
            await self.news.wait_for(lambda: self.broken or self.index > after or after == 0 or self.reset)
        if self.broken:
            return web.Response(status=500, text="No cluster leader")
        return web.Response(
            text=json.dumps(self.body(request.path)),
            headers={
                "X-Consul-Index": str(self.index),
                "X-Consul-KnownLeader": "true",
                "X-Consul-LastContact": "0",
            },
        )

    reset = False

    async def change(self, **values: Any) -> None:
        async with self.news:
            for name, value in values.items():
                setattr(self, name, value)
            self.news.notify_all()

    def body(self, path: str) -> Any:
        if path.startswith("/v1/health"):
            common = {"Node": "n", "Output": "", "ModifyIndex": 5, "CreateIndex": 5}
            return [
                {
                    **common,
                    "CheckID": "c",
                    "Name": "c",
                    "Status": self.status,
                    "ServiceID": "a",
                    "ServiceName": "a",
                },
                {
                    **common,
                    "CheckID": "serfHealth",
                    "Name": "s",
                    "Status": "passing",
                    "ServiceID": "",
                    "ServiceName": "",
                },
            ]
        if path == "/v1/catalog/services":
            return {"consul": [], "a": []}
        if path == "/v1/catalog/nodes":
            return [{"Node": "n"}]
        service = {
            "ServiceID": "a",
            "ServiceName": "a",
            "ServiceTags": [],
            "ServiceAddress": "",
            "ServicePort": self.port,
        }
        return [{"Node": "n", "Address": "10.0.0.1", "ServiceMeta": {}, "ModifyIndex": 5, **service}]


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeConsul, CatalogWatch]]:
    consul = FakeConsul()
    app = web.Application()
    app.router.add_get("/{path:.*}", consul.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with ConsulClient((f"http://{host}:{port}",)) as client:
        watch = CatalogWatch(client, SteadyClock())
        yield consul, watch
        await watch.close()
    await runner.cleanup()


async def test_an_index_that_falls_is_taken_for_another_history(
    fake: tuple[FakeConsul, CatalogWatch],
) -> None:
    consul, watch = fake
    await watch.read()
    waiting = asyncio.create_task(watch.changed())
    await until(lambda: len(consul.asked) >= 5, what="it waits")
    await consul.change(index=3, status="critical", port=2, reset=True)
    found = by_id(await asyncio.wait_for(waiting, 20))["a"]
    while found.port != 2:
        found = by_id(await asyncio.wait_for(watch.changed(), 20))["a"]
    assert (found.checks[0].status, found.port) == ("critical", 2)
    await consul.change(index=4, status="warning", reset=False)
    assert by_id(await asyncio.wait_for(watch.changed(), 20))["a"].checks[0].status == "warning"


async def test_a_leader_that_is_lost_raises_and_leaves_what_was_known(
    fake: tuple[FakeConsul, CatalogWatch],
) -> None:
    consul, watch = fake
    before = await watch.read()
    await consul.change(broken=True)
    for call in (watch.read, watch.changed):
        with pytest.raises(Unavailable, match="No cluster leader"):
            await call()
    assert watch.catalog == before
    await consul.change(broken=False, index=101, port=9)
    assert by_id(await watch.read())["a"].port == 9


async def test_an_index_that_moves_without_a_change_does_not_spin(
    fake: tuple[FakeConsul, CatalogWatch],
) -> None:
    consul, watch = fake
    await watch.read()
    waiting = asyncio.create_task(watch.changed())

    async def moving() -> bool:
        await consul.change(index=consul.index + 1)
        return consul.index > 100 + moves

    moves = 1500
    await until(moving, every=0.001, what=f"the index has moved {moves} times")
    assert len(consul.asked) < moves
    assert not waiting.done()
    waiting.cancel()
