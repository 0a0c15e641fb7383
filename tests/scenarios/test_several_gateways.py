"""Several gateways on one real Consul: what is done on one holds on all, and nobody needs Consul to go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consul import ConsulAgent
from dnsquery import addresses, services
from gateway import UNPROBED, Gateway, Said, ids, quick_lab
from haproxy_peers import until_learned
from nodegate.errors import Unavailable
from nodegate.lab.lab import Lab
from support import free_port, until

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(240)]

PATIENCE = 60.0
"""Seconds within which all gateways must have heard of something, also on a busy machine."""

SETTINGS = """
[registry]
url = "{consul}"

[cluster]
name = "{name}"
service = "{service}"
peers = "127.0.0.1:{peers}"
{more}
[probe]
interval = {interval}
timeout = 0.5

[pools.main]
kind = "iri"
server_timeout = 1.0
"""


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulAgent]:
    with ConsulAgent() as agent:
        yield agent


@asynccontextmanager
async def a_lab(count: int) -> AsyncIterator[Lab]:
    async with quick_lab() as lab:
        await lab.start(count)
        yield lab


@asynccontextmanager
async def gateways(
    consul: ConsulAgent, names: str = "ab", *, lab: Lab | None = None, interval: float = 0.25, exchange: bool = False,
    strict: bool = False,
) -> AsyncIterator[list[Gateway]]:  # fmt: skip
    """Gateways of one cluster, each of which knows all others. The service has a name of its own, and what a
    former test left in Consul is gone."""
    consul.call("DELETE", "/v1/kv/nodegate/?recurse")
    service = f"gw{free_port()}"
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            more = f'exchange = "127.0.0.1:{free_port()}"\n' if exchange else ""
            toml = SETTINGS.format(
                consul=consul.url, name=name, service=service, peers=free_port(), more=more, interval=interval
            )
            gateway = Gateway(lab.nodes if lab else (), toml=toml, strict=strict, start=False)
            await stack.enter_async_context(gateway)
            found.append(gateway)
        await asyncio.gather(*map(start, found))
        for gateway in found:
            await until_gateways(gateway, set(names))
            await until_joined(gateway, len(names))
        yield found


async def start(gateway: Gateway) -> None:
    """`nodegate up`, with the patience that several of them need on two cores."""
    await gateway.start(ready=False)

    async def ready() -> bool:
        assert gateway.alive, gateway.log
        return await gateway.readyz() == 200

    await until(ready, within=2 * PATIENCE, what="the gateway is ready")


async def again(gateway: Gateway) -> None:
    """SIGTERM and a new start."""
    await gateway.terminate()
    await start(gateway)


async def cluster_of(gateway: Gateway) -> dict[str, Any]:
    document: dict[str, Any] = await gateway.api("GET", "/api/v1/gateways")
    return document


async def until_gateways(gateway: Gateway, alive: set[str], within: float = PATIENCE) -> dict[str, Any]:
    """The gateways by name, once exactly these live."""
    rows: dict[str, Any] = {}

    async def holds() -> bool:
        rows.clear()
        rows.update({row["name"]: row for row in (await cluster_of(gateway))["gateways"]})
        return {name for name, row in rows.items() if row["alive"]} == alive

    await until(holds, within=within, every=0.1, what=f"{alive} live; gateways are {rows}")
    return rows


async def until_joined(gateway: Gateway, count: int) -> None:
    """HAProxy runs with all its peers."""

    async def holds() -> bool:
        text = (gateway.state / "haproxy" / "haproxy.cfg").read_text()
        section = text.partition("peers gateways")[2].partition("\n\n")[0]
        status = await gateway.status()
        return section.count("    server ") == count and status["changes"] == 0 and status["haproxy"]["ok"]

    await until(holds, within=PATIENCE, every=0.1, what="HAProxy has its peers")


async def ask(gateway: Gateway, command: str = UNPROBED) -> int:
    """The status of one request through a gateway."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            gateway.url,
            data=json.dumps({"command": command}),
            headers={"Content-Type": "application/json", "X-IOTA-API-Version": "1"},
        ) as response,
    ):
        await response.read()
        return response.status


async def test_consul_dns_names_the_living_gateways_only(consul: ConsulAgent) -> None:
    async with gateways(consul) as (one, two):
        name = (await cluster_of(one))["gateways"][0]["name"]
        assert name == "a"
        server = (consul.address, consul.ports.dns)
        ports = sorted(int(gateway.listen.rpartition(":")[2]) for gateway in (one, two))
        service = consul_service(consul, ports[0])
        assert services(f"{service}.service.consul", server) == ports
        assert addresses(f"{service}.service.consul", server) == ["127.0.0.1"]
        await two.kill()
        await until_gateways(one, {"a"})
        await until(
            lambda: services(f"{service}.service.consul", server) == [int(one.listen.rpartition(":")[2])],
            within=PATIENCE,
            what="Consul DNS has dropped the dead gateway",
        )
        said = await one.cli("gateways")
        assert said.code == 2
        assert "dead" in said.out
        await start(two)
        await until_gateways(one, {"a", "b"})
        consul.deregister(f"{service}-b")
        await until_gateways(two, {"a", "b"})


