"""What clients meet and what operators can rely on, with a real HAProxy and nodes that speak raw HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from certificates import Authority
from dataplane_support import (
    EVM,
    IRI,
    WEBSOCKET,
    Client,
    Request,
    Rig,
    Stream,
    call,
    drained,
    http,
    resting,
    server,
)
from nodegate.dataplane import serverchanges
from nodegate.dataplane.binary import find_haproxy
from nodegate.dataplane.process import HaproxyProcess
from nodegate.errors import Conflict, Unavailable
from nodegate.haproxy.config import Config, Defaults, Frontend, Global, to_text, words
from nodegate.haproxy.paths import Paths
from nodegate.model import Change, ChangeKind, ServerState, Traffic
from nodegate.settings import Settings
from support import free_port, until

pytestmark = pytest.mark.scenario


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig() as rig:
        yield rig


# ---- servers at run time -------------------------------------------------------------------------------


async def test_a_pool_without_nodes_answers_503_in_the_form_of_its_kind() -> None:
    document = {"pools": {"main": {}, "evm": {}}}
    async with Rig(document, main=IRI, evm=EVM) as rig, rig.client() as client:
        iri = await client.send("POST", "/", call("getNodeInfo"))
        evm = await client.send("POST", "/evm", b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}')
    assert (iri.status, evm.status) == (503, 503)
    assert iri.headers["content-type"] == "application/json"
    assert iri.headers["retry-after"] == "1"
    assert iri.json == {"error": "pool main: no node can take the request now, try again soon"}
    assert evm.json["error"]["code"] == -32000
    assert "pool evm" in evm.json["error"]["message"]


async def test_a_node_serves_as_soon_as_it_is_added_and_is_named_in_the_response(rig: Rig) -> None:
    node = await rig.node("node-1", lambda _: http(headers="X-Nodegate-Node: forged\r\n"))
    await rig.add(server(node))
    async with rig.client() as client:
        response = await client.send("POST", "/", call("getNodeInfo"))
    assert (response.status, response.headers["x-nodegate-node"]) == (200, "node-1")
    assert len(node.requests) == 1


async def test_haproxy_reports_a_server_as_it_was_added(rig: Rig) -> None:
    node = await rig.node("n")
    ready = server(node, weight=7, maxconn=3)
    others = (
        server(node, name="tls", tls=True, sni="node.example", state=ServerState.DRAIN),
        server(node, name="own", tls=True, verify=False, state=ServerState.MAINT),
        server(node, name="v6", address="::1", state=ServerState.MAINT),
    )
    await rig.add(ready, *others)
    running = (await rig.driver.running()).routing
    for item in (ready, *others):
        seen = running.servers[item.backend, item.name]
        assert replace(seen, marked_down=False) == item
    assert running.skeleton == rig.shape.skeleton
    assert running.maps == rig.shape.maps


async def test_every_change_of_a_server_is_seen_in_haproxy(rig: Rig) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    item = server(one)
    await rig.add(item)
    for kind, changed in (
        (ChangeKind.SET_WEIGHT, replace(item, weight=12)),
        (ChangeKind.SET_MAXCONN, replace(item, weight=12, maxconn=9)),
        (ChangeKind.SET_MAXCONN, replace(item, weight=12, maxconn=None)),
        (ChangeKind.SET_ADDRESS, replace(item, weight=12, port=two.port)),
        (ChangeKind.SET_STATE, drained(replace(item, weight=12, port=two.port))),
        (ChangeKind.SET_STATE, replace(item, weight=12, port=two.port)),
    ):
        assert await rig.do(kind, changed) == ()
        assert await rig.server("one") == changed
    async with rig.client() as client:
        await client.send()
    assert (len(one.requests), len(two.requests)) == (0, 1)


async def test_draining_lets_the_request_under_way_finish_and_takes_no_new_one(rig: Rig) -> None:
    old, new = await rig.node("old"), await rig.node("new")
    await rig.add(server(old))
    old.gate.clear()
    async with rig.client() as slow, rig.client() as client:
        under_way = asyncio.create_task(slow.send())
        await until(lambda: old.requests, what="the request reaches the node")
        await rig.add(server(new))
        await rig.do(ChangeKind.SET_STATE, drained(server(old)))
        for _ in range(4):
            assert (await client.send()).headers["x-nodegate-node"] == "new"
        assert (await rig.server("old")).sessions == 1
        (refusal,) = await rig.do(ChangeKind.DELETE, server(old))
        assert refusal.startswith("delete pool_main/old: ")
        assert "still has connections" in refusal
        old.gate.set()
        assert (await under_way).headers["x-nodegate-node"] == "old"

    async def deleted() -> bool:
        return await rig.do(ChangeKind.DELETE, server(old)) == ()

    await until(deleted, what="the delete goes through once the node is idle")
    assert await rig.names() == {"new"}


async def test_maintenance_takes_a_server_out(rig: Rig) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    await rig.add(server(one), server(two))
    await rig.do(ChangeKind.SET_STATE, resting(server(one)))
    async with rig.client() as client:
        assert {(await client.send()).headers["x-nodegate-node"] for _ in range(4)} == {"two"}


async def test_weights_share_the_requests() -> None:
    async with Rig({"pools": {"main": {"balance": "roundrobin"}}}, main=Traffic()) as rig:
        heavy, light = await rig.node("heavy"), await rig.node("light")
        await rig.add(server(heavy, weight=30), server(light, weight=10))
        async with rig.client() as client:
            for _ in range(40):
                await client.send()
        assert (len(heavy.requests), len(light.requests)) == (30, 10)


@pytest.mark.parametrize("balance", ["leastconn", "roundrobin", "source", "first"])
async def test_every_balance_takes_servers_at_run_time(balance: str) -> None:
    async with Rig({"pools": {"main": {"balance": balance}}}, main=Traffic()) as rig:
        nodes = [await rig.node(f"n{number}") for number in range(3)]
        await rig.add(*map(server, nodes))
        async with rig.client() as client:
            seen = {(await client.send()).headers["x-nodegate-node"] for _ in range(9)}
    assert len(seen) == (1 if balance in {"source", "first"} else 3)


async def test_a_refusal_names_the_server_and_the_other_changes_are_done(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    (refusal,) = await rig.do(ChangeKind.ADD, server(node), server(node, name="other"))
    assert refusal.startswith("add pool_main/n: ")
    assert await rig.names() == {"n", "other"}


async def test_servers_can_be_added_after_others_were_deleted_and_after_a_reload(rig: Rig) -> None:
    nodes = [server(await rig.node(f"n{place}")) for place in range(5)]
    await rig.add(nodes[0], nodes[1])
    await rig.driver.running()
    await rig.add(nodes[2])
    assert await rig.do(ChangeKind.DELETE, nodes[1]) == ()
    await rig.add(nodes[1], nodes[3])
    assert await rig.reload() == ()
    await rig.add(nodes[4])
    assert await rig.names() == {item.name for item in nodes}
    assert await rig.do(ChangeKind.DELETE, nodes[4]) == ()
    await rig.add(nodes[4])
    assert await rig.names() == {item.name for item in nodes}


async def test_servers_that_take_too_long_to_add_are_left_to_the_next_pass(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    monkeypatch.setattr(serverchanges, "CONVERSATION", 2)
    monkeypatch.setattr(serverchanges, "ADD_BUDGET", -1.0)
    adds = [Change(kind=ChangeKind.ADD, why="test", server=server(node, name=f"n{n}")) for n in range(5)]
    weight = Change(kind=ChangeKind.SET_WEIGHT, why="test", server=server(node, weight=3))
    assert await rig.apply([*adds, weight]) == ()
    assert await rig.names() == {"n"}
    assert (await rig.server("n")).weight == 3
    monkeypatch.setattr(serverchanges, "ADD_BUDGET", 60.0)
    assert await rig.apply(adds) == ()
    assert await rig.names() == {"n", "n0", "n1", "n2", "n3", "n4"}


# ---- failing nodes -------------------------------------------------------------------------------------


async def test_the_first_refused_connection_takes_a_node_out_and_no_client_notices(rig: Rig) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    await rig.add(server(one), server(two))
    await one.stop()
    async with rig.client() as client:
        for _ in range(20):
            response = await client.send("POST", "/", call("attachToTangle"))
            assert (response.status, response.headers["x-nodegate-node"]) == (200, "two")
    assert (await rig.server("one")).marked_down
    running = await rig.driver.running()
    assert running.traffic["pool_main", "one"].errors == 1


async def test_haproxy_brings_a_node_back_by_itself(rig: Rig) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    await rig.add(server(one), server(two))
    await one.stop()
    async with rig.client() as client:
        await client.send()
        await client.send()
        assert (await rig.server("one")).marked_down
        await one.start()

        async def back() -> bool:
            return not (await rig.server("one")).marked_down

        await until(back, within=5, what="HAProxy's own check finds the node again")


@pytest.mark.parametrize(
    "fault", [None, http(status=502), http(status=503), http(status=504), b"garbage\r\n\r\n"]
)
async def test_an_idempotent_call_is_sent_to_another_node(rig: Rig, fault: bytes | None) -> None:
    bad, good = await rig.node("bad", lambda _: fault), await rig.node("good")
    await rig.add(server(bad), server(good))
    async with rig.client() as client:
        for _ in range(6):
            response = await client.send("POST", "/", call("getNodeInfo"))
            assert (response.status, response.headers["x-nodegate-node"]) == (200, "good")
    assert bad.requests
    assert good.requests[0].body == call("getNodeInfo")


@pytest.mark.parametrize(
    "body",
    [
        call("attachToTangle"),
        b'[{"command":"getNodeInfo"},{"command":"getNodeInfo"}]',
        b"",
        b"not json",
        b'{"command": 7}',
        b'{"outer": {"command": "getNodeInfo"}}',
    ],
)
async def test_what_may_not_be_sent_twice_reaches_one_node_only(rig: Rig, body: bytes) -> None:
    bad, good = await rig.node("bad", lambda _: http(status=503)), await rig.node("good")
    await rig.add(server(bad), server(good))
    async with rig.client() as client:
        statuses = {(await client.send("POST", "/", body)).status for _ in range(6)}
    assert statuses == {200, 503}
    assert len(bad.requests) + len(good.requests) == 6


async def test_a_nodes_500_is_the_clients_answer(rig: Rig) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    for node in (one, two):
        node.answer = lambda _: http(b'{"error":"Invalid parameters"}', status=500)
        await rig.add(server(node))
    async with rig.client() as client:
        response = await client.send("POST", "/", call("getNodeInfo"))
    assert (response.status, response.json) == (500, {"error": "Invalid parameters"})
    assert len(one.requests) + len(two.requests) == 1


async def test_a_silent_node_is_given_up_for_another_one() -> None:
    document = {"pools": {"main": {"server_timeout": 0.3}}}
    async with Rig(document) as rig:
        bad, good = await rig.node("bad"), await rig.node("good")
        bad.gate.clear()
        await rig.add(server(bad, weight=256), server(good, weight=1))
        async with rig.client() as client:
            response = await client.send("POST", "/", call("getNodeInfo"))
            assert (response.status, response.headers["x-nodegate-node"]) == (200, "good")
            await rig.do(ChangeKind.SET_STATE, resting(server(good)))
            response = await client.send("POST", "/", call("attachToTangle"))
        assert (response.status, response.json["error"]) == (504, "pool main: no node answered in time")


async def test_large_bodies_pass_whole(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    body = call("getNodeInfo", padding="9" * 400_000)
    async with rig.client() as client:
        assert (await client.send("POST", "/", body)).status == 200
    assert node.requests[0].body == body


async def test_a_full_node_makes_requests_wait_and_then_fail_in_words() -> None:
    document = {"pools": {"main": {"queue_timeout": 0.2}}}
    async with Rig(document) as rig:
        node = await rig.node("n")
        await rig.add(server(node, maxconn=1))
        node.gate.clear()
        async with rig.client() as first, rig.client() as second:
            under_way = asyncio.create_task(first.send())
            await until(lambda: node.requests)
            assert (await second.send()).status == 503
            node.gate.set()
            assert (await under_way).status == 200


# ---- what clients may and may not do -------------------------------------------------------------------


async def test_clients_cannot_forge_who_they_are(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    forged = {
        "X-Request-Id": "forged", "X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66",
        "X-Real-IP": "192.0.2.66", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "forged",
    }  # fmt: skip
    async with rig.client() as client:
        response = await client.send(headers=forged)
    seen = node.requests[0].headers
    assert response.headers["x-request-id"] == seen["x-request-id"]
    assert len(seen["x-request-id"]) == 32
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert "x-forwarded-proto" not in seen
    assert "x-forwarded-host" not in seen
    assert "forwarded" not in seen
    assert "x-real-ip" not in seen


async def test_what_a_node_says_of_its_connection_is_not_passed_on(rig: Rig) -> None:
    node = await rig.node("n", lambda _: http(headers="Keep-Alive: timeout=500, max=100\r\nX-Kept: yes\r\n"))
    await rig.add(server(node))
    async with rig.client() as client:
        headers = (await client.send()).headers
    assert headers["x-kept"] == "yes"
    assert "keep-alive" not in headers


async def test_headers_can_be_switched_off() -> None:
    document = {"gateway": {"node_header": "", "request_id_header": ""}}
    async with Rig(document) as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        async with rig.client() as client:
            response = await client.send()
    assert not {"x-nodegate-node", "x-request-id"} & response.headers.keys()


async def test_paths_and_hosts_lead_to_pools_and_prefixes_are_cut() -> None:
    document = {
        "pools": {
            "main": {"kind": "iri"},
            "evm": {"kind": "evm", "upstream_path": "/v1/evm", "upstream_host": "inner.example"},
            "deep": {"paths": ["/a/b"]},
            "keep": {"paths": ["/keep"], "strip_path": False},
            "host": {"hosts": ["Host.example"]},
        }
    }
    seen: list[Request] = []

    def answer(request: Request) -> bytes:
        seen.append(request)
        return http()

    async with Rig(document, main=IRI, evm=EVM) as rig:
        for pool in ("main", "evm", "deep", "keep", "host"):
            node = await rig.node(f"in-{pool}", answer)
            await rig.add(server(node, pool))
        table = {
            "/": ("in-main", "/"),
            "/x?y=1": ("in-main", "/x?y=1"),
            "/evm": ("in-evm", "/v1/evm"),
            "/evm/": ("in-evm", "/v1/evm"),
            "/evm/x/y?z=/evm": ("in-evm", "/v1/evm/x/y?z=/evm"),
            "/evmos": ("in-main", "/evmos"),
            "/a/b/c": ("in-deep", "/c"),
            "/a/b": ("in-deep", "/"),
            "/a/bc": ("in-main", "/a/bc"),
            "/keep/x": ("in-keep", "/keep/x"),
        }
        async with rig.client() as client:
            for path, expected in table.items():
                response = await client.send(path=path)
                assert (response.headers["x-nodegate-node"], seen[-1].path) == expected, path
            await client.send(path="/evm")
            assert seen[-1].headers["host"] == "inner.example"
            for host in ("host.example", "HOST.example:14267", "host.example."):
                response = await client.send(path="/evm", headers={"Host": host})
                assert (response.headers["x-nodegate-node"], seen[-1].path) == ("in-host", "/evm"), host


async def test_no_pool_is_a_404_and_a_route_can_be_added_without_a_reload() -> None:
    async with Rig({"pools": {"evm": {"kind": "evm"}}}, evm=EVM) as rig:
        node = await rig.node("n")
        await rig.add(server(node, "evm"))
        before = (await rig.driver.running()).pid
        async with rig.client() as client:
            response = await client.send(path="/new/x")
            assert (response.status, response.json) == (404, {"error": "no pool serves this host and path"})
            entries = rig.shape.maps["routes"] | {"/new/": "evm/1"}
            change = Change(kind=ChangeKind.SET_MAP, why="test", map_name="routes", entries=entries)
            maps = dict(rig.shape.maps) | {"routes": entries}
            assert await rig.apply([change], replace(rig.shape, maps=maps)) == ()
            assert (await client.send(path="/new/x")).status == 200
        assert node.requests[-1].path == "/x"
        running = await rig.driver.running()
        assert (running.pid, running.routing.maps["routes"]) == (before, entries)


async def test_a_map_of_many_entries_is_replaced_in_one_step(rig: Rig) -> None:
    entries = {f"main/method{number}": "idempotent" for number in range(3000)}
    change = Change(kind=ChangeKind.SET_MAP, why="test", map_name="methods", entries=entries)
    assert await rig.apply([change]) == ()
    assert (await rig.driver.running()).routing.maps["methods"] == entries


async def test_websockets_pass_and_other_upgrades_do_not(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    async with rig.client() as client:
        response = await client.send(path="/ws", headers=WEBSOCKET)
        assert response.status == 101
        client.writer.write(b"\x81\x05hello")
        assert await client.reader.readexactly(7) == b"\x81\x05hello"
    async with rig.client() as client:
        response = await client.send(headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"})
        assert response.status == 200
        assert "upgrade" not in node.requests[-1].headers


async def test_a_pool_can_refuse_websockets() -> None:
    async with Rig({"pools": {"main": {"websocket": False}}}) as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        async with rig.client() as client:
            response = await client.send(headers=WEBSOCKET)
            assert (response.status, response.json) == (403, {"error": "this pool takes no WebSocket"})
            assert (await client.send()).status == 200
    assert len(node.requests) == 1


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_methods_that_belong_to_proxies_are_refused(rig: Rig, method: str) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    async with rig.client() as client:
        path = "gateway.example:80" if method == "CONNECT" else "/"
        assert (await client.send(method, path)).status == 405
    assert node.requests == []


async def test_a_request_that_never_ends_is_cut_off() -> None:
    async with Rig({"gateway": {"client_timeout": 0.3}}) as rig, rig.client() as client:
        client.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert (await client.response()).status == 408
    async with Rig({"gateway": {"client_timeout": 0.3}}) as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        async with rig.client() as client:
            client.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert (await client.response()).status == 408
        assert node.requests == []


H2_GET = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS
    b"\x00\x00\x06\x01\x05\x00\x00\x00\x01"  # HEADERS, end of headers and stream, stream 1
    b"\x82\x86\x84\x41\x01x"  # GET, http, /, authority x
)


async def h2_status(reader: asyncio.StreamReader) -> bytes:
    """First byte of stream 1's response headers; 0x88 is `:status: 200` in HPACK's static table."""
    async with asyncio.timeout(10):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == 1:
                block = payload
                # a dynamic table size update (001xxxxx) may come first
                return block[1:2] if block[0] & 0xE0 == 0x20 else block[:1]


async def test_http2_without_tls_is_spoken_by_prior_knowledge(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    async with rig.client() as client:
        client.writer.write(H2_GET)
        assert await h2_status(client.reader) == b"\x88"
    assert node.requests[0].headers["x-forwarded-for"] == "127.0.0.1"


# ---- TLS -----------------------------------------------------------------------------------------------


async def peer_certificate(port: int) -> tuple[bytes, str | None]:
    """The certificate the gateway shows, and the protocol it chooses."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        protocol = connection.selected_alpn_protocol()
        writer.write(H2_GET)
        assert await h2_status(reader) == b"\x88"
        return found, protocol
    finally:
        writer.transport.abort()


