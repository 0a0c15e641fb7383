"""Services with Fabio's tags on a real Consul, served by a real nodegate: what Fabio gets wrong, and moving."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from consul import ConsulAgent, consul_binary
from dataplane_support import Node, Request, http
from gateway import Gateway, Said, run
from support import until

pytestmark = pytest.mark.scenario

TOML = """
[registry]
url = "consul://{place}"
token = "{token}"

[probe]
interval = 0.25
timeout = 0.5

[fabio]
{fabio}
"""
TOKEN = "6f5c1b9e-0d7f-4f6a-9a53-2b8b8e1a5c11"


@pytest.fixture
def agent() -> Iterator[ConsulAgent]:
    consul_binary()
    with ConsulAgent() as agent:
        yield agent


class Services:
    """Services on the loopback that tell what reached them, registered with a TTL check that passes."""

    def __init__(self, agent: ConsulAgent) -> None:
        self.agent = agent
        self.nodes: dict[str, Node] = {}

    async def register(self, name: str, *tags: str, status: str = "passing", **more: Any) -> Node:
        """Instance `SERVICE-NUMBER`; registering it again changes its tags."""
        if name not in self.nodes:
            self.nodes[name] = await Node(name=name, answer=_told(name)).start()
        node = self.nodes[name]
        check = {"CheckID": f"ttl-{name}", "Name": "alive", "TTL": "10m", "Status": status}
        fields = {"Address": "127.0.0.1", "Port": node.port, "Tags": list(tags), "Check": check} | more
        await asyncio.to_thread(self.agent.register, name.rpartition("-")[0], name, **fields)
        return node


def _told(name: str) -> Any:
    def answer(request: Request) -> bytes:
        told = {"node": name, "path": request.path, "headers": request.headers}
        return http(json.dumps(told).encode())

    return answer


@pytest.fixture
async def services(agent: ConsulAgent) -> AsyncIterator[Services]:
    services = Services(agent)
    yield services
    for node in services.nodes.values():
        await node.stop()


def gateway_on(agent: ConsulAgent, fabio: str = "", token: str = "") -> Gateway:
    text = TOML.format(place=agent.url.partition("://")[2], token=token, fabio=fabio)
    return Gateway(toml=text if token else text.replace('token = ""\n', ""))


async def get(gateway: Gateway, path: str, host: str = "gateway.example") -> tuple[int, str]:
    """The status and the node that answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(gateway.url + path, headers={"Host": host}) as answer,
    ):
        text = await answer.text()
        return answer.status, (json.loads(text)["node"] if text.startswith('{"node') else "")


async def until_served(gateway: Gateway, path: str, by: str, host: str = "gateway.example") -> None:
    async def served() -> bool:
        return await get(gateway, path, host) == (200, by)

    await until(served, what=f"{host}{path} is served by {by}")


async def read_anew(gateway: Gateway) -> int:
    """HAProxy's process id, as a pass that begins from now on reads it: a reload may just be over."""
    passes = (await gateway.status())["passes"] + 2
    status = await gateway.until_status(lambda status: status["passes"] >= passes, "two passes more")
    return int(status["haproxy"]["pid"])


async def test_services_are_found_checked_and_routed_as_their_tags_say(
    agent: ConsulAgent, services: Services
) -> None:
    await services.register("web-1", "urlprefix-abc.example/", "urlprefix-/web strip=/web", "blue")
    async with gateway_on(agent) as gateway:
        await until_served(gateway, "/", "web-1", "abc.example")
        await until_served(gateway, "/web/x", "web-1")
        await services.register("web-2", "urlprefix-abc.example/", "urlprefix-/web strip=/web", "blue")
        await gateway.until_serving("web-1", "web-2")
        await services.register("shop-1", "urlprefix-shop.example/")
        await until_served(gateway, "/", "shop-1", "shop.example")
        await services.register("shop-1", "urlprefix-other.example/")
        await until_served(gateway, "/", "shop-1", "other.example")
        # A tag changes: maps alone, and HAProxy is not reloaded. (The new pool above was worth a reload.)
        pid = await read_anew(gateway)
        await services.register("shop-1", "urlprefix-new.example/")
        await until_served(gateway, "/", "shop-1", "new.example")
        assert await read_anew(gateway) == pid
        # The check fails: the other one serves, alone.
        agent.say("ttl-web-1", "critical", "gone")
        await gateway.until_node("web-1", lambda row: row["serving"] is False, "is out")
        row = (await gateway.nodes())["web-1"]
        assert any("Consul check 'alive' is critical" in reason for reason in row["reasons"])
        for _ in range(10):
            assert await get(gateway, "/", "abc.example") == (200, "web-2")
        agent.say("ttl-web-1", "passing", "back")
        await gateway.until_serving("web-1")
        # Maintenance in Consul drains, although nothing is wrong.
        agent.put("/v1/agent/service/maintenance/web-2?enable=true&reason=upgrade")
        await gateway.until_node("web-2", lambda row: row["serving"] is False, "is drained")
        assert (await gateway.nodes())["web-2"]["intent"] == "drain"
        assert await get(gateway, "/", "abc.example") == (200, "web-1")


