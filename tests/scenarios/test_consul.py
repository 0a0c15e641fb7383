"""nodegate on a real Consul: registrations, a dead agent, lost rights, verdicts for others."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consul import ConsulAgent, certificates, consul_binary
from gateway import Gateway, flowing, ids, quick_lab, unharmed
from support import free_port, until

pytestmark = pytest.mark.scenario

TOML = """
[registry]
url = {urls}
{more}

[probe]
interval = 0.25
timeout = 0.5

[pools.main]
server_timeout = 1.0
"""

POLICY = Path(__file__).parents[2] / "docs" / "consul.md"


def toml(agent: ConsulAgent, more: str = "") -> str:
    return TOML.format(urls=[agent.url.replace("http:", "consul:")], more=more)


def policy_of_the_docs() -> str:
    """The access policy as docs/consul.md has it."""
    return POLICY.read_text(encoding="utf-8").partition("```hcl\n")[2].partition("```")[0]


def port_of(node: Any) -> int:
    return int(node.url.rpartition(":")[2])


async def add(gateway: Gateway, node: Any, node_id: str | None = None) -> None:
    said = await gateway.cli("nodes", "add", node.url, "--kind", node.kind, "--id", node_id or node.id)
    assert said.code == 0, said.err


async def checked(agent: ConsulAgent, check_id: str, status: str) -> dict[str, Any]:
    """The check in Consul's catalogue, once it has the status."""

    def found() -> dict[str, Any] | None:
        check = agent.checks().get(check_id)
        return check if check and check["Status"] == status else None

    check: dict[str, Any] = await until(found, within=45, what=f"{check_id} is {status}: {agent.checks()}")
    return check


@pytest.fixture
def agent() -> Iterator[ConsulAgent]:
    """One that keeps its data when it is killed."""
    consul_binary()
    with ConsulAgent(durable=True) as agent:
        yield agent


@pytest.fixture
def passing_agent() -> Iterator[ConsulAgent]:
    """One in memory, which is there at once."""
    consul_binary()
    with ConsulAgent() as agent:
        yield agent


async def test_a_node_added_by_command_is_a_service_with_a_check_until_it_is_removed(
    passing_agent: ConsulAgent,
) -> None:
    agent = passing_agent
    async with quick_lab() as lab:
        await lab.start(1)
        async with Gateway(toml=toml(agent, "check_interval = 1")) as gateway:
            await add(gateway, lab.nodes[0], "n1")
            await gateway.until_serving("n1")
            (one,) = await until(
                lambda: agent.instances("nodegate-iri"), within=45, what="the service is there"
            )
            assert (one["ServiceID"], one["ServiceMeta"]["nodegate-kind"]) == ("nodegate-n1", "iri")
            await checked(agent, "service:nodegate-n1", "passing")

            agent.deregister("nodegate-n1")  # by mistake: the registry has the node still
            await gateway.intend("n1", "drain")
            await until(lambda: agent.instances("nodegate-iri"), within=45, what="the service is there again")
            assert (await gateway.nodes())["n1"]["intent"] == "drain"

            said = await gateway.cli("nodes", "remove", "n1")
            assert said.code == 0, said.err
            await until(lambda: not agent.instances("nodegate-iri"), within=45, what="the service is gone")
            await until(lambda: _lacks(gateway, "n1"), within=45, what="the node is gone")


async def test_a_script_check_of_consul_is_nodegate_check(passing_agent: ConsulAgent) -> None:
    agent = passing_agent
    script = (
        'check = "script"\ncheck_interval = 1\n'
        + f'check_command = ["{sys.executable}", "-m", "nodegate", "check"]'
    )
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(toml=toml(agent, script)) as gateway:
            await add(gateway, lab.nodes[0])
            first = lab.nodes[0].id
            passing = await checked(agent, f"service:nodegate-{first}", "passing")
            assert passing["Type"] == "script"
            await lab.fault(first, "refuse")
            lost = await checked(agent, f"service:nodegate-{first}", "critical")
            assert "refused" in lost["Output"]