async def test_a_changed_certificate_is_served_without_a_reload_and_a_bad_one_is_not(
    tmp_path: Path,
) -> None:
    authority = Authority()
    file = tmp_path / "gateway.pem"
    first, second = authority.issue("gateway.example"), authority.issue("gateway.example")
    file.write_text(first)
    async with Rig({"gateway": {"tls_certificate": str(file)}}) as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        pid = (await rig.driver.running()).pid
        shown, protocol = await peer_certificate(rig.port)
        assert (shown, protocol) == (ssl.PEM_cert_to_DER_cert(_first_block(first)), "h2")
        assert await rig.driver.refresh_certificate() is False

        file.write_text(second)
        assert await rig.driver.refresh_certificate() is True
        expected = ssl.PEM_cert_to_DER_cert(_first_block(second))
        assert (await peer_certificate(rig.port))[0] == expected

        for bad in (
            "nonsense",
            _first_block(first),
            _first_block(first) + second[second.index("-----BEGIN PRIVATE") :],
        ):
            file.write_text(bad)
            with pytest.raises(Exception, match=r"gateway\.pem"):
                await rig.driver.refresh_certificate()
        assert (await peer_certificate(rig.port))[0] == expected
        assert (await rig.driver.running()).pid == pid

        assert await rig.reload() == ()  # the file is still bad: the last good copy goes on
        assert (await peer_certificate(rig.port))[0] == expected


