"""The clients' listener with TLS: HTTP/1.1 and 2, and a certificate file that changes while it serves."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import QUICK, Gateway, flowing, ids, quick_lab, unharmed
from support import until

pytestmark = pytest.mark.scenario

HTTP2_CLIENT = Path(__file__).parents[1] / "js" / "http2.mjs"
NewCertificate = Callable[[str], bytes]
Trusting = Callable[..., ssl.SSLContext]


def with_certificate(file: Path) -> str:
    return f'[gateway]\ntls_certificate = "{file}"\n{QUICK}'


async def served_certificate(gateway: Gateway) -> str:
    """What a new client is shown."""
    host, _, port = gateway.listen.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=10)


async def test_clients_speak_http_1_and_2_over_tls(
    tmp_path: Path, new_certificate: NewCertificate, trusting: Trusting
) -> None:
    file = tmp_path / "gateway.pem"
    file.write_bytes(new_certificate("one"))
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes, toml=with_certificate(file), tls=True) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            async with gateway.load(tls=trusting(file)) as stream:
                await flowing(stream)
            unharmed(stream.report())
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("node"), HTTP2_CLIENT, gateway.url, file, "20",
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(30):
                out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            told = json.loads(out)
            assert told["protocol"] == "h2"
            assert [answer["status"] for answer in told["answers"]] == [200] * 20
            assert {answer["node"] for answer in told["answers"]} == {"iri-1", "iri-2"}
            assert all("appName" in answer["body"] for answer in told["answers"])


async def test_a_changed_certificate_is_taken_over_unnoticed_and_a_bad_one_is_not(
    tmp_path: Path, new_certificate: NewCertificate, trusting: Trusting
) -> None:
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_bytes(new_certificate("one"))
    two.write_bytes(new_certificate("two"))
    file = tmp_path / "gateway.pem"
    file.write_bytes(one.read_bytes())
    async with quick_lab() as lab:
        await lab.start(2)
        async with Gateway(lab.nodes, toml=with_certificate(file), tls=True) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            before = gateway.haproxy_pids
            first = await served_certificate(gateway)
            assert first.strip() in one.read_text()
            # Each request on a connection of its own, so that every one shakes hands.
            headers = {"Connection": "close", "X-IOTA-API-Version": "1", "Content-Type": "application/json"}
            async with gateway.load(tls=trusting(one, two), rate=30.0, headers=headers) as stream:
                file.write_bytes(two.read_bytes())

                async def second_is_served() -> bool:
                    return (await served_certificate(gateway)).strip() in two.read_text()

                await until(second_is_served, what="the new certificate is served", every=0.2)
                assert "certificate has changed" in gateway.log

                file.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
                await until(lambda: "old certificate stays" in gateway.log, what="the bad file is told")
                assert await second_is_served()
                complaint = next(line for line in gateway.log.splitlines() if "old certificate stays" in line)
                assert str(file) in complaint

                # Nor does a restart of HAProxy or of nodegate depend on the bad file.
                unharmed(stream.restart_counts())
                await flowing(stream)
            unharmed(stream.report())
            assert gateway.haproxy_pids == before
            gateway.kill_haproxy()
            await until(lambda: gateway.haproxy_pids, what="HAProxy is back")
            await until(lambda: _listens(gateway), what="clients are served")
            assert await second_is_served()


async def _listens(gateway: Gateway) -> bool:
    try:
        return bool(await served_certificate(gateway))
    except OSError:
        return False
