"""Three machines, each with a Consul server, a gateway, keepalived and a node, and one address for clients in front.

    async with new_cluster(folder) as cluster:
        await cluster.machines[0].gateway.intend("n2", "drain")
        await cluster.holder()              # the machine that has the shared address

Consul runs with the configuration that `nodegate render consul` writes: gossip key, TLS, and everything denied without a
token; keepalived with that of `nodegate render keepalived`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from certificates import Authority
from consul import consul_binary
from machines import CLIENTS, HostGateway, HostLab, Keepalived, Watching, flows, holder, watching
from netlab import Host, Net, network
from nodegate.render.consul import ConsulHost, render_consul
from support import until

PATIENCE = 90.0
"""Seconds within which all three must have heard of something; a machine with two cores runs 18 programs here."""

SETTINGS = """
[registry]
url = "consul://127.0.0.1:8500"
token = "{token}"
vanish_hold = 4.0

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


@dataclass
class Machine:
    host: Host
    gateway: HostGateway
    lab: HostLab
    folder: Path
    number: int
    consul: Popen[bytes] | None = None
    vrrp: Keepalived | None = None

    @property
    def name(self) -> str:
        """The gateway's name."""
        return f"gw{self.number}"

    @property
    def node(self) -> str:
        """The id of the node that runs here."""
        return f"n{self.number}"

    def start_consul(self) -> None:
        self.consul = self.host.spawn(
            consul_binary(), "agent", f"-config-dir={self.folder}", log=self.folder / "log"
        )

    def kill_consul(self) -> None:
        assert self.consul is not None
        self.consul.kill()
        self.consul.wait()

    @property
    def consul_lives(self) -> bool:
        return self.consul is not None and self.consul.poll() is None

    @property
    def holds(self) -> bool:
        """Whether the shared address is here."""
        return self.vrrp is not None and self.vrrp.holds()

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

    @property
    def shared(self) -> str:
        """The address that clients know, whichever machine has it."""
        return f"http://{self.net.shared}:{CLIENTS}"

    async def holder(self, *, but: Machine | None = None) -> Machine:
        """The machine that has the shared address, once exactly one has it and that is not `but`."""
        machines = {machine.vrrp: machine for machine in self.machines if machine.vrrp is not None}
        return machines[await holder(list(machines), lambda part: machines[part] is not but)]

    async def led(self) -> Machine:
        """The machine whose Consul server leads, once all living ones agree on one of them."""

        def leader() -> Machine | None:
            living = [machine for machine in self.machines if machine.consul_lives]
            said = {machine.raft_leader() for machine in living}
            found = [machine for machine in living if said == {machine.host.address}]
            return found[0] if found else None

        machine: Machine = await until(leader, within=PATIENCE, what="Consul has a leader", every=0.3)
        return machine

    async def mend(self) -> None:
        """Undo whatever was cut or killed."""
        self.net.join()
        for machine in self.machines:
            if not machine.consul_lives:
                machine.start_consul()
            if not machine.gateway.alive:
                await machine.gateway.start()
        await self.whole()
        await self.holder()

    async def whole(self) -> None:
        """Every gateway reads the registry, knows all three nodes, and sends them requests."""
        await self.led()
        for gateway in self.gateways:
            await gateway.until_status(lambda status: status["registry"]["ok"], "reads Consul", PATIENCE)
            await gateway.until_serving("n1", "n2", "n3", within=PATIENCE)


@asynccontextmanager
async def new_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """All of it, whole; `folder` takes its files."""
    consul_binary()
    token = str(uuid.uuid4())
    with network(3, needs=("socat", "curl", "keepalived")) as net:
        async with AsyncExitStack() as stack:
            cluster = Cluster(net, token)
            key, authority = base64.b64encode(secrets.token_bytes(32)).decode(), Authority()
            for number, host in enumerate(net.hosts, start=1):
                toml = SETTINGS.format(token=token, name=f"gw{number}", address=host.address)
                gateway = await stack.enter_async_context(HostGateway(host, net.address, toml))
                lab = HostLab(host, 1, folder, public=True)
                machine = Machine(host, gateway, lab, folder / f"consul{number}", number)
                _configure(machine, net, key, authority, token)
                machine.start_consul()
                cluster.machines.append(machine)
            await cluster.led()
            await asyncio.gather(*(gateway.start() for gateway in cluster.gateways))
            for machine in cluster.machines:
                await machine.lab.ready()
                node = {"id": machine.node, "url": machine.lab.urls[0], "kind": "iri"}
                await machine.gateway.api("POST", "/api/v1/nodes", node)
            await cluster.whole()
            for place, machine in enumerate(cluster.machines):
                machine.vrrp = stack.enter_context(Keepalived(net, machine.host, priority=150 - 10 * place))
            await cluster.holder()
            yield cluster


def _configure(machine: Machine, net: Net, key: str, authority: Authority, token: str) -> None:
    """What `nodegate render consul` writes, with the certificates and the tokens that an operator would put there."""
    tls = machine.folder / "tls"
    tls.mkdir(parents=True)
    (tls / "ca.pem").write_text(authority.pem)
    both = authority.issue("server.dc1.consul")  # one text; from each file Consul takes its part
    for name in ("cert.pem", "key.pem"):
        (tls / name).write_text(both)
    host = ConsulHost(
        node=f"c{machine.number}", bind=machine.host.address, join=[host.address for host in net.hosts], key=key,
        servers=3, tls=str(tls), data=str(machine.folder / "data"),
    )  # fmt: skip
    for file in render_consul(host):
        (machine.folder / file.path).write_text(file.text)
    tokens = {"acl": {"tokens": {"master": token, "agent": token}}, "retry_interval": "1s"}
    (machine.folder / "tokens.json").write_text(json.dumps(tokens))


@asynccontextmanager
async def watched(cluster: Cluster) -> AsyncIterator[list[Watching]]:
    """A modest stream of clients through each gateway; each is asked by its own address."""
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(watching(gateway.url, every=0.05, timeout=20.0))
            for gateway in cluster.gateways
        ]
        await all_flow(streams)
        yield streams


async def all_flow(streams: list[Watching]) -> None:
    """Wait until each of them gets answers."""
    await asyncio.gather(*(flows(stream, 10, within=PATIENCE) for stream in streams))


async def until_intended(gateway: HostGateway, node: str, intent: str) -> None:
    """Set an intent, as an operator does who tries again while Consul has no leader."""

    async def done() -> bool:
        said = await gateway.cli("nodes", intent, node)
        return said.code == 0

    await until(done, within=PATIENCE, what=f"{node} is to {intent}", every=0.5)