async def test_a_service_that_others_registered_serves_obeys_its_check_and_takes_intents(
    passing_agent: ConsulAgent,
) -> None:
    agent = passing_agent
    async with quick_lab() as lab:
        await lab.start(2)
        for number, node in enumerate(lab.nodes):
            agent.register(
                "their-iri", f"their/{number}", Address="127.0.0.1", Port=port_of(node), Meta={"nodegate-kind": "iri"},
                Check={"CheckID": f"c{number}", "TTL": "600s", "Status": "passing"}, Weights={"Passing": 7, "Warning": 1},
            )  # fmt: skip
        async with Gateway(toml=toml(agent)) as gateway:
            await gateway.until_serving("their-0", "their-1")
            assert {row["source"] for row in (await gateway.nodes()).values()} == {"service"}
            agent.say("c0", "critical", "out of sync")
            row = await gateway.until_out("their-0")
            assert "Consul check" in row["reasons"][0]
            agent.say("c0", "passing")
            await gateway.until_serving("their-0")

            await gateway.intend("their-1", "drain")
            await gateway.until_node("their-1", lambda row: row["serving"] is False, "is drained")
            await gateway.restart()
            assert (await gateway.nodes())["their-1"]["intent"] == "drain"
            refused = await gateway.cli("nodes", "remove", "their-0")
            assert refused.code == 5, refused
            assert "deregister it there" in refused.err
            agent.deregister("their/1")
            await until(lambda: _lacks(gateway, "their-1"), what="the service is gone")


async def test_a_service_of_another_kind_does_not_take_the_firewall_from_the_pool_that_it_names(
    passing_agent: ConsulAgent,
) -> None:
    agent = passing_agent
    forbidden: dict[str, Any] = {"command": "addNeighbors", "uris": ["udp://192.0.2.9:14600"]}
    async with quick_lab() as lab, aiohttp.ClientSession() as client:
        await lab.start(1)
        agent.register(
            "iri", "z", Address="127.0.0.1", Port=port_of(lab.nodes[0]), Meta={"nodegate-kind": "iri"}
        )
        async with Gateway(toml=toml(agent)) as gateway:
            await gateway.until_serving("z")
            agent.register("iri", "a", Address="127.0.0.1", Port=free_port(), Meta={"nodegate-kind": "http"})

            async def told() -> bool:
                faults = (await gateway.status())["faults"]
                return any(
                    "node 'a': pool 'main' holds iri nodes, this one is http" in fault for fault in faults
                )

            await until(told, within=45, what="the stranger is told")
            await gateway.until_serving("z")
            assert set(await gateway.nodes()) == {"z"}
            async with client.post(
                gateway.url, json=forbidden, headers={"X-IOTA-API-Version": "1"}
            ) as response:
                assert response.status == 403
                assert "method-denied" in await response.text()


async def _lacks(gateway: Gateway, node: str) -> bool:
    return node not in await gateway.nodes()


async def test_consul_dies_and_returns_while_gateways_restart_and_no_request_is_lost(
    agent: ConsulAgent,
) -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(toml=toml(agent)) as gateway:
            for node in lab.nodes[:2]:
                await add(gateway, node)
            await gateway.until_serving(*ids(lab.nodes[:2]))
            async with gateway.load() as stream:
                agent.kill()
                impaired = await gateway.until_status(
                    lambda status: not status["registry"]["ok"], "the loss is seen"
                )
                assert "stays in force" in impaired["registry"]["text"]
                assert impaired["registry"]["nodes"] == 2
                refused = await gateway.cli("nodes", "drain", lab.nodes[0].id)
                assert refused.code == 4, refused
                assert agent.url in refused.err
                await flowing(stream)

                await gateway.restart()  # with Consul dead: from what it knew
                before = impaired["registry"]["age_seconds"]
                again = await gateway.until_status(
                    lambda status: status["registry"]["nodes"] == 2, "the kept inventory is in force"
                )
                assert again["registry"]["ok"] is False
                assert again["registry"]["age_seconds"] > before
                await gateway.until_serving(*ids(lab.nodes[:2]))
                metrics = await _metrics(gateway)
                assert metrics["nodegate_registry_up"] == 0
                assert metrics["nodegate_inventory_age_seconds"] >= before
                gateway.kill_haproxy()  # and HAProxy comes back with the same nodes
                await gateway.until_serving(*ids(lab.nodes[:2]))

            said = len(gateway.log)
            async with gateway.load() as stream:
                agent.start()
                await gateway.until_status(lambda status: status["registry"]["ok"], "Consul is back")
                await add(gateway, lab.nodes[2])
                await gateway.until_serving(*ids(lab.nodes))
                await flowing(stream)
            unharmed(stream.report())
            # Consul's checks came back as critical, since they had not run yet; nobody was taken down for that.
            assert "Consul check" not in gateway.log[said:]