def consul_service(consul: ConsulAgent, port: int) -> str:
    """The service of gateways whose clients come in at `port`; Consul may still know those of former tests."""
    names = [name for name in consul.get("/v1/catalog/services") if name.startswith("gw")]
    (found,) = [
        name
        for name in names
        if any(one["ServicePort"] == port for one in consul.get(f"/v1/catalog/service/{name}"))
    ]
    return str(found)


async def test_a_policy_applied_on_one_gateway_is_in_force_on_all_and_outlives_consul(
    consul: ConsulAgent, tmp_path: Path
) -> None:
    policy = tmp_path / "iri.toml"
    policy.write_text(f'kind = "iri"\n[methods.{UNPROBED}]\ndeny = true\n')
    async with a_lab(1) as lab, gateways(consul, lab=lab) as (one, two):
        for gateway in (one, two):
            await gateway.until_serving(*ids(lab.nodes))
            assert await ask(gateway, UNPROBED) == 200
        assert (await one.cli("policy", "apply", str(policy))).code == 0
        assert await ask(one, UNPROBED) == 403
        await until(lambda: _is(two, UNPROBED, 403), within=PATIENCE, what="the other gateway has the policy")
        rows = await until_gateways(one, {"a", "b"})
        await until(lambda: _agree(one), within=PATIENCE, what="both tell the same version")
        # HAProxy obeys a moment before the gateway is sure of it; one that is stopped in between takes it back.
        await until(lambda: "from gateway a is in force" in two.log, within=PATIENCE, what="it is sure")
        assert rows["a"]["fault"] is None
        consul.kill()
        try:
            await again(two)
            assert await ask(two, UNPROBED) == 403
            refused = await one.cli("policy", "reset", "iri")
            assert refused.code == Unavailable.exit_code
            assert await ask(one, UNPROBED) == 403
        finally:
            consul.start()  # without its data: a dev agent keeps none
        assert await ask(one, UNPROBED) == 403
        assert (await until_done(two, "policy", "reset", "iri")).code == 0
        await until(
            lambda: _is(one, UNPROBED, 200), within=PATIENCE, what="the shipped policy is back on all"
        )


async def until_done(gateway: Gateway, *command: str) -> Said:
    """The command, again until it works: Consul takes a moment to come back to itself."""
    said: list[Said] = []

    async def works() -> bool:
        said.append(await gateway.cli(*command))
        return said[-1].code == 0

    await until(works, within=PATIENCE, every=0.2, what=f"{command} works: {said}")
    return said[-1]


async def _is(gateway: Gateway, command: str, status: int) -> bool:
    return await ask(gateway, command) == status


async def _agree(gateway: Gateway) -> bool:
    rows = (await cluster_of(gateway))["gateways"]
    return len({row["policies"].get("iri") for row in rows}) == 1 and not any(row["differs"] for row in rows)


async def test_a_node_added_on_one_serves_through_all_and_an_intent_set_on_one_is_obeyed_by_all(
    consul: ConsulAgent,
) -> None:
    async with a_lab(2) as lab, gateways(consul) as (one, two):
        for node in lab.nodes:
            said = await one.cli("nodes", "add", node.url, "--kind", node.kind, "--id", node.id)
            assert said.code == 0, said
        for gateway in (one, two):
            await until_in_step(gateway, {node.id: True for node in lab.nodes})
            assert await ask(gateway) == 200
        drained, other = ids(lab.nodes)
        await two.intend(drained, "drain")
        for gateway in (one, two):
            await until_in_step(gateway, {drained: False, other: True})
            assert await ask(gateway) == 200
        await one.intend(drained, "serve")
        for gateway in (one, two):
            await until_in_step(gateway, {drained: True, other: True})


async def until_in_step(gateway: Gateway, serving: dict[str, bool]) -> None:
    """Exactly these nodes serve, or do not, on the gateway."""
    rows: dict[str, Any] = {}

    async def holds() -> bool:
        rows.clear()
        rows.update({name: row["serving"] for name, row in (await gateway.nodes()).items()})
        return rows == serving

    await until(holds, within=PATIENCE, every=0.1, what=f"{serving} on {gateway.admin}; there it is {rows}")


async def test_a_gateway_that_cannot_take_a_policy_over_says_so_everywhere(consul: ConsulAgent) -> None:
    async with gateways(consul) as (one, two):
        consul.put(
            "/v1/kv/nodegate/policies/iri", json.dumps({"toml": 'kind = "iri"\nnonsense = 1\n', "at": 1})
        )
        for gateway in (one, two):
            status = await gateway.until_status(lambda s: s["faults"], "says what is wrong", PATIENCE)
            assert "nonsense" in status["faults"][0]
        rows: dict[str, Any] = {}

        async def told() -> bool:
            rows.update({row["name"]: row for row in (await cluster_of(one))["gateways"]})
            return all("nonsense" in (row["fault"] or "") for row in rows.values())

        await until(told, within=PATIENCE, what=f"each tells the others: {rows}")
        assert (await until_done(two, "policy", "reset", "iri")).code == 0
        await one.until_status(lambda s: not s["faults"], "is well again", PATIENCE)


