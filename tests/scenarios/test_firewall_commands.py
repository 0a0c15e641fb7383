"""Working with policies on a gateway that runs: apply, see who asks what, ban, explain, replay."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from gateway import QUICK, Gateway, Said, flowing, ids, quick_lab, unharmed
from support import until

pytestmark = pytest.mark.scenario

VERSION = {"X-IOTA-API-Version": "1"}
INFO = {"command": "getNodeInfo"}
TRUNK = {"command": "getTransactionsToApprove", "depth": 3}
BALANCES = {"command": "getBalances", "addresses": ["A" * 81] * 9, "threshold": 100}
GUARDED = QUICK + "policy = 'default'\n"


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    rule: str | None
    id: str


async def ask(gateway: Gateway, command: dict[str, object]) -> Answer:
    async with (
        aiohttp.ClientSession(headers=VERSION) as session,
        session.post(gateway.url, json=command) as response,
    ):
        await response.read()
        headers = response.headers
        return Answer(response.status, headers.get("X-Nodegate-Rule"), headers["X-Request-Id"])


@asynccontextmanager
async def serving() -> AsyncIterator[Gateway]:
    async with quick_lab() as lab:
        nodes = await lab.start(2)
        async with Gateway(nodes, toml=GUARDED, strict=True) as gateway:
            await gateway.until_serving(*ids(nodes))
            yield gateway


async def done(gateway: Gateway, *arguments: str) -> Said:
    said = await gateway.cli(*arguments)
    assert said.code == 0, said.err
    return said


async def logged(gateway: Gateway, request: str) -> None:
    """Wait until HAProxy has written the request's line."""
    file = gateway.state / "access.log"
    await until(lambda: file.exists() and request in file.read_text(), what=f"{request} is logged")


def written(gateway: Gateway, toml: str) -> str:
    file = gateway.home / "own.toml"
    file.write_text(f'kind = "iri"\n{toml}')
    return str(file)


async def test_a_rate_is_applied_under_load_explained_and_taken_back_without_a_reload() -> None:
    async with serving() as gateway:
        pids = gateway.haproxy_pids
        async with gateway.load() as load:
            await flowing(load)
            file = written(gateway, '[methods.getBalances]\nrate = "2/10s"\n')
            said = await done(gateway, "policy", "apply", file)
            assert "rate for one client: 2 in 10 s, was no limit" in said.out
            assert "without a reload" in said.err
            answers = [await ask(gateway, BALANCES) for _ in range(4)]
            assert [(answer.status, answer.rule) for answer in answers] == [
                (200, None), (200, None), (429, "rate"), (429, "rate"),
            ]  # fmt: skip
            await logged(gateway, answers[-1].id)
            refused = (await done(gateway, "why", answers[-1].id, "--json")).json
            assert refused["rule"] == "rate"
            assert refused["limit"] == "one client may call getBalances so often: 2 in 10 s"
            served = (await done(gateway, "why", answers[0].id, "--json")).json
            assert served["outcome"].startswith(f"served by {served['node']}")
            assert served["total_ms"] is not None
            await done(gateway, "policy", "reset", "iri")
            assert (await ask(gateway, BALANCES)).status == 200
            await flowing(load)
        unharmed(load.report())
        assert gateway.haproxy_pids == pids


async def test_clients_are_seen_banned_counted_and_set_free() -> None:
    async with serving() as gateway:
        for _ in range(3):
            await ask(gateway, INFO)
        await ask(gateway, {"command": "addNeighbors", "uris": []})
        row = (await done(gateway, "clients", "--json")).json["clients"][0]
        assert (row["client"], row["kind"], row["requests"]) == ("127.0.0.1", "iri", 4)
        assert row["cost_1m"] >= 3
        ban = (await done(gateway, "clients", "ban", "127.0.0.1", "--for", "1h", "--json")).json
        assert (await ask(gateway, INFO)).rule == "banned"
        after = (await done(gateway, "clients", "--json")).json
        assert [(each["client"], each["automatic"]) for each in after["bans"]] == [("127.0.0.1", False)]
        assert after["clients"][0]["banned_until"] == ban["until"]
        await done(gateway, "clients", "unban", "--all")
        assert (await ask(gateway, INFO)).status == 200
        metrics = await scraped(gateway)
        assert metrics['nodegate_method_requests_total{kind="iri",method="getNodeInfo"}'] == 4
        assert metrics['nodegate_refused_total{kind="iri",rule="method-denied"}'] == 1
        assert metrics['nodegate_refused_total{kind="iri",rule="banned"}'] == 1
        assert metrics['nodegate_bans{by="operator"}'] == 0


async def scraped(gateway: Gateway) -> dict[str, float]:
    token = (gateway.state / "token").read_text().strip()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"http://{gateway.admin}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_a_replay_comes_to_the_verdicts_that_haproxy_came_to() -> None:
    async with serving() as gateway:
        limits = (
            '[methods.getBalances]\ncost = 150\nrate = "8/10s"\n[budget]\nper_10s = 3000\nban_after = 0\n'
        )
        file = written(gateway, limits)
        await done(gateway, "policy", "apply", file)
        answers = [await ask(gateway, BALANCES) for _ in range(12)]
        answers += [await ask(gateway, TRUNK) for _ in range(8)]
        answers += [await ask(gateway, INFO) for _ in range(5)]
        answers += [await ask(gateway, {"command": "nothing"}) for _ in range(3)]
        rules = {answer.rule for answer in answers}
        assert rules == {None, "rate", "budget-10s", "method-unknown"}
        await logged(gateway, answers[-1].id)
        log = str(gateway.state / "access.log")
        same = (await done(gateway, "policy", "replay", log, file, "--json")).json
        assert same["requests"] == len(answers)
        assert same["agrees"] == len(answers), same
        assert (same["now_refused"], same["now_allowed"]) == (0, 0)
        closed = written(gateway, limits + "[methods.getNodeInfo]\ndeny = true\n")
        other = (await done(gateway, "policy", "replay", log, closed, "--json")).json
        assert other["methods"]["getNodeInfo"]["rules"] == {"method-denied": 5}
        assert list(other["clients"]) == ["127.0.0.1"]


async def test_a_policy_that_nodegate_toml_names_is_changed_in_its_file_only() -> None:
    async with quick_lab() as lab:
        nodes = await lab.start(1)
        gateway = Gateway(nodes, start=False, strict=True)
        named = written(gateway, "[methods.getTips]\ndeny = true\n")
        table = f"[pools.main]\npolicy = {json.dumps(named)}\n"
        gateway.config.write_text(gateway.config.read_text().replace("[pools.main]\n", table))
        async with gateway:
            await gateway.start()
            refusal = await gateway.cli("policy", "apply", named)
            assert (refusal.code, named in refusal.err) == (7, True)
            assert not (gateway.state / "policies" / "iri.toml").exists()
            tips = ("policy", "try", "--kind", "iri", "--body", '{"command":"getTips"}', "--json")
            assert (await done(gateway, *tips)).json["rule"] == "method-denied"