async def _metrics(gateway: Gateway) -> dict[str, float]:
    token = (gateway.state / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://{gateway.admin}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


async def test_without_consul_and_without_anything_known_nodegate_says_so_and_ends() -> None:
    async with Gateway(
        toml=TOML.format(urls=[f"consul://127.0.0.1:{free_port()}"], more=""), start=False
    ) as gateway:
        await gateway.start(ready=False)
        assert await gateway.ended() == 4
        assert "Consul at http://127.0.0.1" in gateway.log
        assert gateway.haproxies() == []


async def test_an_agent_that_comes_back_without_its_services_takes_nothing_down(
    passing_agent: ConsulAgent,
) -> None:
    agent = passing_agent
    async with quick_lab() as lab:
        await lab.start(4)

        def register() -> None:
            for node in lab.nodes:
                agent.register(
                    "iri", node.id, Address="127.0.0.1", Port=port_of(node), Meta={"nodegate-kind": "iri"}
                )

        register()
        async with Gateway(toml=toml(agent, "vanish_hold = 600")) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load() as stream:
                agent.kill()
                await gateway.until_status(lambda status: not status["registry"]["ok"], "the loss is seen")
                agent.start()  # in memory: it has forgotten everything
                held = await gateway.until_status(
                    lambda status: status["registry"]["ok"] and status["faults"], "Consul is back, and empty"
                )
                assert any("vanished from Consul together" in fault for fault in held["faults"])
                await gateway.until_serving(*ids(lab.nodes))
                await flowing(stream)
                register()
                await gateway.until_status(lambda status: not status["faults"], "the services are back")
            unharmed(stream.report())


async def test_the_documented_policy_suffices_and_a_revoked_token_removes_no_node() -> None:
    consul_binary()
    with ConsulAgent(acl=str(uuid.uuid4())) as agent:
        token = agent.new_token("gateway", policy_of_the_docs())
        async with quick_lab() as lab:
            await lab.start(2)
            async with Gateway(toml=toml(agent, 'token_file = "token"'), start=False) as gateway:
                (gateway.home / "token").write_text(token)
                await gateway.start()
                for node in lab.nodes:
                    await add(gateway, node)
                await gateway.until_serving(*ids(lab.nodes))
                await until(
                    lambda: len(agent.instances("nodegate-iri")) == 2, within=45, what="both are services"
                )
                assert (await gateway.status())["faults"] == []
                async with gateway.load() as stream:
                    accessor = agent.get("/v1/acl/token/self", token=token)["AccessorID"]
                    agent.call("DELETE", f"/v1/acl/token/{accessor}")
                    impaired = await gateway.until_status(
                        lambda status: not status["registry"]["ok"], "the loss is seen"
                    )
                    assert "token" in impaired["registry"]["text"]
                    assert impaired["registry"]["nodes"] == 2
                    await flowing(stream)
                    (gateway.home / "token").write_text(agent.new_token("again", policy_of_the_docs()))
                    await gateway.until_status(lambda status: status["state"] == "ok", "the new token counts")
                unharmed(stream.report())
                shown = [gateway.log]
                shown += [str(await gateway.api("GET", f"/api/v1/{page}")) for page in ("status", "nodes")]
                assert not any(token in text for text in shown)


async def test_consul_is_reached_with_tls_and_by_its_second_address(tmp_path: Path) -> None:
    consul_binary()
    files = certificates(tmp_path)
    with ConsulAgent(tls=files) as agent:
        places = [f"consuls://127.0.0.1:{free_port()}", agent.https.replace("https:", "consuls:")]
        async with quick_lab() as lab:
            await lab.start(1)
            async with Gateway(
                toml=TOML.format(urls=places, more='tls_ca = "ca.pem"'), start=False
            ) as gateway:
                shutil.copy(files.ca, gateway.home / "ca.pem")
                await gateway.start()
                await add(gateway, lab.nodes[0])
                await gateway.until_serving(lab.nodes[0].id)


async def test_verdicts_are_published_so_that_consul_dns_follows_them(passing_agent: ConsulAgent) -> None:
    agent = passing_agent
    async with quick_lab() as lab:
        await lab.start(3)
        other = lab.nodes[0]
        agent.register(
            "their-iri", "theirs", Address="127.0.0.1", Port=port_of(other), Meta={"nodegate-kind": "iri"}
        )
        async with Gateway(toml=toml(agent, 'publish_verdict = true\ncheck = "none"')) as gateway:
            for node in lab.nodes[1:]:
                await add(gateway, node)
            sick = lab.nodes[1].id
            await checked(agent, "_nodegate_verdict:theirs", "passing")
            await checked(agent, f"_nodegate_verdict:nodegate-{sick}", "passing")
            await lab.fault(sick, "refuse")
            check = await checked(agent, f"_nodegate_verdict:nodegate-{sick}", "critical")
            assert check["Output"].startswith("down: ")
            healthy = {one["Service"]["ID"] for one in agent.get("/v1/health/service/nodegate-iri?passing")}
            assert healthy == {f"nodegate-{lab.nodes[2].id}"}
            await lab.heal(sick)
            await checked(agent, f"_nodegate_verdict:nodegate-{sick}", "passing")
            await gateway.terminate()
            assert not [name for name in agent.checks() if name.startswith("_nodegate_verdict")]