async def test_a_tls_node_serves_only_with_the_name_and_authority_it_must_have(
    tmp_path: Path,
) -> None:
    authority = Authority()
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.pem)
    async with Rig({"pools": {"main": {"tls_ca": str(ca)}}}) as rig:
        good = await rig.node("good", tls=authority.context(tmp_path, "good.example"))
        wrong = await rig.node("wrong", tls=authority.context(tmp_path, "wrong.example"))
        alien = await rig.node("alien", tls=Authority().context(tmp_path, "good.example"))
        await rig.add(
            *(server(node, tls=True, sni="good.example", state=ServerState.MAINT) for node in rig.nodes)
        )

        async def status_of(name: str, **more: object) -> int:
            node = {"good": good, "wrong": wrong, "alien": alien}[name]
            await rig.do(ChangeKind.SET_STATE, server(node, tls=True, sni="good.example"))
            async with rig.client() as client:
                status = (await client.send()).status
            await rig.do(ChangeKind.SET_STATE, server(node, state=ServerState.MAINT))
            return status

        assert await status_of("good") == 200
        assert await status_of("wrong") == 503
        assert await status_of("alien") == 503
        await rig.add(server(alien, name="unverified", tls=True, verify=False))
        async with rig.client() as client:
            assert (await client.send()).headers["x-nodegate-node"] == "unverified"


