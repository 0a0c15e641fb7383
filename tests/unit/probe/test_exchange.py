"""One exchange against servers that do what nodes, proxies and attackers do."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from nodegate.errors import Unavailable
from nodegate.model import Answer, Failure, FailureKind, Node, Question
from nodegate.probe import exchange as module
from nodegate.probe.exchange import Deadline, Exchanged, Exchanger, Target, Upstream, tls_context
from support import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
QUESTION = Question(headers={"Content-Type": "application/json"}, body=b'{"command":"x"}')


@pytest.fixture
async def exchanger() -> AsyncIterator[Exchanger]:
    async with Exchanger(max_bytes=10_000) as one:
        yield one


def a_target(url: str, *, verify: bool = True, upstream: Upstream | None = None) -> Target:
    return Target.of(Node(id="n", url=url, kind="http", tls_verify=verify), upstream)


async def ask(exchanger: Exchanger, url: str, *, within: float = 5.0, **target: Any) -> Exchanged:
    return await exchanger.ask(a_target(url, **target), QUESTION, Deadline.within(within))


async def failure(exchanger: Exchanger, url: str, *, within: float = 5.0, **target: Any) -> Failure:
    outcome = (await ask(exchanger, url, within=within, **target)).outcome
    assert isinstance(outcome, Failure)
    assert outcome.text.isprintable()
    assert "Error(" not in outcome.text
    return outcome


async def test_sends_the_question_and_returns_the_answer(
    exchanger: Exchanger, serve: Any, sending: Any
) -> None:
    server = await serve(sending(OK))
    exchanged = await ask(exchanger, f"{server.url}/api")
    answer = exchanged.outcome
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.location) == (200, b"hi", None)
    assert 0 < answer.duration < 5
    assert exchanged.address == "127.0.0.1"
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /api http/1.1"
    assert f"host: 127.0.0.1:{server.port}" in lines
    assert "content-type: application/json" in lines
    assert "accept-encoding: identity" in lines
    assert body == QUESTION.body


async def test_the_question_s_path_is_appended(exchanger: Exchanger, serve: Any, sending: Any) -> None:
    server = await serve(sending(OK))
    question = Question(method="GET", path="/health?a=%2F")
    await exchanger.ask(a_target(f"{server.url}/base"), question, Deadline.within(5))
    assert server.requests[0].startswith(b"GET /base/health?a=%2F HTTP/1.1\r\n")


async def test_every_exchange_has_its_own_connection(exchanger: Exchanger, serve: Any) -> None:
    async def keeps_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await reader.read()

    server = await serve(keeps_open)
    for _ in range(3):
        await ask(exchanger, server.url)
    assert server.connections == 3


async def test_the_pool_s_host_header_is_sent(exchanger: Exchanger, serve: Any, sending: Any) -> None:
    server = await serve(sending(OK))
    await ask(exchanger, server.url, upstream=Upstream(host="node.example.org"))
    assert b"\r\nHost: node.example.org\r\n" in server.requests[0]


async def test_no_proxy_of_the_environment_is_used(
    exchanger: Exchanger, serve: Any, sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    server = await serve(sending(OK))
    assert isinstance((await ask(exchanger, server.url)).outcome, Answer)


async def test_cookies_are_not_kept(exchanger: Exchanger, serve: Any, sending: Any) -> None:
    server = await serve(sending(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
    await ask(exchanger, server.url)
    await ask(exchanger, server.url)
    assert b"ookie" not in server.requests[1]


async def test_a_redirect_is_an_answer_that_is_not_followed(
    exchanger: Exchanger, serve: Any, sending: Any
) -> None:
    other = await serve(sending(OK))
    place = f"{other.url}/x".encode()
    server = await serve(
        sending(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")
    )
    answer = (await ask(exchanger, server.url)).outcome
    assert isinstance(answer, Answer)
    assert (answer.status, answer.location) == (302, place.decode())
    assert other.connections == 0


async def test_refused(exchanger: Exchanger) -> None:
    port = free_port()
    found = await failure(exchanger, f"http://127.0.0.1:{port}")
    assert found == Failure(kind=FailureKind.REFUSED, text=f"connection refused (127.0.0.1:{port})")


async def test_accepts_but_never_answers(exchanger: Exchanger, serve: Any) -> None:
    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await serve(hangs)
    began = time.monotonic()
    found = await failure(exchanger, server.url, within=0.3)
    assert 0.2 < time.monotonic() - began < 2
    assert found == Failure(kind=FailureKind.TIMEOUT, text="connected, but there was no answer within 0.3 s")


async def test_does_not_even_accept(exchanger: Exchanger) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        found = await failure(exchanger, f"http://127.0.0.1:{port}", within=0.3)
        for filler in fillers:
            filler.close()
    assert found == Failure(kind=FailureKind.TIMEOUT, text=f"no connection to 127.0.0.1:{port} within 0.3 s")


async def test_drips_its_answer(exchanger: Exchanger, serve: Any) -> None:
    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    server = await serve(drips)
    found = await failure(exchanger, server.url, within=0.4)
    assert found == Failure(kind=FailureKind.TIMEOUT, text="the answer was not complete within 0.4 s")


async def test_a_body_without_end_is_cut(exchanger: Exchanger, serve: Any) -> None:
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    server = await serve(floods)
    began = time.monotonic()
    found = await failure(exchanger, server.url, within=10)
    assert found == Failure(kind=FailureKind.TOO_LARGE, text="the answer has more than 10000 bytes")
    assert time.monotonic() - began < 3
    assert sent < 100_000_000


async def test_an_endless_chunked_body_is_cut(exchanger: Exchanger, serve: Any) -> None:
    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    server = await serve(floods)
    assert (await failure(exchanger, server.url)).kind is FailureKind.TOO_LARGE


async def test_an_announced_length_over_the_bound_is_not_read(
    exchanger: Exchanger, serve: Any, sending: Any
) -> None:
    server = await serve(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"))
    assert (await failure(exchanger, server.url)).kind is FailureKind.TOO_LARGE


async def test_a_body_of_exactly_the_bound_passes(exchanger: Exchanger, serve: Any, sending: Any) -> None:
    server = await serve(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"x" * 10_000))
    answer = (await ask(exchanger, server.url)).outcome
    assert isinstance(answer, Answer)
    assert len(answer.body) == 10_000


async def test_head_announces_a_body_that_does_not_come(
    exchanger: Exchanger, serve: Any, sending: Any
) -> None:
    server = await serve(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"))
    exchanged = await exchanger.ask(a_target(server.url), Question(method="HEAD"), Deadline.within(5))
    assert isinstance(exchanged.outcome, Answer)


async def test_a_compressed_answer_is_refused_and_not_unpacked(
    exchanger: Exchanger, serve: Any, sending: Any
) -> None:
    bomb = gzip.compress(b"0" * 5_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    server = await serve(sending(head.encode(), bomb))
    found = await failure(exchanger, server.url)
    assert found.kind is FailureKind.MALFORMED
    assert 'compressed ("gzip")' in found.text


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([b""], FailureKind.CLOSED),
        ([b"HTTP/1.1 200 OK\r\nContent-Le"], FailureKind.CLOSED),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"], FailureKind.CLOSED),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], FailureKind.CLOSED),
        ([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], FailureKind.MALFORMED),
        ([b"\x00\x01\x02\x03\r\n\r\n"], FailureKind.MALFORMED),
        ([b"HTTP/1.1 999999 Odd\r\n\r\n"], FailureKind.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"], FailureKind.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"], FailureKind.MALFORMED),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n"], FailureKind.MALFORMED),
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "half a chunk",
        "ssh",
        "binary",
        "status",
        "length",
        "long header",
        "many headers",
    ],
)
async def test_what_is_not_a_whole_http_answer(
    exchanger: Exchanger, serve: Any, sending: Any, pieces: list[bytes], kind: FailureKind
) -> None:
    server = await serve(sending(*pieces))
    assert (await failure(exchanger, server.url)).kind is kind


async def test_a_broken_chunk_is_a_failure(exchanger: Exchanger, serve: Any, sending: Any) -> None:
    server = await serve(
        sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n")
    )
    assert (await failure(exchanger, server.url)).kind in {FailureKind.CLOSED, FailureKind.MALFORMED}


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"])
async def test_a_reset_connection(exchanger: Exchanger, serve: Any, after: bytes) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await serve(resets)
    assert (await failure(exchanger, server.url)).kind is FailureKind.CLOSED


async def test_endless_interim_answers_end_with_the_deadline(exchanger: Exchanger, serve: Any) -> None:
    async def continues(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    server = await serve(continues)
    assert (await failure(exchanger, server.url, within=0.4)).kind is FailureKind.TIMEOUT


async def test_a_self_signed_certificate_is_refused(
    exchanger: Exchanger, serve: Any, sending: Any, certificate: Any
) -> None:
    server = await serve(sending(OK), tls=certificate.server_context())
    found = await failure(exchanger, server.url)
    assert found.kind is FailureKind.TLS
    assert found.text.startswith("the TLS certificate is not trusted: self-signed certificate")


async def test_verification_can_be_switched_off(
    exchanger: Exchanger, serve: Any, sending: Any, certificate: Any
) -> None:
    server = await serve(sending(OK), tls=certificate.server_context())
    assert isinstance((await ask(exchanger, server.url, verify=False)).outcome, Answer)


async def test_the_pool_s_own_authority_is_trusted(
    exchanger: Exchanger, serve: Any, sending: Any, certificate: Any
) -> None:
    server = await serve(sending(OK), tls=certificate.server_context())
    upstream = Upstream(tls=tls_context(certificate.chain))
    assert isinstance((await ask(exchanger, server.url, upstream=upstream)).outcome, Answer)
    by_name = server.url.replace("127.0.0.1", "localhost")
    assert isinstance((await ask(exchanger, by_name, upstream=upstream)).outcome, Answer)


async def test_a_certificate_for_another_name_is_refused(
    exchanger: Exchanger, serve: Any, sending: Any, certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    server = await serve(sending(OK), tls=certificate.server_context())
    url = server.url.replace("127.0.0.1", "other.example")
    found = await failure(exchanger, url, upstream=Upstream(tls=tls_context(certificate.chain)))
    assert found.kind is FailureKind.TLS
    assert "other.example" in found.text


async def test_tls_answered_with_plain_bytes(exchanger: Exchanger) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await failure(exchanger, f"https://127.0.0.1:{port}")
    assert found.kind is FailureKind.TLS
    assert "does the node speak plain HTTP?" in found.text


def test_failures_are_told_apart_on_the_daemon_s_loop_too(certificate: Any) -> None:
    """uvloop raises errors of its own making in places; all of the above runs on asyncio's loop."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        writer.close()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def kind_of(scheme: str, behave: Any, tls: ssl.SSLContext | None = None) -> FailureKind:
        server = await asyncio.start_server(behave, "127.0.0.1", 0, ssl=tls)
        async with server, Exchanger(max_bytes=100) as exchanger:
            port = server.sockets[0].getsockname()[1]
            return (await failure(exchanger, f"{scheme}://127.0.0.1:{port}", within=0.5)).kind

    async def all_kinds() -> None:
        async with Exchanger(max_bytes=100) as exchanger:
            refused = await failure(exchanger, f"http://127.0.0.1:{free_port()}")
        assert refused.kind is FailureKind.REFUSED
        assert await kind_of("http", never) is FailureKind.TIMEOUT
        assert await kind_of("http", half) is FailureKind.CLOSED
        assert await kind_of("http", reset) is FailureKind.CLOSED
        assert await kind_of("https", plain) is FailureKind.TLS
        assert await kind_of("https", half, certificate.server_context()) is FailureKind.TLS

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_kinds())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_what_this_machine_lacks_is_not_the_node_s_failure(
    exchanger: Exchanger, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_socket(*_: Any, **__: Any) -> socket.socket:
        raise OSError(number, "no more")

    monkeypatch.setattr(socket, "socket", no_socket)
    with pytest.raises(Unavailable, match="this machine cannot probe"):
        await ask(exchanger, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), FailureKind.REFUSED),
        (OSError(errno.ENETUNREACH, "x"), FailureKind.REFUSED),
        (OSError(errno.ETIMEDOUT, "x"), FailureKind.TIMEOUT),
        (OSError(errno.EPIPE, "x"), FailureKind.CLOSED),
        (OSError("no number"), FailureKind.CLOSED),
        (aiohttp.ClientConnectionError(), FailureKind.CLOSED),
        (aiohttp.ServerDisconnectedError(), FailureKind.CLOSED),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert"), FailureKind.TLS),
    ],
)
def test_errors_that_are_hard_to_provoke(error: Exception, kind: FailureKind) -> None:
    found = module._failure(error, "192.0.2.1:80")
    assert found.kind is kind
    assert found.text.isprintable()
    assert "Error" not in found.text


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    for path in (tmp_path / "missing.pem", empty):
        with pytest.raises(Unavailable, match=path.name):
            tls_context(path)
        empty.write_text("nothing")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://192.0.2.1", ("192.0.2.1", 80, "", "192.0.2.1", True)),
        ("https://Node.example/v1/chain/evm", ("node.example", 443, "/v1/chain/evm", "Node.example", False)),
        ("http://[::1]:14265", ("::1", 14265, "", "[::1]:14265", True)),
    ],
)
def test_targets(url: str, parts: tuple[str, int, str, str, bool]) -> None:
    target = a_target(url)
    assert (target.host, target.port, target.path, target.host_header, target.literal) == parts
