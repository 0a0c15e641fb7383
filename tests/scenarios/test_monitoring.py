"""A real Prometheus scrapes a real gateway: what rules and dashboards ask for is there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import QUICK, Gateway, ids, quick_lab
from nodegate.render.grafana import render_grafana
from nodegate.render.prometheus import RULES, Scrape, render_prometheus
from support import free_port, until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is missing: apt-get install prometheus"
    ),
]

NAME = re.compile(r"\b((?:nodegate|haproxy|process)_[a-z0-9_]+)\b(?=[\[{ )]|$)")


def asked_for() -> set[str]:
    """Every metric in rules and dashboards."""
    texts = [rule.expr for rule in RULES]
    for file in render_grafana():
        if file.path.endswith(".json"):
            board = json.loads(file.text)
            texts += [target["expr"] for panel in board["panels"] for target in panel["targets"]]
            texts += [query["query"]["query"].replace("(", " ").replace(",", " ")
                      for query in board["templating"]["list"] if query["type"] == "query"]  # fmt: skip
    return {name for text in texts for name in NAME.findall(text)}


@asynccontextmanager
async def prometheus(gateway: Gateway, home: Path) -> AsyncIterator[str]:
    """Prometheus as `nodegate render prometheus` wants it, but in a directory and at a port of its own."""
    scrape = Scrape(targets=[gateway.admin], token_file=str(gateway.state / "token"), interval=1)
    for file in render_prometheus(scrape):
        path = home / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text.replace("/etc/prometheus", str(home)))
    check = await asyncio.create_subprocess_exec("promtool", "check", "config", str(home / "prometheus.yml"))
    assert await check.wait() == 0
    address = f"127.0.0.1:{free_port()}"
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus", f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address={address}", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


async def ask(url: str, path: str) -> Any:
    """Prometheus's answer, None while it does not answer."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url + path) as response:
            return (await response.json())["data"] if response.status == 200 else None
    except aiohttp.ClientError:
        return None


async def test_prometheus_gets_every_metric_of_rules_and_dashboards_and_a_rule_fires(
    tmp_path: Path, new_certificate: Callable[[str], bytes]
) -> None:
    certificate = tmp_path / "gateway.pem"
    certificate.write_bytes(new_certificate("gateway"))
    toml = f'[gateway]\ntls_certificate = "{certificate}"\n{QUICK}'
    toml += '\n[alerts.channels.nobody]\nkind = "command"\ncommand = ["/bin/true"]\n'
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes, toml=toml, tls=True) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            connector = aiohttp.TCPConnector(ssl=False)
            async with aiohttp.ClientSession(connector=connector) as session:
                for command in ("getNodeInfo", "noSuchCommand"):
                    headers = {"X-IOTA-API-Version": "1"}
                    async with session.post(
                        gateway.url, json={"command": command}, headers=headers
                    ) as response:
                        await response.read()
            async with prometheus(gateway, tmp_path) as url:
                wanted = asked_for()
                assert len(wanted) > 30

                async def missing() -> set[str]:
                    known = await ask(url, "/api/v1/label/__name__/values")
                    # A family without a sample yet (nothing is withheld) is only announced by its TYPE line.
                    announced = await ask(url, "/api/v1/targets/metadata")
                    names = {row["metric"] for row in announced or ()}
                    return wanted - set(known or ()) - names - {f"{name}_total" for name in names}

                async def complete() -> bool:
                    return not await missing()

                try:
                    await until(complete, within=30, every=0.5)
                except AssertionError:
                    raise AssertionError(
                        f"no such metrics: {await missing()}; {(tmp_path / 'log').read_text()[-500:]}"
                    ) from None

                targets = (await ask(url, "/api/v1/targets"))["activeTargets"]
                assert {target["labels"]["job"]: target["health"] for target in targets} == {
                    "nodegate": "up",
                    "nodegate-haproxy": "up",
                }
                rules = [
                    rule for group in (await ask(url, "/api/v1/rules"))["groups"] for rule in group["rules"]
                ]
                assert {rule["name"] for rule in rules} == {rule.alert for rule in RULES}

                async def ends_soon() -> bool:
                    """The test's certificate lasts a day: the critical rule must see it."""
                    alerts = (await ask(url, "/api/v1/alerts"))["alerts"]
                    return "NodegateCertificateEndsNow" in {alert["labels"]["alertname"] for alert in alerts}

                await until(ends_soon, within=30, every=0.5)
                rules = [
                    rule for group in (await ask(url, "/api/v1/rules"))["groups"] for rule in group["rules"]
                ]
                assert {
                    rule["name"]: rule.get("lastError") for rule in rules if rule["health"] == "err"
                } == {}