async def test_an_https_node_that_nothing_could_verify_is_refused_in_words(rig: Rig) -> None:
    node = await rig.node("n")
    (refusal,) = await rig.do(ChangeKind.ADD, server(node, tls=True))
    assert "tls_verify = false" in refusal
    assert await rig.reload() == ()  # and it does not spoil the configuration file
    assert await rig.names() == set()


def _first_block(pem: str) -> str:
    end = "-----END CERTIFICATE-----\n"
    return pem[: pem.index(end) + len(end)]


# ---- reload, death and adoption ------------------------------------------------------------------------


async def test_changes_under_load_cost_no_request(rig: Rig) -> None:
    nodes = [await rig.node(f"n{number}") for number in range(4)]
    await rig.add(server(nodes[0]))
    async with Stream(rig) as stream:
        for node in nodes[1:]:
            await rig.add(server(node))
            await stream.more(20)
        for node in nodes[:2]:
            await rig.do(ChangeKind.SET_STATE, drained(server(node)))
            await stream.more(20)
            await until(lambda node=node: _gone(rig, node), what="the drained node is deleted")
        await stream.more()
    assert stream.failed == []
    assert await rig.names() == {"n2", "n3"}


async def _gone(rig: Rig, node: object) -> bool:
    return await rig.do(ChangeKind.DELETE, server(node)) == ()  # type: ignore[arg-type]


