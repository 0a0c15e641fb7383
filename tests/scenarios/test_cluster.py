"""Three machines, each with a Consul server, a gateway and a node, and one address for clients in front of them: what
the operator does on one holds on all, and what dies takes hardly a request with it. All tests share one cluster; each
leaves it whole."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from clusterbed import PATIENCE, Cluster, Machine, all_flow, new_cluster, until_intended, watched
from machines import HostGateway, Watching, flows, watching
from support import until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("cluster"),
]

BULK = 1000

REGISTER = """
import concurrent.futures, http.client, json

def call(numbers):
    connection = http.client.HTTPConnection("127.0.0.1", 8500)
    for number in numbers:
        document = {{"Name": "bulk", "ID": f"bulk-{{number}}", "Address": "{address}", "Port": {port},
                     "Meta": {{"nodegate-kind": "iri", "nodegate-pool": "bulk"}}}}
        path = "register" if "{verb}" == "register" else f"deregister/bulk-{{number}}"
        body = json.dumps(document) if "{verb}" == "register" else ""
        connection.request("PUT", f"/v1/agent/service/{{path}}", body, {{"X-Consul-Token": "{token}"}})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(call, [range(first, {count}, 8) for first in range(8)]))
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """The cluster that most scenarios share, whole."""
    async with new_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(running: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, whole before and after."""
    await running.whole()
    yield running
    await running.mend()


async def test_a_node_registered_on_one_gateway_serves_through_all(cluster: Cluster) -> None:
    first, *others = cluster.gateways
    await first.api(
        "POST", "/api/v1/nodes", {"id": "n4", "url": cluster.machines[0].lab.urls[0], "kind": "iri"}
    )
    for gateway in others:
        await gateway.until_serving("n4", within=PATIENCE)
    await first.api("DELETE", "/api/v1/nodes/n4")
    for gateway in cluster.gateways:

        async def gone(gateway: HostGateway = gateway) -> bool:
            return "n4" not in await gateway.nodes()

        await until(gone, within=PATIENCE, what="n4 is gone everywhere", every=0.1)


async def test_an_intent_set_on_one_gateway_is_obeyed_by_all(cluster: Cluster) -> None:
    first, *others = cluster.gateways
    await first.intend("n2", "drain")
    for gateway in others:
        await gateway.until_node("n2", lambda row: row["serving"] is False, "is drained", PATIENCE)
    await others[0].intend("n2", "serve")
    for gateway in cluster.gateways:
        await gateway.until_serving("n2", within=PATIENCE)


async def test_consul_loses_its_leader_and_no_request_is_lost(cluster: Cluster) -> None:
    leader = await cluster.led()
    async with watched(cluster) as streams:
        leader.kill_consul()
        assert (await cluster.led()) is not leader
        await all_flow(streams)
        other = next(machine for machine in cluster.machines if machine is not leader)
        await until_intended(other.gateway, "n3", "drain")
        leader.start_consul()
        for gateway in cluster.gateways:
            await gateway.until_node("n3", lambda row: row["serving"] is False, "is drained", PATIENCE)
        await other.gateway.intend("n3", "serve")
        await all_flow(streams)
        unharmed(cluster, streams)


async def test_consul_is_gone_for_a_while_and_gateways_restart_meanwhile(cluster: Cluster) -> None:
    async with watched(cluster) as streams:
        for machine in cluster.machines:
            machine.kill_consul()
        first = cluster.gateways[0]
        for gateway in cluster.gateways:
            await gateway.until_status(lambda status: not status["registry"]["ok"], "misses Consul", PATIENCE)
        await first.terminate()
        await first.start()
        await first.until_serving("n1", "n2", "n3", within=PATIENCE)
        assert not (await first.status())["registry"]["ok"]
        await all_flow(streams)
        for machine in cluster.machines:
            machine.start_consul()
        await cluster.whole()
        await all_flow(streams)
        unharmed(cluster, streams)


async def test_a_network_split_takes_nobody_out_and_heals_by_itself(cluster: Cluster) -> None:
    alone = await cluster.holder()
    others = [machine for machine in cluster.machines if machine is not alone]
    node = others[0].node
    async with watched(cluster) as streams, watching(cluster.shared, timeout=20.0) as clients:
        await flows(clients)
        cluster.net.split([alone.host], [machine.host for machine in others])
        # Each side has the address now, for nobody else is heard there; clients get answers from one of them.
        await until(
            lambda: alone.holds and any(machine.holds for machine in others),
            within=PATIENCE,
            what="both sides serve",
        )
        # The one that is cut off keeps its own node serving, whatever becomes of those it cannot reach.
        await alone.gateway.until_node(
            node, lambda row: row["status"] == "down", "cannot be reached", PATIENCE
        )
        await all_flow([*streams, clients])
        await until_intended(others[0].gateway, node, "drain")
        await others[1].gateway.until_node(node, lambda row: row["serving"] is False, "is drained", PATIENCE)
        cluster.net.join()
        await cluster.holder()
        await alone.gateway.until_node(
            node, lambda row: row["intent"] == "drain", "is drained here too", PATIENCE
        )
        await alone.gateway.until_status(lambda status: status["registry"]["ok"], "reads Consul", PATIENCE)
        await until_intended(alone.gateway, node, "serve")
        await cluster.whole()
        await all_flow([*streams, clients])
        report("a network split", clients)


async def test_a_gateway_dies_the_shared_address_moves_and_the_others_know_it(cluster: Cluster) -> None:
    dead = await cluster.holder()
    async with watching(cluster.shared, timeout=1.0) as clients:
        await flows(clients)
        await dead.gateway.kill()
        dead.gateway.kill_haproxy()
        second = await cluster.holder(but=dead)
        await flows(clients, within=PATIENCE)

        async def knows() -> bool:
            said = await second.gateway.api("GET", "/api/v1/gateways")
            return {row["name"]: row["alive"] for row in said["gateways"]}.get(dead.name) is False

        await until(knows, within=PATIENCE, what=f"{dead.name} is known to be dead", every=0.2)
        await second.gateway.until_serving("n1", "n2", "n3", within=PATIENCE)
        await flows(clients, within=PATIENCE)
        report("a gateway's death", clients)


def report(what: str, clients: Watching) -> None:
    """How clients of the shared address fared, for whoever reads the log."""
    lost = (
        f"{len(clients.failed)} of {clients.answered + len(clients.failed)} requests lost {clients.kinds()}"
    )
    print(f"{what}: {lost}, longest time without an answer {clients.longest:.2f} s")


async def test_a_thousand_services_registered_at_once_reach_all_gateways(cluster: Cluster) -> None:
    where = cluster.machines[1]
    async with watched(cluster) as streams:
        _bulk(cluster, where, "register")
        for gateway in cluster.gateways:
            await until(_has(gateway, BULK), within=PATIENCE, what="all are known", every=0.5)
        await all_flow(streams)
        _bulk(cluster, where, "deregister")
        # So many that vanish together are held for `vanish_hold` seconds before they are believed to be gone.
        for gateway in cluster.gateways:
            await until(_has(gateway, 0), within=PATIENCE, what="all are gone", every=0.5)
        unharmed(cluster, streams)


def unharmed(cluster: Cluster, streams: list[Watching]) -> None:
    """No request failed; else what the gateway has to say of those that did."""
    for gateway, stream in zip(cluster.gateways, streams, strict=True):
        log = gateway.state / "haproxy" / "access.log"
        lines = log.read_text().splitlines() if stream.failed and log.exists() else []
        said = [line for line in lines if json.loads(line)["status"] != 200]
        assert not stream.failed, "\n".join([str(stream.failed), *said, gateway.log])


def _bulk(cluster: Cluster, machine: Machine, verb: str) -> None:
    script = REGISTER.format(
        count=BULK, address=machine.host.address, port=14265, token=cluster.token, verb=verb
    )
    done = machine.host.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr


def _has(gateway: HostGateway, count: int) -> Any:
    async def has() -> bool:
        return sum(row["pool"] == "bulk" for row in (await gateway.nodes()).values()) == count

    return has
