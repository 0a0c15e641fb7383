"""Three machines, each with a Consul server, a gateway and a node: what the operator does on one holds on all, and
nothing that dies takes a request with it.

Consul runs with the configuration that `nodegate render consul` writes: gossip key, and everything denied without a
token. All tests share one cluster; each leaves it whole.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import pytest_asyncio

from consul import consul_binary
from machines import HostGateway, HostLab, Watching, flows, watching
from netlab import Host, Net, network
from nodegate.render.consul import ConsulHost, render_consul
from support import until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("cluster"),
]

PATIENCE = 90.0
"""Seconds within which all three must have heard of something; a machine with two cores runs 15 programs here."""
BULK = 1000

SETTINGS = """
[registry]
url = "consul://127.0.0.1:8500"
token = "{token}"

[cluster]
name = "{name}"
address = "{address}"

[probe]
interval = 1.0
timeout = 2.0

[health]
fall = 4

[pools.main]
kind = "iri"
server_timeout = 5.0
"""

REGISTER = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", 8500)
for number in range({count}):
    document = {{"Service": "bulk", "ID": f"bulk-{{number}}", "Address": "{address}", "Port": {port},
                 "Meta": {{"nodegate-kind": "iri", "nodegate-pool": "bulk"}}}}
    document["Name"] = document.pop("Service")
    path = "register" if "{verb}" == "register" else f"deregister/bulk-{{number}}"
    body = json.dumps(document) if "{verb}" == "register" else ""
    connection.request("PUT", f"/v1/agent/service/{{path}}", body, {{"X-Consul-Token": "{token}"}})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
"""


@dataclass
class Machine:
    host: Host
    gateway: HostGateway
    lab: HostLab
    folder: Path
    consul: Popen[bytes] | None = None

    def start_consul(self) -> None:
        self.consul = self.host.spawn(
            consul_binary(), "agent", f"-config-dir={self.folder}", log=self.folder / "log"
        )

    def kill_consul(self) -> None:
        assert self.consul is not None
        self.consul.kill()
        self.consul.wait()

    def raft_leader(self) -> str:
        """Address of the leader, as the server here sees it; empty if there is none."""
        asked = self.host.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:8500/v1/status/leader")
        try:
            return str(json.loads(asked.stdout)).partition(":")[0]
        except ValueError:
            return ""


@dataclass
class Cluster:
    net: Net
    token: str
    machines: list[Machine] = field(default_factory=list)

    @property
    def gateways(self) -> list[HostGateway]:
        return [machine.gateway for machine in self.machines]

    async def led(self) -> Machine:
        """The machine whose Consul server leads, once all living ones agree on one of them."""

        def leader() -> Machine | None:
            living = [machine for machine in self.machines if _alive(machine)]
            said = {machine.raft_leader() for machine in living}
            found = [machine for machine in living if said == {machine.host.address}]
            return found[0] if found else None

        machine: Machine = await until(leader, within=PATIENCE, what="Consul has a leader", every=0.3)
        return machine

    async def whole(self) -> None:
        """Every gateway reads the registry, knows all three nodes, and sends them requests."""
        await self.led()
        for gateway in self.gateways:
            await gateway.until_status(lambda status: status["registry"]["ok"], "reads Consul", PATIENCE)
            await gateway.until_serving("n1", "n2", "n3", within=PATIENCE)


def _alive(machine: Machine) -> bool:
    return machine.consul is not None and machine.consul.poll() is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """The cluster that most scenarios share, whole."""
    async with new_cluster(tmp_path_factory) as cluster:
        yield cluster