async def test_a_reload_keeps_servers_and_states_and_costs_no_request(rig: Rig) -> None:
    one, two, three = [await rig.node(name) for name in ("one", "two", "three")]
    await rig.add(server(one, weight=3, maxconn=50), server(two), server(three))
    await rig.do(ChangeKind.SET_STATE, resting(server(three)))
    before = await rig.driver.running()
    async with Stream(rig, connections=8) as stream:
        for _ in range(3):
            assert await rig.reload() == ()
            await stream.more(100)
    assert stream.failed == []
    after = await rig.driver.running()
    assert after.pid != before.pid
    still = {key: replace(item, sessions=0) for key, item in after.routing.servers.items()}
    assert still == before.routing.servers


async def test_a_server_that_a_reload_found_resting_can_be_made_ready(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    await rig.do(ChangeKind.SET_STATE, resting(server(node)))
    assert await rig.reload() == ()
    await rig.do(ChangeKind.SET_STATE, server(node))
    (found,) = (await rig.driver.running()).routing.servers.values()
    assert found.state is ServerState.READY
    async with rig.client() as client:
        assert (await client.send()).status == 200


async def test_a_new_pool_needs_a_reload_and_gets_one(rig: Rig) -> None:
    shape = rig.driver.shape(["main", "late"], {"main": IRI})
    assert shape.skeleton != (await rig.driver.running()).routing.skeleton
    assert await rig.reload(shape) == ()
    running = (await rig.driver.running()).routing
    assert (running.skeleton, running.maps) == (shape.skeleton, shape.maps)
    node = await rig.node("n")
    await rig.add(server(node, "late"))
    async with rig.client() as client:
        assert (await client.send(path="/late")).status == 200


async def test_a_reload_that_haproxy_refuses_leaves_everything_as_it_was(rig: Rig) -> None:
    node, later = await rig.node("n"), await rig.node("later")
    await rig.add(server(node))
    before = await rig.driver.running()
    files = _files(rig)
    with_bad_ca = rig.state / "not-a-ca.pem"
    with_bad_ca.write_text("nonsense")
    rig.settings = Settings.model_validate(
        {"gateway": {"listen": [f"127.0.0.1:{rig.port}"]}, "pools": {"main": {"tls_ca": str(with_bad_ca)}}}
    )
    rig.new_driver()
    change = Change(kind=ChangeKind.RELOAD, why="new authorities")
    rig.wanted["pool_main", "later"] = server(later)
    add = Change(kind=ChangeKind.ADD, why="test", server=server(later))
    (refusal,) = await rig.apply([change, add])
    assert "not-a-ca.pem" in refusal
    assert "last good configuration stays in force" in refusal
    after = await rig.driver.running()
    assert (after.pid, after.routing.skeleton) == (before.pid, before.routing.skeleton)
    assert await rig.names() == {"n", "later"}  # the other change was done all the same
    assert _files(rig).keys() == files.keys()
    assert "later" in _files(rig)["haproxy.cfg"]
    assert str(with_bad_ca) not in _files(rig)["haproxy.cfg"]


def _files(rig: Rig) -> dict[str, str]:
    directory = rig.driver.paths.directory
    return {path.name: path.read_text() for path in directory.glob("haproxy.cfg*")}


@pytest.mark.parametrize("victim", ["master", "worker"])
async def test_a_killed_haproxy_is_started_again_with_the_same_servers(rig: Rig, victim: str) -> None:
    one, two = await rig.node("one"), await rig.node("two")
    await rig.add(server(one, weight=7), server(two))
    await rig.do(ChangeKind.SET_STATE, resting(server(two)))
    before = await rig.driver.running()
    pid = before.pid if victim == "worker" else await _master(rig)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: _dead(rig), what="the driver notices")

    async def started() -> str | None:
        try:
            return await rig.driver.ensure()
        except Unavailable:
            return None  # the master is still dying

    assert "started HAProxy" in await until(started)
    assert await rig.driver.ensure() is None
    after = await rig.driver.running()
    assert after.routing == before.routing
    async with rig.client() as client:
        assert (await client.send()).headers["x-nodegate-node"] == "one"