async def test_a_name_that_a_route_registers_leads_to_the_gateway_and_goes_with_the_route_and_the_gateway(
    agent: ConsulAgent, services: Services
) -> None:
    def named() -> list[tuple[int, str]]:
        """Port and status of what Consul DNS would answer for the name."""
        found = agent.get("/v1/health/service/shop")
        return [
            (one["Service"]["Port"], check["Status"])
            for one in found
            for check in one["Checks"]
            if check["ServiceName"] == "shop"
        ]

    await services.register("web-1", "urlprefix-shop.service.consul/ register=shop")
    async with gateway_on(agent) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        await until(lambda: named() == [(port, "passing")], what="the name leads to the gateway")
        await until_served(gateway, "/", "web-1", "shop.service.consul")
        await services.register("web-1", "urlprefix-shop.service.consul/")
        await until(lambda: named() == [], what="the name is gone with the option")
        await services.register("web-1", "urlprefix-shop.service.consul/ register=shop")
        await until(lambda: named() == [(port, "passing")], what="the name is back")
        await gateway.terminate()
        assert named() == []


FREEZING = (
    "urlprefix-/x weight=abc", "urlprefix-/x weight=30%", "urlprefix-", 'say "hi"', 'urlprefix-/q host="x"',
    "urlprefix-/p[x", "urlprefix-[/bad", "urlprefix-/t proto=grpc", "urlprefix-/a allow=ip:300.0.0.0/8",
    "urlprefix-/b allow=ip:127.0.0.1 deny=ip:10.0.0.0/8",
)  # fmt: skip


async def test_the_worst_tags_of_one_service_touch_nobody_else(
    agent: ConsulAgent, services: Services
) -> None:
    await services.register("good-1", "urlprefix-/good")
    async with gateway_on(agent) as gateway:
        await until_served(gateway, "/good", "good-1")
        for number, tag in enumerate(FREEZING):
            await services.register(
                f"bad{number}-1", tag, f"urlprefix-/fine{number}", " urlprefix-/lead" if number == 0 else "x"
            )
        await services.register("later-1", "urlprefix-/later")
        for number in range(len(FREEZING)):
            await until_served(gateway, f"/fine{number}", f"bad{number}-1")
        await until_served(gateway, "/later", "later-1")
        await until_served(gateway, "/lead", "bad0-1")
        await until_served(gateway, "/good", "good-1")
        # Wrong access rules let nobody in.
        assert ((await get(gateway, "/a"))[0], (await get(gateway, "/b"))[0]) == (403, 403)
        faults = " ".join((await gateway.status())["faults"])
        for number in (0, 1, 2, 4, 6, 7, 8, 9):
            assert f"service 'bad{number}'" in faults, (number, faults)
        # A node of such a service that fails goes out all the same.
        agent.say("ttl-good-1", "critical")
        await services.register("good-2", "urlprefix-/good")
        await until_served(gateway, "/good", "good-2")


async def test_a_backend_that_dies_while_its_check_passes_costs_no_request(
    agent: ConsulAgent, services: Services
) -> None:
    for name in ("web-1", "web-2", "web-3"):
        await services.register(name, "urlprefix-/")
    async with gateway_on(agent) as gateway:
        await gateway.until_serving("web-1", "web-2", "web-3")
        await until_served(gateway, "/", "web-1")
        answers = [await get(gateway, "/") for _ in range(10)]
        await services.nodes["web-2"].stop()
        answers += [await get(gateway, "/") for _ in range(100)]
        assert {status for status, _ in answers} == {200}
        assert agent.checks()["ttl-web-2"]["Status"] == "passing"


async def test_api_routes_speaks_fabios_form_and_the_token_is_never_shown(
    services: Services, agent: ConsulAgent
) -> None:
    await services.register("web-1", "urlprefix-abc.example/a weight=0.25 strip=/a", "blue")
    await services.register("web-2", "urlprefix-abc.example/a strip=/a")
    async with gateway_on(agent, token=TOKEN) as gateway:
        await until(lambda: listed(gateway, 2), what="both targets are listed")
        rows = await gateway.api("GET", "/api/routes")
        assert rows[0] == {
            "service": "web", "host": "abc.example", "path": "/a", "src": "abc.example/a",
            "dst": f"http://127.0.0.1:{services.nodes['web-1'].port}/", "opts": "strip=/a", "weight": 0.25, "tags": ["blue"],
            "cmd": "route add", "rate1": 0, "pct99": 0,
        }  # fmt: skip
        assert rows[1]["weight"] == 0.75
        raw = await text_of(gateway, "/api/routes?raw")
        assert raw.splitlines()[0] == (
            f"route add web abc.example/a http://127.0.0.1:{services.nodes['web-1'].port}/ weight 0.25 "
            'tags "blue" opts "strip=/a"'
        )
        said = [
            gateway.log,
            *[await text_of(gateway, path) for path in ("/api/v1/status", "/api/v1/nodes", "/metrics")],
        ]
        said += [file.read_text(errors="replace") for file in gateway.state.rglob("*") if file.is_file()]
        assert not any(TOKEN in text for text in said)


