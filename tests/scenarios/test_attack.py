"""The stall of 2018 and its relatives, replayed: against a bare node, and against five behind a gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import QUICK, Gateway, Said, run
from nodegate.lab.attack import AttackOptions
from nodegate.lab.attack import run as attack
from nodegate.lab.attack_report import AttackReport
from nodegate.lab.load import Load, LoadOptions
from nodegate.lab.process import LabProcess
from nodegate.lab.remote import LabNode
from nodegate.lab.server import WORKERS
from nodegate.model import Seconds

pytestmark = pytest.mark.scenario

DISGUISES = ("stall", "padding", "key-order", "escapes", "lenient", "pairs", "duplicates", "smuggling")
FLOODS = ("connections", "slow-headers", "slow-body", "oversize", "nesting", "lists", "pow", "neighbours")
STALL = "getTransactionsToApprove"
NODES = 5
# What probes and honest clients leave open at most: the gateway keeps idle connections for the next request.
FEW_CONNECTIONS = 45


PATIENCE_MS = 3_000.0
"""The bare node's honest clients wait for ever. How near the gateway's stay to quiet times is a figure of the
benchmarks; here other tests share the processors, so only that they are answered counts."""


def options(url: str, *names: str, seconds: float) -> AttackOptions:
    return AttackOptions(url=url, names=names, seconds=Seconds(seconds), quiet=Seconds(1.0), connections=100)


def ids(nodes: tuple[LabNode, ...]) -> list[str]:
    return [node.id for node in nodes]


def told(report: AttackReport) -> str:
    """What to print when an assertion fails."""
    return json.dumps(report.document(), indent=1)


def honest_clients_are_served(report: dict[str, Any]) -> None:
    for name, seen in report["honest"].items():
        assert seen["ok"] > 0, (name, report)
        assert seen["failed"] == 0, (name, report)
        assert seen["p99_ms"] < PATIENCE_MS, (name, report)


async def most_open(lab: LabProcess) -> int:
    return max(node["max_open"] for node in await lab.remote.nodes())


async def stalls(lab: LabProcess) -> int:
    """Stalling calls that reached any node."""
    return sum(node["requests"].get(STALL, 0) for node in await lab.remote.nodes())


async def asked(url: str) -> dict[str, int]:
    """Why a single getNodeInfo fails; nothing when it does not."""
    load = Load(LoadOptions(url=url, connections=1, requests=1, timeout=Seconds(2.0)))
    await load.start()
    return dict((await load.wait()).failed)


async def command(url: str, *names: str, seconds: float) -> Said:
    """`nodegate lab attack --json` with these attacks."""
    only = [word for name in names for word in ("--only", name)]
    return await run("lab", "attack", url, *only, "--for", str(seconds), "--json", within=90)


async def test_a_bare_node_stops_answering_under_the_stall_and_connections_pile_up() -> None:
    async with await LabProcess.start(1) as lab:
        (node,) = lab.nodes
        said = await command(node.url, "stall", seconds=3.5)
        assert said.code == 1
        (report,) = said.json["attacks"]
        assert report["harmed"] == ["reads", "lookups"]
        assert await asked(node.url) == {"timeout": 1}
        seen = await lab.remote.node(node.id)
        # The attackers have left; the node does not know.
        assert seen["open"] >= WORKERS
        assert seen["max_open"] > WORKERS


async def test_five_nodes_behind_the_gateway_do_not_notice_the_stall_in_any_disguise() -> None:
    async with await LabProcess.start(NODES) as lab, Gateway(lab.nodes, toml=QUICK, strict=True) as gateway:
        await gateway.until_serving(*ids(lab.nodes))
        said = await command(gateway.url, *DISGUISES, seconds=0.7)
        assert said.code in {0, 1}, said.err
        for report in said.json["attacks"]:
            honest_clients_are_served(report)
            assert report["sent"] > 0
            assert report["got_through"] == 0
            assert report["by_rule"], report
        assert await asked(gateway.url) == {}
        assert await stalls(lab) == 0
        assert await most_open(lab) <= FEW_CONNECTIONS


async def test_five_nodes_behind_the_gateway_bear_slow_clients_and_floods() -> None:
    async with await LabProcess.start(NODES) as lab, Gateway(lab.nodes, toml=QUICK, strict=True) as gateway:
        await gateway.until_serving(*ids(lab.nodes))
        campaign = await attack(options(gateway.url, *FLOODS, seconds=0.8))
        for report in campaign.reports:
            assert not report.got_through, told(report)
            honest_clients_are_served(report.document())
        assert await most_open(lab) <= FEW_CONNECTIONS


async def test_a_stall_that_no_list_knows_reaches_nodes_only_as_often_as_the_policy_says() -> None:
    async with await LabProcess.start(NODES) as lab, Gateway(lab.nodes, toml=QUICK, strict=True) as gateway:
        await gateway.until_serving(*ids(lab.nodes))
        (report,) = (await attack(options(gateway.url, "stall-unlisted", seconds=3.0))).reports
        assert report.sent.sent > 100
        assert 0 < await stalls(lab) <= 10  # per client in ten seconds
        reads = report.document()["honest"]["reads"]
        assert reads["failed"] == 0, told(report)
        assert reads["p99_ms"] < PATIENCE_MS, told(report)
        assert await most_open(lab) <= FEW_CONNECTIONS