async def _dead(rig: Rig) -> bool:
    try:
        await rig.driver.running()
    except Unavailable:
        return True
    return False


async def _master(rig: Rig) -> int:
    found = await rig.driver._process.processes()
    assert found is not None
    return found.master


PARENT = """
import asyncio, json, sys
from pathlib import Path
from nodegate.dataplane.driver import HaproxyDriver
from nodegate.settings import Settings
from nodegate.model import Traffic
driver = HaproxyDriver(Settings.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]))
driver.shape(["main"], {"main": Traffic(method_key="command", idempotent=frozenset(["getNodeInfo", "findTransactions"]))})
print(asyncio.run(driver.ensure()), flush=True)
sys.stdin.read()
"""


async def test_a_killed_nodegate_leaves_haproxy_serving_and_the_next_one_adopts_it() -> None:
    rig = Rig()
    document = json.dumps({"gateway": {"listen": list(rig.settings.gateway.listen)}})
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, document, str(rig.state),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert b"started" in await parent.stdout.readline()
    said = await rig.driver.ensure()
    assert said is not None
    assert said.startswith("adopted the running HAProxy, version 2.")
    async with rig:
        node = await rig.node("n")
        await rig.add(server(node))
        async with Stream(rig) as stream:
            before = await rig.driver.running()
            parent.kill()
            await parent.wait()
            await stream.more()
            adopter = rig.new_driver()
            assert await adopter.ensure() is not None
            after = await adopter.running()
            await stream.more()
        assert stream.failed == []
        assert after.pid == before.pid
        assert after.routing.skeleton == rig.shape.skeleton