async def listed(gateway: Gateway, count: int) -> bool:
    return len(await gateway.api("GET", "/api/routes") or ()) == count


async def text_of(gateway: Gateway, path: str) -> str:
    headers = {"Authorization": f"Bearer {(gateway.state / 'token').read_text().strip()}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://{gateway.admin}{path}") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def test_without_routes_the_api_answers_null_as_fabio_does(agent: ConsulAgent) -> None:
    async with gateway_on(agent) as gateway:
        assert await text_of(gateway, "/api/routes") == "null"
        assert await text_of(gateway, "/api/routes?raw") == ""


async def test_strict_takes_a_failing_instance_out_although_it_is_the_last(
    agent: ConsulAgent, services: Services
) -> None:
    await services.register("web-1", "urlprefix-/web")
    async with gateway_on(agent, "strict = true\nno_route_status = 404") as gateway:
        await until_served(gateway, "/web", "web-1")
        agent.say("ttl-web-1", "critical")

        async def gone() -> bool:
            return "web-1" not in await gateway.nodes()

        await until(gone, what="the instance is out of the inventory")
        assert await text_of(gateway, "/api/routes") == "null"


def registered(agent: ConsulAgent, document: str) -> None:
    """`consul services register FILE`, as an operator does it."""
    file = agent.home / "services.json"
    file.write_text(document)
    done = subprocess.run(
        [agent.binary, "services", "register", f"-http-addr={agent.url}", str(file)],
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def documents(said: Said) -> list[dict[str, Any]]:
    assert said.code == 0, said.err
    return sorted(said.json["nodes"], key=lambda node: node["id"])


async def test_nodes_move_to_consul_and_back(agent: ConsulAgent) -> None:
    async with Gateway() as gateway:
        for words in (
            ("http://127.0.0.1:14265", "--kind", "iri", "--id", "a", "-o", "pow=true", "--maxconn", "7"),
            ("https://127.0.0.1:14266", "--kind", "iri", "--id", "b", "--weight", "33", "--no-tls-verify"),
            ("http://[::1]:9000", "--kind", "http", "--id", "c", "--pool", "shop", "-o", "path=/health"),
            ("http://127.0.0.1:9001", "--kind", "http", "--id", "d", "--pool", "shop", "--weight", "1"),
        ):
            assert (await gateway.cli("nodes", "add", *words)).code == 0
        before = documents(await gateway.cli("nodes", "export"))
        written = await gateway.cli("nodes", "export", "--to", "consul-json")
        assert written.code == 0, written.err
        registered(agent, written.out)
        assert {"service:a", "service:b", "service:c", "service:d"} <= agent.checks().keys()
    async with Gateway() as other:
        place = agent.url.replace("http:", "consul:")
        dry = await other.cli("nodes", "import", "--from", place, "--dry-run", "--json")
        assert dry.json == {"added": 4, "updated": 0, "unchanged": 0, "differs": 0, "failed": {}, "left": []}
        assert await other.nodes() == {}
        assert (await other.cli("nodes", "import", "--from", place)).code == 0
        assert documents(await other.cli("nodes", "export")) == before
        again = await other.cli("nodes", "import", "--from", place, "--json")
        assert again.json["unchanged"] == 4


async def test_tagged_services_move_and_what_cannot_is_said(agent: ConsulAgent, services: Services) -> None:
    await services.register(
        "web-1", "urlprefix-abc.example/a strip=/a", "urlprefix-/r redirect=301,http://x.example$path", "blue"
    )
    await services.register("shop-1", "urlprefix-/shop", "urlprefix-/x weight=abc")
    consul = agent.url.replace("http:", "consul:")
    async with Gateway() as gateway:
        said = await gateway.cli("nodes", "import", "--from", consul)
        assert said.code == 0
        assert (
            'write hosts = ["abc.example"], paths = ["/a"], strip_path = true below [pools.web]' in said.err
        )
        assert "route /r to web: only a Consul registry can hold it (redirect)" in said.err
        assert "weight=abc is not a number" in said.err
        assert {name: row["pool"] for name, row in (await gateway.nodes()).items()} == {
            "web-1": "web",
            "shop-1": "shop",
        }
    async with gateway_on(agent) as gateway:
        await until(lambda: listed(gateway, 3), what="all targets are listed")
        written = (await gateway.cli("nodes", "export", "--to", "consul-json")).out
        before = await text_of(gateway, "/api/routes?raw")
        for name in services.nodes:
            agent.deregister(name)
        await until(lambda: listed(gateway, 0), what="all are gone", within=60)
        registered(agent, written)
        await until(lambda: listed(gateway, 3), what="all are back")
        assert await text_of(gateway, "/api/routes?raw") == before


async def test_the_source_must_be_one() -> None:
    for words in ((), ("file.json", "--from", "consul://127.0.0.1:1")):
        assert (await run("nodes", "import", *words)).code == 3
    assert (await run("nodes", "import", "--from", "sqlite")).code == 3
    assert (await run("nodes", "import", "--from", "consul://127.0.0.1:1")).code == 4
    assert (await run("nodes", "export", "--to", "yaml")).code == 3