async def test_a_ban_holds_on_all_gateways_and_comes_back_after_a_restart_of_all_haproxies(
    consul: ConsulAgent,
) -> None:
    async with a_lab(1) as lab, gateways(consul, lab=lab, strict=True) as (one, two):
        for gateway in (one, two):
            await gateway.until_serving(*ids(lab.nodes))
            assert await ask(gateway) == 200
        assert (await one.cli("clients", "ban", "127.0.0.1", "--for", "1h")).code == 0
        for gateway in (one, two):
            await until(lambda g=gateway: _is(g, UNPROBED, 429), within=PATIENCE, what="the ban holds")
        for gateway in (one, two):
            await gateway.down()
        for gateway in (one, two):
            await start(gateway)
        for gateway in (one, two):
            await gateway.until_serving(*ids(lab.nodes))
            await until(lambda g=gateway: _is(g, UNPROBED, 429), within=PATIENCE, what="the ban is back")
        assert (await two.cli("clients", "unban", "127.0.0.1")).code == 0
        for gateway in (one, two):
            await until(lambda g=gateway: _is(g, UNPROBED, 200), within=PATIENCE, what="the ban is lifted")


BUDGET = """
kind = "iri"
[budget]
per_10s = 4000
per_1m = {units}
ban_after = 0
"""


async def test_a_budget_counts_what_a_client_asks_of_all_gateways_together(
    consul: ConsulAgent, tmp_path: Path
) -> None:
    units = 300
    policy = tmp_path / "iri.toml"
    policy.write_text(BUDGET.format(units=units))
    async with a_lab(1) as lab, gateways(consul, lab=lab, strict=True) as (one, two):
        for gateway in (one, two):
            await gateway.until_serving(*ids(lab.nodes))
            await until_learned(gateway.state / "haproxy" / "haproxy.sock")
        assert (await one.cli("policy", "apply", str(policy))).code == 0
        await until(lambda: _agree(two), within=PATIENCE, what="both have the budget")
        answers = [await ask(gateway) for _ in range(units) for gateway in (one, two)]
        admitted = answers.count(200)
        cost = (await one.api("GET", "/api/v1/clients"))["clients"][0]["cost_1m"]
        assert set(answers) <= {200, 429}
        # One of the other gateway's requests may be under way each time.
        per_call = max(1, round(cost / admitted))
        assert units / per_call * 0.9 <= admitted <= units / per_call * 1.1, (admitted, cost)
        rows = {}
        for gateway in (one, two):
            rows[gateway] = (await gateway.api("GET", "/api/v1/clients"))["clients"]
            assert [row["client"] for row in rows[gateway]] == ["127.0.0.1"]


async def test_gateways_go_on_with_whom_they_knew_when_consul_is_gone(consul: ConsulAgent) -> None:
    async with a_lab(1) as lab, gateways(consul, lab=lab) as (one, two):
        await one.until_serving(*ids(lab.nodes))
        config = one.state / "haproxy" / "haproxy.cfg"
        consul.kill()
        try:
            status = await one.until_status(
                lambda s: any("list of gateways" in text for text in s["faults"]),
                "says that Consul is away",
                PATIENCE,
            )
            assert status["cluster"]["gateways"] == 2
            await again(one)
            await one.until_serving(*ids(lab.nodes))
            assert {row["name"] for row in (await cluster_of(one))["gateways"]} == {"a", "b"}
            assert "    server b 127.0.0.1:" in config.read_text()
            assert await ask(one) == 200
            assert await ask(two) == 200
        finally:
            consul.start()
        await until_gateways(one, {"a", "b"})
        await until_gateways(two, {"a", "b"})


async def test_gateways_share_the_probing_and_notice_a_dead_node_no_later(consul: ConsulAgent) -> None:
    async with (
        a_lab(4) as lab,
        gateways(consul, "abc", lab=lab, interval=0.5, exchange=True) as three,
    ):
        names = ids(lab.nodes)
        for gateway in three:
            await gateway.until_serving(*names)
            await until(lambda g=gateway: _hears(g), within=PATIENCE, what="it hears the others")
        await until(
            lambda: _left_out(three), within=PATIENCE, every=0.2, what="probes are left to other gateways"
        )
        await lab.fault(names[0], "refuse")
        for gateway in three:
            await gateway.until_out(names[0], within=PATIENCE)
        await three[2].kill()
        await until_gateways(three[0], {"a", "b"})
        await lab.fault(names[1], "hang")
        for gateway in three[:2]:
            await gateway.until_out(names[1], within=PATIENCE)


async def _hears(gateway: Gateway) -> bool:
    rows = (await cluster_of(gateway))["gateways"]
    return all(row["disagrees"] is not None for row in rows if not row["this"])


async def _left_out(all_of_them: Sequence[Gateway]) -> bool:
    """Each gateway has left probes to the others."""
    return all([(await cluster_of(gateway))["probes_left_to_others"] > 20 for gateway in all_of_them])