async def test_haproxy_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(rig: Rig) -> None:
    assert os.getsid(await _master(rig)) != os.getsid(0)


async def test_stop_lets_requests_finish_and_ends_every_process() -> None:
    async with Rig() as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        node.gate.clear()
        pids = [await _master(rig), (await rig.driver.running()).pid]
        async with rig.client() as client, rig.client() as idle:
            under_way = asyncio.create_task(client.send())
            await until(lambda: node.requests)
            stopping = asyncio.create_task(rig.driver.stop(grace=10))
            await until(lambda: _refuses(rig.port), what="no new connections")
            assert not under_way.done()
            node.gate.set()
            assert (await under_way).status == 200
            async with asyncio.timeout(5):  # the idle client does not hold it up
                await stopping
            assert await idle.reader.read(1) == b""
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        with pytest.raises(Unavailable, match="does not run"):
            await rig.driver.running()
        assert "started" in str(await rig.driver.ensure())
        assert await rig.names() == set()  # an ordered stop forgets the servers


async def _refuses(port: int) -> bool:
    try:
        async with Client(port):
            return False
    except ConnectionRefusedError:
        return True


async def test_a_port_in_use_is_named_and_nothing_is_half_started() -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", free_port())
    port = taken.sockets[0].getsockname()[1]
    rig = Rig({"gateway": {"listen": [f"127.0.0.1:{port}"]}})
    async with taken:
        with pytest.raises(Conflict, match=rf"127\.0\.0\.1:{port} is in use by another program"):
            await rig.driver.ensure()
        assert await rig.driver._process.processes() is None
    await taken.wait_closed()
    async with rig:
        assert (await rig.driver.running()).routing.servers == {}


