"""Ways to be somebody else, or to be asked for less, that lead nowhere: each one got past the gateway once."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import re
import socket

import pytest

from dataplane_support import http
from nodegate.policy.clients import client_address, key_hash
from nodegate.policy.guard import GuardRequest, guard
from policy_rig import BEHIND, PolicyRig, rule
from support import free_port

pytestmark = pytest.mark.scenario

PRICED = "[methods.getNodeInfo]\ncost = 100\n"
INFO = b'{"command":"getNodeInfo"}'
LOOPBACK = "127.0.0.0/8"

LONGEST_BAN = 24 * 86_400
"""Seconds that the admin API takes at most."""

HOPS = (
    "192.0.2.1", "127.0.0.1", "127.9.9.9", "9.9.9.9:80", "9.9.9.9:65536", "9.9.9.9:", "009.1.1.1", "0009.1.1.1",
    "256.1.1.1", "1.2.3", "1.2.3.4.5", "::1", "2001:DB8::A", "::ffff:192.0.2.1", "::ffff:0:192.0.2.1", "::192.0.2.1",
    "[::1]", "[::1]:80", "fe80::1%eth0", "2002:7f00:1::", "", "-", "unknown", '"', '"127.0.0.1"', '\\"', "for=1.2.3.4",
    "1.2.3.4;x", "0x7f.0.0.1", "2130706433", "127.1", "1::2::3", "::", "0.0.0.0", "+1.2.3.4",
)  # fmt: skip


def forwarded(source: random.Random) -> list[str]:
    """The lines of an X-Forwarded-For as clients and proxies may write them."""
    lines = [
        source.choice([",", ", ", " ,"]).join(source.choices(HOPS, k=source.randint(1, 5)))
        for _ in range(source.choice([1, 1, 2]))
    ]
    return [*lines[:-1], lines[-1] + source.choice(["", ", 127.0.0.1", ", 203.0.113.7"])]


async def test_haproxy_and_the_reference_find_the_same_client_in_whatever_proxies_and_clients_say() -> None:
    source = random.Random(20180115)
    async with PolicyRig() as rig, rig.client() as client:
        node = await rig.serve()
        for _ in range(300):
            lines = forwarded(source)
            headers = "".join(f"X-Forwarded-For: {line}\r\n" for line in lines)
            client.writer.write(
                f"POST / HTTP/1.1\r\nHost: x\r\nX-IOTA-API-Version: 1\r\n{headers}Content-Length: 25\r\n\r\n".encode()
                + b'{"command":"getNodeInfo"}'
            )
            assert (await client.response()).status == 200
            said = [line.strip().encode() for line in lines]
            expected = client_address(ipaddress.ip_address("127.0.0.1"), said, [LOOPBACK])
            assert ipaddress.ip_address(node.requests[-1].headers["x-forwarded-for"]) == expected, lines


async def test_a_lone_quote_does_not_hide_a_client_behind_its_trusted_proxy() -> None:
    """A proxy that appends to what it got makes `", CLIENT` of it."""
    toml = (
        f'[client]\ntrusted_proxies = ["{LOOPBACK}"]\ntrusted = ["{LOOPBACK}"]\ndenied = ["203.0.113.7/32"]\n'
    )
    async with PolicyRig(toml) as rig:
        node = await rig.serve()
        for lead in ('"', 'a"b', '"9.9.9.9", "'):
            assert rule(await rig.ask(by=f"{lead}, 203.0.113.7")) == "network-denied"
        assert (await rig.ask(by='"9.9.9.9", 192.0.2.1')).status == 200
        assert node.requests[-1].headers["x-forwarded-for"] == "192.0.2.1"


@pytest.mark.parametrize(
    "address", ["2002:c000:201::1", "::c000:201", "::ffff:0:c000:201", "64:ff9b::c000:201"]
)
async def test_an_ipv6_address_that_holds_a_listed_ipv4_address_is_not_that_address(address: str) -> None:
    toml = '[client]\ntrusted_proxies = ["127.0.0.0/8"]\ntrusted = ["192.0.2.0/24"]\n'
    async with PolicyRig(toml + PRICED + "[budget]\nper_10s = 200\nper_1m = 200\n") as rig:
        await rig.serve()
        assert [(await rig.ask(by=address)).status for _ in range(3)] == [200, 200, 429]
        assert [(await rig.ask(by="::ffff:192.0.2.1")).status for _ in range(3)] == [200, 200, 200]


async def test_an_address_that_holds_a_proxys_address_is_no_proxy() -> None:
    async with PolicyRig() as rig:
        node = await rig.serve()
        assert (await rig.ask(by="203.0.113.7, 2002:7f00:1::1")).status == 200
        assert node.requests[-1].headers["x-forwarded-for"] == "2002:7f00:1::1"


async def test_ipv4_clients_of_an_ipv6_listener_are_found_in_ipv4_networks() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    port = free_port()
    toml = '[client]\nallowed = ["127.0.0.0/8"]\ndenied = ["127.0.0.9/32"]\n'
    async with PolicyRig(toml, gateway={"listen": [f"[::]:{port}"]}) as rig:
        await rig.serve()
        for target, source, expected in (("127.0.0.1", "127.0.0.1", b"HTTP/1.1 200"), ("127.0.0.1", "127.0.0.9", b"network-denied"), ("::1", "::1", b"network-not-allowed")):  # fmt: skip
            reader, writer = await asyncio.open_connection(target, port, local_addr=(source, 0))
            writer.write(
                b"POST / HTTP/1.1\r\nHost: x\r\nX-IOTA-API-Version: 1\r\nContent-Length: 25\r\n\r\n" + INFO
            )
            async with asyncio.timeout(20):
                assert expected in await reader.readuntil(b"\r\n\r\n")
            writer.close()


@pytest.mark.parametrize("toml", ["", BEHIND], ids=["short way", "long way"])
async def test_what_a_node_tells_browsers_of_other_origins_is_not_passed_on(toml: str) -> None:
    open_node = "Access-Control-Allow-Origin: *\r\n"
    async with PolicyRig(toml + '[cors]\norigins = ["https://wallet.example"]\n') as rig:
        await rig.serve(answer=lambda _: http(headers=open_node))
        for headers in ({"Origin": "https://evil.example"}, {}):
            answer = await rig.ask(**headers)
            assert (answer.status, answer.headers.get("access-control-allow-origin")) == (200, None)
        allowed = await rig.ask(Origin="https://wallet.example")
        assert allowed.headers["access-control-allow-origin"] == "https://wallet.example"


async def test_browsers_may_ask_whether_they_may_send_a_key() -> None:
    toml = BEHIND + f'key_required = true\n[keys.app]\nhash = "{key_hash(b"secret")}"\n'
    async with PolicyRig(toml) as rig:
        node = await rig.serve()
        asked = await rig.ask(b"", method="OPTIONS", Origin="https://wallet.example")
        assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "*")
        assert rule(await rig.ask()) == "key-required"
        assert rule(await rig.ask(method="options")) == "key-required"
        assert rule(await rig.ask(b"", method="OPTIONS", X_Api_Key="guess")) == "key-unknown"
        assert node.requests == []
        policy = rig.policies.loaded("iri").policy
        for verb, expected in (("OPTIONS", ""), ("options", "key-required"), ("POST", "key-required")):
            assert guard(policy, GuardRequest(method=verb)).rule == expected


async def test_a_key_for_some_methods_opens_no_batch_and_no_websocket_to_the_others() -> None:
    digest = key_hash(b"secret")
    toml = BEHIND + f'[head]\nwebsocket = true\n[keys.few]\nhash = "{digest}"\nmethods = ["eth_chainId"]\n'
    one = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    other = one | {"method": "eth_blockNumber"}
    key = ("X-Api-Key", b"secret")
    async with PolicyRig(toml, kind="evm") as rig:
        node = await rig.serve()
        policy = rig.policies.loaded("evm").policy
        for body, expected in ((one, ""), ([one], ""), (other, "key-method"), ([one, one], "key-method"), ([one, other], "key-method")):  # fmt: skip
            data = json.dumps(body).encode()
            assert rule(await rig.ask(data, X_Api_Key="secret")) == expected
            assert guard(policy, GuardRequest(body=data, headers=[key])).rule == expected
        assert len(node.requests) == 2
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x" * 22 + "=="}
        assert rule(await rig.ask(b"", method="GET", X_Api_Key="secret", **upgrade)) == "key-method"
        sent = GuardRequest(method="GET", headers=[key, ("Upgrade", b"websocket")])
        assert guard(policy, sent).rule == "key-method"


@pytest.mark.parametrize("count", ['"1024"', '"\\u0030x400"', "1e3", "1024.0", "1025", "-1", "null"])
async def test_no_spelling_of_a_number_makes_a_call_cheaper(count: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"eth_feeHistory","params":[{count},"latest",[]]}}'.encode()
    async with PolicyRig(kind="evm") as rig:
        node = await rig.serve()
        assert rule(await rig.ask(body)) in {"arg-value", "arg-missing"}
        assert node.requests == []
        for number in (b'"0x400"', b"1024"):
            assert (await rig.ask(body.replace(count.encode(), number))).status == 200
            assert (await rig.last_line())["cost"] == 1029


async def test_a_rule_for_one_place_of_a_list_holds_on_the_short_way_too() -> None:
    toml = '[methods.getBalances.args."addresses.0"]\npattern = "9[A-Z9]{80}"\n'
    async with PolicyRig(toml) as rig:
        await rig.serve()
        assert "sess.account" in rig.driver_text()  # the short way is there
        for first, expected in (("9", ""), ("A", "arg-value")):
            body = f'{{"command":"getBalances","addresses":["{first * 81}"],"threshold":100}}'.encode()
            assert rule(await rig.ask(body)) == expected


async def test_a_ban_is_remembered_as_long_as_it_lasts() -> None:
    async with PolicyRig() as rig:
        await rig.serve()
        await rig.driver.firewall.ban("192.0.2.1", LONGEST_BAN)
        reader, writer = await asyncio.open_unix_connection(str(rig.driver.paths.runtime_socket))
        writer.write(b"show table st_bans\n")
        table = (await reader.read()).decode()
        writer.close()
        found = re.search(r"key=192\.0\.2\.1 .*exp=(\d+)", table)
        assert found is not None, table
        assert int(found[1]) / 1000 > LONGEST_BAN


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as it is, without any table (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


async def test_bodies_that_never_end_hold_few_buffers_of_one_connection() -> None:
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"x"), (b"x-iota-api-version", b"1"))  # fmt: skip
    head = b"".join(literal(*field) for field in fields)
    async with PolicyRig("") as rig, rig.client() as client:
        await rig.serve()
        client.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        for number in range(60):
            client.writer.write(frame(1, 4, 2 * number + 1, head) + frame(0, 0, 2 * number + 1, b"{"))
        reset: set[int] = set()
        async with asyncio.timeout(20):
            while len(reset) < 40:
                start = await client.reader.readexactly(9)
                await client.reader.readexactly(int.from_bytes(start[:3], "big"))
                if start[3] == 3:
                    reset.add(int.from_bytes(start[5:], "big"))
        assert min(reset) == 41  # the first twenty streams wait
