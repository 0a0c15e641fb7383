"""What a node's connection does with streams that are not one tidy request after the other."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from nodegate.errors import Unavailable
from nodegate.lab.connection import Listener
from nodegate.lab.lab import Lab
from support import free_port, until

Connect = Callable[..., Any]
INFO = b'{"command":"getNodeInfo"}'


async def test_pipelined_requests_are_answered_in_order_even_behind_a_slow_one(
    lab: Lab, connect: Connect
) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    for command in (b'{"command":"getTransactionsToApprove","depth":3}', INFO, b'{"command":"nope"}'):
        raw.send(command)
    answers = [json.loads((await raw.receive())[2]) for _ in range(3)]
    assert ["trunkTransaction" in answers[0], "appName" in answers[1], "error" in answers[2]] == [True] * 3


async def test_many_pipelined_requests_are_all_answered(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    for _ in range(300):
        raw.send(b'{"command":"getTransactionsToApprove","depth":3}')
    statuses = [(await raw.receive())[0] for _ in range(300)]
    assert statuses == [200] * 300


async def test_a_request_in_many_small_pieces_is_one_request(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    whole = b"POST / HTTP/1.1\r\nX-IOTA-API-Version: 1\r\nContent-Length: %d\r\n\r\n" % len(INFO) + INFO
    for at in range(0, len(whole), 5):
        raw.writer.write(whole[at : at + 5])
        await raw.writer.drain()
        await asyncio.sleep(0)
    assert (await raw.receive())[0] == 200
    assert node.requests.total() == 1


async def test_what_is_not_http_is_answered_400_without_a_body_and_closed(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    raw.send(INFO)
    raw.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await raw.receive())[0] == 200
    answer = await raw.closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"Content-Length: 0\r\nConnection: close\r\n\r\n")


async def test_a_client_that_asks_for_it_is_closed_after_the_answer(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    raw.send(INFO, headers="X-IOTA-API-Version: 1\r\nConnection: close\r\n")
    status, headers, _ = await raw.receive()
    assert (status, headers["Connection"]) == (200, "close")
    assert await raw.closed() == b""


async def test_head_is_answered_without_a_body(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    raw.send(INFO, method="HEAD", headers="X-IOTA-API-Version: 1\r\nConnection: close\r\n")
    head, _, body = (await raw.closed()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


async def test_a_client_that_waits_for_permission_gets_it(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    raw = await connect(node)
    raw.writer.write(
        b"POST / HTTP/1.1\r\nX-IOTA-API-Version: 1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        % len(INFO)
    )
    assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    raw.writer.write(INFO)
    assert (await raw.receive())[0] == 200


async def test_a_client_that_leaves_a_hanging_node_is_forgotten(lab: Lab, connect: Connect) -> None:
    (node,) = await lab.start(1)
    await lab.fault(node.id, "hang")
    raw = await connect(node)
    raw.send(INFO)
    await until(lambda: node.requests.total() == 1)
    raw.writer.close()
    await until(lambda: node.open == 0 and not node.tasks)


async def test_a_paused_listener_keeps_its_port(lab: Lab) -> None:
    listener = Listener(lambda address: None, host="127.0.0.1")
    await listener.start(0)
    await listener.pause()
    with socket.socket() as rival, pytest.raises(OSError, match="in use"):
        rival.bind(("127.0.0.1", listener.port))
    listener.close()
    with socket.socket() as heir:
        heir.bind(("127.0.0.1", listener.port))


async def test_a_taken_port_is_named(lab: Lab) -> None:
    port = free_port()
    first, second = (Listener(lambda address: None, host="127.0.0.1") for _ in range(2))
    await first.start(port)
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{port}: .*--base-port"):
        await second.start(port)
    first.close()
    second.close()
