"""The runner against real nodes in this process."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from typer.testing import CliRunner

from nodegate.cli import application
from nodegate.errors import NotFound, Refused, Unavailable, Unsafe
from nodegate.lab.attack import AttackOptions, chosen, run
from nodegate.lab.attack_report import AttackReport
from nodegate.lab.attacks import ATTACKS
from nodegate.lab.lab import Lab, LabOptions
from nodegate.model import Seconds
from support import free_port, until

PATIENCE = 2.0
"""Seconds after which an attacker leaves."""


def quick_lab(**options: float) -> Lab:
    return Lab(LabOptions(interval=Seconds(0.5), spread=Seconds(0.05), **options))  # type: ignore[arg-type]


def options(url: str, *names: str, **more: float) -> AttackOptions:
    chosen: dict[str, float] = {"seconds": 0.8, "connections": 8, "quiet": 0.8} | more
    return AttackOptions(url=url, names=names, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://192.0.2.1:14265", "http://example.org", "http://[2001:db8::1]/"])
async def test_only_the_loopback_is_attacked(url: str) -> None:
    with pytest.raises(Unsafe, match="not on this machine"):
        await run(AttackOptions(url=url))


@pytest.mark.parametrize(
    "changes", [{"connections": 0}, {"connections": 501}, {"seconds": 0}, {"seconds": 61}, {"quiet": 61}]
)
async def test_an_unbounded_attack_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(Refused):
        await run(options("http://127.0.0.1:1", "pow", **changes))


async def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(Refused, match="is not a URL such as"):
        await run(AttackOptions(url="ftp://127.0.0.1"))


def test_attacks_are_chosen_in_the_order_of_the_catalogue() -> None:
    assert [attack.name for attack in chosen(["stall", "pow"])] == ["pow", "stall"]
    assert chosen([]) == ATTACKS


def test_an_unknown_attack_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match=r"no attack teapot.*stall"):
        chosen(["teapot"])


async def test_nobody_is_attacked_who_does_not_answer_before() -> None:
    with pytest.raises(Unavailable, match="before any attack"):
        await run(options(f"http://127.0.0.1:{free_port()}", "pow"))


async def test_refused_commands_do_no_harm_to_a_bare_node() -> None:
    told: list[AttackReport] = []
    async with quick_lab() as lab:
        (node,) = await lab.start(1)
        campaign = await run(options(node.url, "neighbours", "pow"), told=told.append)
        assert node.requests["attachToTangle"] > 0
    assert [report.attack.name for report in told] == ["neighbours", "pow"]
    for report in campaign.reports:
        assert report.sent.refused == report.sent.sent > 0
        assert report.got_through == 0
        assert report.during["reads"].ok > 0


async def test_what_a_bare_node_takes_is_told() -> None:
    async with quick_lab() as lab:
        (node,) = await lab.start(1)
        campaign = await run(options(node.url, "big-headers"))
    (report,) = campaign.reports
    assert report.got_through == report.sent.answered == report.sent.sent > 0
    assert not campaign.harmless


async def test_the_stall_is_heard_by_honest_clients_of_a_bare_node() -> None:
    async with quick_lab(stall=5.0) as lab:
        (node,) = await lab.start(1)
        (report,) = (await run(options(node.url, "stall", seconds=1.5))).reports
        assert node.requests["getTransactionsToApprove"] == report.sent.sent
    assert report.sent.unheard > 0
    assert report.seconds < 1.5 + 3 * PATIENCE + 3.0  # patience of attackers, then of honest clients
    assert "lookups" in report.harmed
    assert report.quiet["lookups"].failed == 0


async def test_the_unlisted_stall_uses_an_old_transaction_of_the_network_itself() -> None:
    async with quick_lab(stall=5.0) as lab:
        (node,) = await lab.start(1)
        (report,) = (await run(options(node.url, "stall-unlisted", seconds=1.5))).reports
    assert report.sent.unheard > 0
    assert "lookups" in report.harmed


async def test_an_attack_keeps_to_its_time_its_rate_and_its_connections() -> None:
    async with quick_lab() as lab:
        (node,) = await lab.start(1)
        began = time.monotonic()
        (report,) = (await run(options(node.url, "slow-body", "slow-headers"))).reports[:1]
        assert time.monotonic() - began < 20
        assert 0 < report.sent.most_open <= 8
        assert report.sent.sent <= report.attack.rate * 1 + 8
        await until(lambda: not node.open, what="the attackers have left")


async def test_each_attack_has_an_address_of_its_own() -> None:
    peers: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        body = b'{"duration":0}'
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await run(options(f"http://127.0.0.1:{port}", "pow", "neighbours", connections=1, seconds=0.3))
    finally:
        server.close()
    assert {peer for peer in peers if peer != "127.0.0.1"} == {"127.66.0.1", "127.66.0.2"}


def test_the_catalogue_is_listed_without_a_target() -> None:
    said = CliRunner().invoke(application(), ["lab", "attack", "--list", "--json"])
    assert said.exit_code == 0
    assert [row["name"] for row in json.loads(said.stdout)["attacks"]] == [each.name for each in ATTACKS]
