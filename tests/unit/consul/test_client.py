"""The client against a server that says what the test wants, byte for byte, and against a real agent."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consul import ConsulAgent, ConsulError, certificates, consul_binary
from consulservers import ConsulServers
from nodegate.consul.client import ConsulClient
from nodegate.errors import Malformed, NodegateError, NotFound, Refused, Unavailable
from nodegate.model import Seconds
from support import free_port, until

Reply = tuple[int, str, dict[str, str]]


@dataclass
class Scripted:
    """An HTTP server that answers in turn, the last answer for ever. `hang` never answers."""

    replies: list[Reply]
    hang: bool = False
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length")), 0
                )  # fmt: skip
                await reader.readexactly(length)
                self.asked.append(" ".join(head.split()[:2]))
                self.heads.append(head)
                if self.hang:
                    await asyncio.Event().wait()
                status, body, headers = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}".encode()
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*replies: Reply, hang: bool = False) -> AsyncIterator[Scripted]:
    script = Scripted(list(replies), hang)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()


@pytest.fixture
async def new() -> AsyncIterator[Callable[..., ConsulClient]]:
    made: list[ConsulClient] = []

    def make(*addresses: str, **options: object) -> ConsulClient:
        made.append(ConsulClient(addresses, **{"timeout": Seconds(5.0), **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for client in made:
        await client.close()


def ok(body: str = "[]", index: int = 7, **headers: str) -> Reply:
    return 200, body, {"X-Consul-Index": str(index), **headers}


LEADERLESS: Reply = (500, "No cluster leader", {})


async def test_an_answer_has_value_index_and_freshness(new: Callable[..., ConsulClient]) -> None:
    async with scripted(ok('{"a": 1}', 42)) as server:
        client = new(server.url)
        for _ in range(2):
            reply = await client.get("/v1/x", params={"q": "1"}, index=5, wait=Seconds(10.0))
            assert (reply.value, reply.index, reply.fresh) == ({"a": 1}, 42, True)
    assert server.asked == ["GET /v1/x?q=1&consistent=", "GET /v1/x?q=1&index=5&wait=10000ms"]


async def test_after_a_failure_and_where_the_index_fell_a_leader_is_to_be_certain(
    new: Callable[..., ConsulClient],
) -> None:
    async with scripted(ok(), ok(index=9), LEADERLESS, ok(index=9), ok(index=3), ok(index=12)) as server:
        client = new(server.url)
        for index in (None, None):
            await client.get("/v1/x", index=index)
        with pytest.raises(Unavailable):
            await client.get("/v1/x")
        await client.get("/v1/x")
        assert (await client.get("/v1/x", index=9)).index == 12
    assert [line.removeprefix("GET /v1/x") for line in server.asked] == [
        "?consistent=", "", "", "?consistent=", "?index=9&wait=60000ms", "?consistent=",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        ((500, "No cluster leader", {}), Unavailable, "No cluster leader"),
        ((500, "rpc error making call: EOF", {}), Unavailable, "EOF"),
        ((503, "", {}), Unavailable, "503"),
        ((429, "Your IP is issuing too many concurrent connections", {}), Unavailable, "too many"),
        ((403, "Permission denied", {}), Refused, 'key_prefix "nodegate/"'),
        ((403, "ACL not found", {}), Refused, "ACL not found"),
        ((401, "ACL support disabled", {}), Refused, "ACL support disabled"),
        ((404, "", {}), NotFound, "404"),
        ((400, "Bad request", {}), Refused, "Bad request"),
        ((500, "Scripts are disabled on this agent from remote calls", {}), Refused, "Scripts"),
        ((200, "<html>", {}), Malformed, "no JSON"),
        ((301, "", {"Location": "/elsewhere"}), Refused, "301"),
    ],
)
async def test_failures_are_errors_of_one_tree_in_words(
    new: Callable[..., ConsulClient], reply: Reply, error: type[NodegateError], words: str
) -> None:
    async with scripted(reply) as server:
        client = new(server.url, token="a-secret")
        with pytest.raises(error) as raised:
            await client.get("/v1/kv/nodegate/x")
    assert words in str(raised.value)
    assert "a-secret" not in f"{raised.value} {client!r}"


async def test_the_token_goes_with_every_request_and_a_changed_one_counts(
    new: Callable[..., ConsulClient],
) -> None:
    tokens = iter(["one", "two"])
    async with scripted(ok()) as server:
        client = new(server.url, token=lambda: next(tokens))
        await client.get("/v1/x")
        await client.put("/v1/y", {"a": 1})
    assert ["one" in server.heads[0], "two" in server.heads[1]] == [True, True]


async def test_reads_move_to_the_next_address_and_stay_there(new: Callable[..., ConsulClient]) -> None:
    async with scripted(LEADERLESS) as ill, scripted(ok("[1]")) as well:
        client = new(f"http://127.0.0.1:{free_port()}", ill.url, well.url)
        assert (await client.get("/v1/x", index=5)).value == [1]
        assert (await client.get("/v1/x")).value == [1]
        assert client.current == well.url
    assert ill.asked == ["GET /v1/x?consistent="]
    assert well.asked == ["GET /v1/x?consistent=", "GET /v1/x"]  # without the index: it was another server's


async def test_all_addresses_are_named_when_none_answers(new: Callable[..., ConsulClient]) -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(Unavailable) as raised:
        await new(*urls).get("/v1/x")
    assert all(f"{url}: connection refused" in str(raised.value) for url in urls)


async def test_a_stale_answer_is_taken_only_where_it_is_allowed_and_nothing_better_is_to_be_had(
    new: Callable[..., ConsulClient],
) -> None:
    async with scripted(LEADERLESS, LEADERLESS, ok("[1]")) as server:
        client = new(server.url)
        with pytest.raises(Unavailable):
            await client.get("/v1/x")
        reply = await client.get("/v1/x", stale=True)
        assert (reply.value, reply.fresh) == ([1], False)
    assert server.asked[-1] == "GET /v1/x?stale="


async def test_a_write_is_sent_again_only_when_it_cannot_have_happened(
    new: Callable[..., ConsulClient],
) -> None:
    async with scripted(LEADERLESS) as ill, scripted(ok("true")) as well:
        assert await new(f"http://127.0.0.1:{free_port()}", ill.url, well.url).put("/v1/kv/a", b"1") is True
    async with scripted(ok(), hang=True) as hanging, scripted(ok("true")) as other:
        with pytest.raises(Unavailable, match="no answer"):
            await new(hanging.url, other.url, timeout=Seconds(0.3)).put("/v1/kv/a", b"1")
    assert other.asked == []


async def test_what_belongs_to_one_agent_is_asked_of_no_other(new: Callable[..., ConsulClient]) -> None:
    async with scripted(ok("null")) as other:
        with pytest.raises(Unavailable):
            await new(f"http://127.0.0.1:{free_port()}", other.url).put("/v1/agent/check/pass/a", local=True)
    assert other.asked == []


async def test_the_data_centre_is_named_but_to_the_agent(new: Callable[..., ConsulClient]) -> None:
    async with scripted(ok("{}")) as server:
        client = new(server.url, datacenter="dc2")
        await client.get("/v1/catalog/services")
        await client.get("/v1/agent/self")
    assert server.asked == ["GET /v1/catalog/services?dc=dc2&consistent=", "GET /v1/agent/self"]


async def test_a_closed_client_says_that_it_is_closed(new: Callable[..., ConsulClient]) -> None:
    client = new("http://127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(Unavailable, match="stopping"):
        await client.get("/v1/x")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConsulAgent, Path]]:
    consul_binary()
    files = certificates(tmp_path_factory.mktemp("pki"))
    with ConsulAgent(tls=files) as agent:
        yield agent, files.ca


async def test_tls_is_verified_against_the_given_authority(
    new: Callable[..., ConsulClient], secure: tuple[ConsulAgent, Path]
) -> None:
    agent, authority = secure
    client = new(agent.https, tls=ssl.create_default_context(cafile=authority))
    assert "consul" in (await client.get("/v1/catalog/services")).value
    with pytest.raises(Unavailable, match="certificate"):
        await new(agent.https).get("/v1/catalog/services")


async def test_a_blocking_read_wakes_for_a_change_and_otherwise_ends_by_itself(
    new: Callable[..., ConsulClient], secure: tuple[ConsulAgent, Path]
) -> None:
    agent, _ = secure
    client = new(agent.url)
    index = (await client.get("/v1/kv/blocking", params={"recurse": ""}, absent=True)).index
    assert index >= 1

    async def asked(wait: float) -> object:
        return (await client.get("/v1/kv/blocking", params={"recurse": ""}, index=index, wait=Seconds(wait), absent=True)).value  # fmt: skip

    assert await asked(0.2) is None
    waiting: Awaitable[object] = asyncio.create_task(asked(60.0))
    await client.put("/v1/kv/blocking/a", b"1")
    assert await waiting


def _has(agent: ConsulAgent, key: str) -> bool:
    try:
        return bool(agent.get(f"/v1/kv/{key}?stale"))
    except ConsulError:
        return False


@pytest.mark.scenario
async def test_a_server_that_reads_its_log_again_is_not_believed_before_its_end(
    new: Callable[..., ConsulClient],
) -> None:
    consul_binary()
    last = 3000
    with ConsulAgent(durable=True) as agent:
        client = new(agent.url)
        for number in range(last + 1):
            await client.put("/v1/kv/counted", str(number))
        agent.kill()
        with pytest.raises(Unavailable):
            await client.get("/v1/kv/counted")
        agent.launch()
        seen: list[str] = []

        async def told() -> bool:
            with suppress(Unavailable):
                reply = await client.get("/v1/kv/counted", absent=True)
                seen.append(base64.b64decode(reply.value[0]["Value"]).decode() if reply.value else "nothing")
            return bool(seen)

        await until(told, within=60, every=0.001, what="Consul answers")
    assert seen == [str(last)]


@pytest.mark.scenario
async def test_without_a_quorum_stale_reads_go_on_and_writes_say_why_not(
    new: Callable[..., ConsulClient],
) -> None:
    consul_binary()
    with ConsulServers() as servers:
        client = new(*servers.urls)
        await client.put("/v1/kv/a", b"1")
        for agent in servers.agents:
            await until(lambda agent=agent: _has(agent, "a"), what="every server has the key")
        dead = servers.leader()
        dead.kill()
        next(agent for agent in servers.agents if agent.alive).kill()

        async def leaderless() -> bool:
            try:
                await client.put("/v1/kv/a", b"2")
            except Unavailable:
                return True
            return False

        await until(leaderless, what="there is no leader")
        reply = await client.get("/v1/kv/a", stale=True)
        assert reply.value[0]["Key"] == "a"
        with pytest.raises(Unavailable):
            await client.get("/v1/kv/a")
        dead.start(ready=False)

        async def written() -> bool:
            try:
                await client.put("/v1/kv/a", b"3")
            except Unavailable:
                return False
            return True

        await until(written, within=60, what="there is a leader again")