async def test_two_gateways_do_not_share_a_port_in_silence(rig: Rig) -> None:
    with pytest.raises(Conflict, match="is in use"):
        async with Rig({"gateway": {"listen": list(rig.settings.gateway.listen)}}):
            pass


async def test_a_damaged_configuration_file_is_replaced_by_a_good_one() -> None:
    async with Rig() as rig:
        node = await rig.node("n")
        await rig.add(server(node))
        os.kill(await _master(rig), signal.SIGKILL)
        await until(lambda: _dead(rig), what="HAProxy is gone")
        rig.driver.paths.config.write_text("backend pool_main\n    server n 127.0.0.1:1 nonsense\n\x00\xff")
        assert "started" in str(await rig.driver.ensure())
        assert (await rig.driver.running()).routing.skeleton == rig.shape.skeleton


async def test_the_exporter_is_reached_through_the_driver_only(rig: Rig) -> None:
    node = await rig.node("n")
    await rig.add(server(node))
    text = await rig.driver.metrics()
    assert b"haproxy_process_uptime_seconds" in text
    assert b'server="n"' in text
    assert rig.driver.paths.exporter_socket.stat().st_mode & 0o077 == 0
    async with rig.client() as client:
        assert (await client.send(path="/metrics")).headers["x-nodegate-node"] == "n"


async def test_files_and_sockets_are_private(rig: Rig) -> None:
    directory = rig.driver.paths.directory
    for path in (directory, *directory.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


# ---- HAProxy as the judge of what we write ---------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=20, max_size=60)
)
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
def test_any_text_is_one_word_to_haproxy(texts: list[str]) -> None:
    """Each text becomes the value of a variable; HAProxy must report exactly these."""

    async def reported() -> tuple[str, ...]:
        directory = Path(tempfile.mkdtemp(prefix="ng-"))
        paths = Paths(directory=directory)
        lines = [words("stats", "socket", paths.runtime_socket, "level", "admin")]
        lines += [words("setenv", f"TEXT{number}", text) for number, text in enumerate(texts)]
        listener = Frontend(name="f", lines=(words("bind", directory / "f.sock"), words("mode", "http")))
        defaults = Defaults(
            lines=tuple(words("timeout", name, "1s") for name in ("client", "connect", "server"))
        )
        paths.config.write_text(
            to_text(Config(process=Global(lines=tuple(lines)), defaults=defaults, frontends=(listener,)))
        )
        haproxy = HaproxyProcess(find_haproxy(), paths)
        try:
            await haproxy.start([])
            return await haproxy.runtime.send([f"show env TEXT{number}" for number in range(len(texts))])
        finally:
            await haproxy.stop(grace=0)
            shutil.rmtree(directory)

    expected = tuple(f"TEXT{number}={text}" for number, text in enumerate(texts))
    assert tuple(reply.strip("\n") for reply in asyncio.run(reported())) == expected


async def test_hundreds_of_servers_are_added_under_load_without_a_failed_request(rig: Rig) -> None:
    node = await rig.node("live")
    await rig.add(server(node))
    many = [
        server(
            node,
            name=f"n{number}",
            address=f"127.0.{number // 250}.{number % 250 + 1}",
            state=ServerState.MAINT,
        )
        for number in range(500)
    ]
    async with Stream(rig) as stream:
        await rig.add(*many)
        await stream.more(20)
        assert await rig.do(ChangeKind.DELETE, *many) == ()
        await stream.more(20)
    assert stream.failed == []
    assert await rig.names() == {"live"}
