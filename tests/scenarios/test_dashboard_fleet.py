"""The dashboard's pages about others: gateways of a real cluster, and owners who wait for a decision."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from browser import Tab, chromium, needs_chromium, tab
from consul import ConsulAgent, consul_binary
from gateway import QUICK, Gateway, quick_lab
from nodegate.lab.lab import Lab
from portal_rig import MailServer, portal_toml, register
from support import free_port, until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(400),
    needs_chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("dashboard fleet"),
]

PATIENCE = 60_000
"""Milliseconds that a step may take on a busy machine."""
CLUSTER = """
[registry]
url = "{consul}"

[cluster]
name = "{name}"
service = "{service}"
peers = "127.0.0.1:{peers}"
"""
ALERTS = """
[alerts]
group = 0

[alerts.channels.told]
kind = "command"
command = ["/bin/sh", "-c", "cat >> {told}; echo >> {told}"]
severity = "info"
"""
MEMBERS = "friend@example.org", "stranger@example.org"


@dataclass
class Stage:
    """Two gateways of one cluster, the first with a registration page, and a browser."""

    first: Gateway
    second: Gateway
    portal: str
    mails: MailServer
    lab: Lab
    browser: Browser
    told: Path
    """What the alerts' channel was given, one document a line."""

    @asynccontextmanager
    async def logged_in(self) -> AsyncIterator[Tab]:
        """A window of the first gateway's operator."""
        token = (self.first.state / "token").read_text().strip()
        async with tab(self.browser, patience=PATIENCE, bypass_csp=True) as window:
            await window.page.goto(f"http://{self.first.admin}/ui/login")
            await window.page.get_by_label("Password or admin token").fill(token)
            await window.page.get_by_role("button", name="Log in").click()
            await expect(window.page.get_by_role("navigation")).to_be_visible(timeout=PATIENCE)
            yield window

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Registrations by their owners' addresses."""
        document = await self.first.api("GET", "/api/v1/registrations")
        return {row["email"]: row for row in document["registrations"]}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    consul_binary()
    async with AsyncExitStack() as stack:
        consul = stack.enter_context(ConsulAgent())
        mails = stack.enter_context(MailServer())
        lab = await stack.enter_async_context(quick_lab())
        await lab.start(2)
        listen, service = f"127.0.0.1:{free_port()}", f"gw{free_port()}"
        gateways = []
        told = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ngtold-"))) / "told"
        portal = portal_toml(mails.port, listen, more="approval = true") + ALERTS.format(told=told)
        for name, more in (("east", portal), ("west", "")):
            cluster = CLUSTER.format(consul=consul.url, name=name, service=service, peers=free_port())
            toml = cluster + QUICK.replace("[pools.main]\n", '[pools.main]\nkind = "iri"\n') + more
            gateways.append(await stack.enter_async_context(Gateway(toml=toml)))
        browser = await stack.enter_async_context(chromium())
        yield Stage(*gateways, f"http://{listen}", mails, lab, browser, told)


def said(told: Path) -> str:
    """All that the channel was given so far."""
    return told.read_text() if told.exists() else ""


async def shown(page: Page, gateway: Gateway, path: str) -> None:
    """The page once it has been shown its first look."""
    await page.goto(f"http://{gateway.admin}{path}")
    await expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE)
    await expect(page.locator(".state")).not_to_be_empty(timeout=PATIENCE)


async def test_an_operator_approves_one_owner_and_rejects_another_by_clicks(stage: Stage) -> None:
    async with tab(stage.browser, patience=PATIENCE, java_script_enabled=False) as owner:
        for email, node in zip(MEMBERS, stage.lab.nodes, strict=True):
            await register(owner.page, stage.portal, node.url, email)
            await owner.page.goto((await stage.mails.mail(email, "Confirm your node")).link)
            await owner.page.get_by_role("button", name="Confirm and join").click()
            await expect(owner.page.get_by_role("heading", level=1)).to_have_text("My nodes")
    assert await stage.first.nodes() == {}
    await until(
        lambda: len(re.findall("is registered and waits for approval", said(stage.told))) >= len(MEMBERS),
        within=60, what="the operator is told of both",
    )  # fmt: skip
    friend, stranger = (node.url for node in stage.lab.nodes)
    async with stage.logged_in() as window:
        page = window.page
        await shown(page, stage.first, "/ui/registrations")
        waiting = page.get_by_role("table", name="Waiting registrations")
        await expect(waiting.locator("tbody tr")).to_have_count(2)
        await window.screenshots("dashboard-registrations-waiting")
        assert await window.axe() == []

        await page.get_by_role("button", name=f"Decide about the registration of {friend}").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Rejected, it is taken out and its owner gets a mail.")
        await window.screenshot("dashboard-decide-dark-1360")
        await dialog.get_by_role("button", name="Approve").click()
        await expect(page.locator(".message")).to_contain_text(f"the node {friend} is approved")
        [name] = await stage.first.nodes()
        await stage.first.until_serving(name)
        row = (await stage.rows())["friend@example.org"]
        assert (row["state"], row["node"]) == ("active", name)
        await stage.mails.mail("friend@example.org", "is in")

        await page.get_by_role("button", name=f"Decide about the registration of {stranger}").click()
        await dialog.get_by_label("Reason, which the owner gets by mail").fill("<b>members only</b>")
        await dialog.get_by_role("button", name="Reject").click()
        await expect(page.locator(".message")).to_contain_text(f"the registration of {stranger} has ended")
        await expect(waiting.locator("tbody tr")).to_have_count(0)
        await expect(page.get_by_text("Nobody waits.")).to_be_visible()
        others = page.get_by_role("table", name="Registrations", exact=True)
        await expect(others.locator("tr", has_text=stranger)).to_contain_text("<b>members only</b>")
        await expect(others.locator("tr", has_text=friend)).to_contain_text("active")
        await expect(page.get_by_role("button", name=f"End the registration of {friend}")).to_be_in_viewport(
            ratio=1
        )
        assert (await stage.rows())["stranger@example.org"]["state"] == "rejected"
        assert list(await stage.first.nodes()) == [name]
        assert "members only" in (await stage.mails.mail("stranger@example.org", "was not taken")).text
        await window.screenshots("dashboard-registrations-decided")
        assert await window.axe() == []

        await shown(page, stage.first, "/ui/events")
        await expect(page.get_by_text(f"the registration of {friend} is approved")).to_be_visible()
        assert window.faults == []
    await stage.second.until_serving(name)  # the other gateway has it too


async def test_the_other_gateways_are_shown_with_what_is_wrong_with_them(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await shown(page, stage.first, "/ui/cluster")
        rows = page.get_by_role("table", name="Gateways").locator("tbody tr")
        await expect(rows).to_have_count(2, timeout=PATIENCE)
        await expect(rows.filter(has_text="east (this one)")).to_contain_text("alive", timeout=PATIENCE)
        await expect(rows.filter(has_text="west")).to_contain_text(stage.second.listen, timeout=PATIENCE)
        await expect(rows.filter(has_text="west")).to_contain_text("alive", timeout=PATIENCE)
        await window.screenshots("dashboard-cluster-alive")
        assert await window.axe() == []
        await stage.second.kill()
        await expect(rows.filter(has_text="west")).to_contain_text("gone", timeout=120_000)
        await window.screenshots("dashboard-cluster-gone")
        assert await window.axe() == []

        async def told() -> bool:
            found = await stage.first.api("GET", "/api/v1/events?kind=peer-lost")
            return [event["subject"] for event in found["events"]] == ["peer/west"]

        await until(told, within=60, what="the loss is an event")
        assert window.faults == []
    await stage.second.start()