@asynccontextmanager
async def new_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    consul_binary()
    folder, token = tmp_path_factory.mktemp("cluster"), str(uuid.uuid4())
    with network(3, needs=("socat", "curl")) as net:
        async with AsyncExitStack() as stack:
            cluster = Cluster(net, token)
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            for number, host in enumerate(net.hosts, start=1):
                toml = SETTINGS.format(token=token, name=f"gw{number}", address=host.address)
                gateway = await stack.enter_async_context(HostGateway(host, net.address, toml))
                lab = HostLab(host, 1, folder, public=True)
                machine = Machine(host, gateway, lab, folder / f"consul{number}")
                _configure(machine, net, number, key, token)
                machine.start_consul()
                cluster.machines.append(machine)
            await cluster.led()
            await asyncio.gather(*(gateway.start() for gateway in cluster.gateways))
            for number, machine in enumerate(cluster.machines, start=1):
                await machine.lab.ready()
                node = {"id": f"n{number}", "url": machine.lab.urls[0], "kind": "iri"}
                await machine.gateway.api("POST", "/api/v1/nodes", node)
            await cluster.whole()
            yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(running: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, whole before and after."""
    await running.whole()
    yield running
    running.net.join()
    for machine in running.machines:
        if not _alive(machine):
            machine.start_consul()
        if not machine.gateway.alive:
            await machine.gateway.start()
    await running.whole()


def _configure(machine: Machine, net: Net, number: int, key: str, token: str) -> None:
    """What `nodegate render consul` writes, and the tokens that an operator would set."""
    host = ConsulHost(
        node=f"c{number}", bind=machine.host.address, join=[host.address for host in net.hosts], key=key,
        servers=3, tls=None, data=str(machine.folder / "data"),
    )  # fmt: skip
    machine.folder.mkdir()
    for file in render_consul(host):
        (machine.folder / file.path).write_text(file.text)
    tokens = {"acl": {"tokens": {"master": token, "agent": token}}, "retry_interval": "1s"}
    (machine.folder / "tokens.json").write_text(json.dumps(tokens))


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
        for stream in streams:
            assert stream.failed == []


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
        for stream in streams:
            assert stream.failed == []


async def test_a_network_split_takes_nobody_out_and_heals_by_itself(cluster: Cluster) -> None:
    alone, *others = cluster.machines
    async with watched(cluster) as streams:
        cluster.net.split([alone.host], [machine.host for machine in others])
        # The one that is cut off keeps its own node serving, whatever becomes of those it cannot reach.
        await alone.gateway.until_node(
            "n2", lambda row: row["status"] == "down", "cannot be reached", PATIENCE
        )
        await flows(streams[0], within=PATIENCE)
        await until_intended(others[0].gateway, "n2", "drain")
        await others[1].gateway.until_node("n2", lambda row: row["serving"] is False, "is drained", PATIENCE)
        cluster.net.join()
        await alone.gateway.until_node(
            "n2", lambda row: row["intent"] == "drain", "is drained here too", PATIENCE
        )
        await alone.gateway.until_status(lambda status: status["registry"]["ok"], "reads Consul", PATIENCE)
        await until_intended(alone.gateway, "n2", "serve")
        await cluster.whole()
        await all_flow(streams)


async def test_a_gateway_dies_and_the_others_know_it(cluster: Cluster) -> None:
    first, second, _ = cluster.machines
    await first.gateway.kill()
    first.gateway.kill_haproxy()

    async def knows() -> bool:
        said = await second.gateway.api("GET", "/api/v1/gateways")
        return {row["name"]: row["alive"] for row in said["gateways"]}.get("gw1") is False

    await until(knows, within=PATIENCE, what="gw2 knows that gw1 is dead", every=0.2)
    await second.gateway.until_serving("n1", "n2", "n3", within=PATIENCE)


async def test_a_thousand_services_registered_at_once_reach_all_gateways(cluster: Cluster) -> None:
    where = cluster.machines[1]
    async with watched(cluster) as streams:
        _bulk(cluster, where, "register")
        for gateway in cluster.gateways:
            await until(_has(gateway, BULK), within=PATIENCE, what="all are known", every=0.5)
        await all_flow(streams)
        _bulk(cluster, where, "deregister")
        for gateway in cluster.gateways:
            await until(_has(gateway, 0), within=PATIENCE, what="all are gone", every=0.5)
        for stream in streams:
            assert stream.failed == []


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


class watched:  # noqa: N801 -- read as a word: `async with watched(cluster)`
    """A modest stream of clients through each gateway; each is asked by its own address."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> list[Watching]:
        streams = [
            await self._stack.enter_async_context(watching(gateway.url, every=0.1, timeout=20.0))
            for gateway in self._cluster.gateways
        ]
        await all_flow(streams)
        return streams

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def all_flow(streams: list[Watching]) -> None:
    for stream in streams:
        await flows(stream, 10, within=PATIENCE)


async def until_intended(gateway: HostGateway, node: str, intent: str) -> None:
    """Set an intent, as an operator does who tries again while Consul has no leader."""

    async def done() -> bool:
        said = await gateway.cli("nodes", intent, node)
        return said.code == 0

    await until(done, within=PATIENCE, what=f"{node} is to {intent}", every=0.5)
