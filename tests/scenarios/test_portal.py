"""The registration page as owners meet it: a real browser without scripts, real mails, real nodes, real traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from browser import THEMES, Tab, chromium, needs_chromium, tab
from gateway import QUICK, Gateway, quick_lab
from nodegate.lab.lab import Lab
from nodegate.lab.server import NodeServer
from portal_rig import MailServer, portal_toml, register
from support import free_port, until

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="module"),
    needs_chromium,
]

KIND = QUICK.replace("[pools.main]\n", '[pools.main]\nkind = "iri"\n')
OWNER = "owner@example.org"
SIZE = (1000, 900)
PATIENCE = 90_000
"""Milliseconds that a step of the browser may take on a busy machine."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with quick_lab() as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def node(lab: Lab) -> AsyncIterator[NodeServer]:
    """A good node of nobody's."""
    [node] = await lab.start(1)
    yield node
    await lab.remove(node.id)


@pytest_asyncio.fixture(loop_scope="module")
async def window(browser: Browser) -> AsyncIterator[Tab]:
    """A window that runs no scripts."""
    async with tab(browser, size=SIZE, theme="light", patience=PATIENCE, java_script_enabled=False) as window:
        yield window


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


async def heading(page: Page) -> str:
    return (await page.get_by_role("heading", level=1).inner_text()).strip()


async def test_the_whole_way_from_the_form_to_traffic_and_out_again(
    window: Tab, node: NodeServer, mails: MailServer
) -> None:
    page = window.page
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    toml = KIND + portal_toml(mails.port, listen, more="probation = 4.0")
    async with Gateway(toml=toml) as gateway:
        await page.goto(base)
        await window.screenshots("portal-form")
        await register(page, base, node.url, OWNER)
        assert "well" in await heading(page)
        await window.screenshots("portal-sent")

        mail = await mails.mail(OWNER, "Confirm your node")
        await page.goto(mail.link)
        await page.goto(mail.link)  # whoever only opens the link uses nothing up
        await window.screenshots("portal-confirm")
        assert await gateway.nodes() == {}
        await page.get_by_role("button", name="Confirm and join").click()
        assert await heading(page) == "My nodes"

        [row] = (await gateway.api("GET", "/api/v1/registrations"))["registrations"]
        name = row["node"]
        assert (row["state"], row["email"], row["url"]) == ("active", OWNER, node.url)
        await gateway.until_serving(name)
        assert f"joins as {name} with weight 10\n" in gateway.log
        async with gateway.load(connections=2, rate=50.0) as stream:
            await until(
                lambda: stream.report().by_node.get(name, 0) > 20, what="the new node answers clients"
            )
            await gateway.until_node(name, lambda row: row["weight"] == 100, "has its whole weight", 60)
        assert stream.report().failures == 0

        async def shown() -> bool:
            await page.goto(f"{base}/mine")
            return "Your node is well and serves." in await page.inner_text("main")

        await until(shown, what="the owner sees that the node serves", within=60)
        await window.screenshots("portal-mine")
        served = await page.locator("dt:text-is('Requests served') + dd").inner_text()
        assert int(served.replace(",", "")) > 20

        await page.get_by_role("button", name="Pause").click()
        await gateway.until_node(name, lambda row: row["intent"] == "drain", "is paused")
        assert "You have paused this node" in await page.inner_text("main")
        await page.get_by_role("button", name="Resume").click()
        await gateway.until_serving(name)

        await page.get_by_text("Leave", exact=True).click()
        await window.screenshots("portal-leave")
        await page.get_by_role("button", name="Take").click()
        await mails.mail(OWNER, "has left the fleet")

        async def gone() -> bool:
            return name not in await gateway.nodes()

        await until(gone, what="the node is gone from the registry", within=60)


async def test_the_page_under_a_path_of_the_gateway_with_approval_bans_and_a_badge(
    window: Tab, node: NodeServer, mails: MailServer
) -> None:
    page = window.page
    listen, public = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    base = f"http://{public}/join"
    toml = KIND + portal_toml(
        mails.port, listen, public_url=base, more='path = "/join"\napproval = true\nprobation = 0.0'
    )
    gateway = Gateway(toml=toml, start=False)
    gateway.listen, gateway.url = public, f"http://{public}"
    async with gateway:
        await gateway.start()
        await register(page, base, node.url, OWNER)
        await page.goto((await mails.mail(OWNER, "Confirm your node")).link)
        await page.get_by_role("button", name="Confirm and join").click()
        assert "The operator now looks at it" in await page.inner_text("main")
        await window.screenshots("portal-waiting")
        await mails.mail(OWNER, "waits for approval")
        assert await gateway.nodes() == {}

        said = await gateway.cli("registrations", "list", "--only", "waiting", "--json")
        [row] = said.json["registrations"]
        assert (await gateway.cli("registrations", "approve", row["id"])).code == 0
        await mails.mail(OWNER, "is in")
        [name] = await gateway.nodes()
        await gateway.until_serving(name)
        assert (await gateway.nodes())[name]["weight"] == 100

        answer = await page.goto(f"{base}/badge/{name}.svg")
        assert answer is not None
        assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
        assert f"{name}: up" in await answer.text()
        missing = await page.goto(f"{base}/badge/nobody.svg")
        assert missing is not None
        assert (missing.status, "unknown" in await missing.text()) == (404, True)

        before = len(mails.mails)
        assert (await gateway.cli("registrations", "ban", "@example.org", "--reason", "spam")).code == 0
        told = await mails.mail(OWNER, "was not taken", after=before)
        assert "spam" in told.text

        async def gone() -> bool:
            return name not in await gateway.nodes()

        await until(gone, what="the banned owner's node is gone", within=60)
        said = await gateway.cli("events", "--kind", "registered", "--kind", "registration", "--json")
        assert [(event["kind"], event["data"]["state"]) for event in said.json["events"]] == [
            ("registered", "waiting"), ("registration", "approved"), ("registration", "banned"),
        ]  # fmt: skip
        count = len(mails.mails)
        await register(page, base, node.url, OWNER)  # the banned see what everybody sees, and get no mail
        assert "well" in await heading(page)
        await register(page, base, node.url, "other@example.net")
        await mails.mail("other@example.net", "Confirm your node")
        assert [mail.to for mail in mails.mails[count:]] == ["other@example.net"]
        async with gateway.load(connections=1, requests=1, rate=None) as stream:
            assert (await stream.wait()).failed == {"status 503": 1}  # all other paths lead to the pool
        assert "already exists" not in gateway.log


async def test_what_is_wrong_is_said_in_words_and_nothing_is_sent(
    window: Tab, lab: Lab, node: NodeServer, mails: MailServer
) -> None:
    page = window.page
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    async with Gateway(toml=KIND + portal_toml(mails.port, listen)):
        await lab.fault(node.id, "hang")
        await register(page, base, node.url, OWNER)
        assert await heading(page) == "Add your node"
        assert "Your node cannot join yet" in await page.inner_text("main")
        assert "firewall" in await page.inner_text("main")
        await window.screenshots("portal-bad-node")
        hostile = "<script>alert(1)</script>'\"@x"
        await register(page, base, "http://10.0.0.1:14265/<b>", hostile)
        assert await page.get_by_label("Your e-mail address").input_value() == hostile
        assert "<script>alert" not in await page.content()
        await window.screenshots("portal-faults")
        await register(page, base, "192.168.1.1", OWNER)
        assert "a private network" in await page.inner_text("main")
        await page.goto(f"{base}/confirm/nonsense")
        assert await heading(page) == "This link does not work any more"
        await page.goto(f"{base}/nowhere")
        assert await heading(page) == "Not here"
        assert mails.mails == []


async def test_links_that_are_over_offer_a_new_one(window: Tab, node: NodeServer, mails: MailServer) -> None:
    page = window.page
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    async with Gateway(toml=KIND + portal_toml(mails.port, listen)) as gateway:
        await register(page, base, node.url, OWNER)
        first = await mails.mail(OWNER, "Confirm your node")
        await page.goto(first.link)
        await page.get_by_role("button", name="Confirm and join").click()
        await page.goto(first.link)
        assert await heading(page) == "This link does not work any more"
        await window.screenshots("portal-link-over")
        await page.get_by_role("button", name="Send me a new link").click()
        new = await mails.mail(OWNER, "The link to your nodes")
        assert OWNER not in await page.inner_text("main")  # who found the link must not learn whose it is

        await page.context.clear_cookies()
        await page.goto(f"{base}/mine")
        assert await heading(page) == "Get a link to your page"
        await window.screenshots("portal-link")
        await page.goto(new.link[:-1] + ("A" if new.link[-1] != "A" else "B"))
        assert "was not made here, or was changed" in await page.inner_text("main")
        await page.goto(new.link)
        await page.get_by_role("button", name="Open my page").click()
        assert node.url in await page.inner_text("main")
        await page.get_by_role("button", name="Sign out").click()
        await page.goto(f"{base}/mine")
        assert await heading(page) == "Get a link to your page"

        count = len(mails.mails)
        for email in ("nobody@example.org", OWNER):
            await page.goto(f"{base}/link")
            await page.get_by_label("Your e-mail address").fill(email)
            await page.get_by_role("button", name="Send me a link").click()
            assert (await page.inner_text("main")).replace(email, "X").count("X") == 1
        await mails.mail(OWNER, "The link to your nodes", after=count)
        assert {mail.to for mail in mails.mails} == {OWNER}
        assert (await gateway.api("GET", "/api/v1/registrations"))["mails"]["waiting"] == 0


async def test_registrations_outlive_a_mail_server_that_is_away_and_owners_hear_of_outages(
    window: Tab, lab: Lab, node: NodeServer, mails: MailServer
) -> None:
    page = window.page
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    toml = KIND + portal_toml(mails.port, listen, more="tell_after = 1.0\nremove_after = 3600.0")
    async with Gateway(toml=toml) as gateway:
        mails.stop()
        await register(page, base, node.url, OWNER)
        assert "well" in await heading(page)

        async def seen() -> bool:
            found = (await gateway.api("GET", "/api/v1/registrations"))["mails"]
            return found["waiting"] == 1 and "mail server" in found["error"]

        await until(seen, what="the operator sees the mail that waits", within=60)
        listed = await gateway.cli("registrations", "list")
        assert "1 mails wait to be sent: mail server 127.0.0.1" in listed.err
        assert gateway.log.count("registrations wait, and mails go out later") == 1
        await gateway.restart()
        mails.start()
        mail = await mails.mail(OWNER, "Confirm your node")
        await page.goto(mail.link)
        await page.get_by_role("button", name="Confirm and join").click()
        await mails.mail(OWNER, "is in")
        [name] = await gateway.nodes()
        await gateway.until_serving(name)
        await lab.fault(node.id, "refuse")
        out = await mails.mail(OWNER, "is out")
        assert "refused" in out.text or "no answer" in out.text
        await page.goto(f"{base}/mine")
        assert "Your node gets no traffic" in await page.inner_text("main")
        await window.screenshots("portal-mine-out")
        await lab.heal(node.id)
        await mails.mail(OWNER, "is back")
        await gateway.cli("nodes", "remove", name)
        gone = await mails.mail(OWNER, "has left the fleet")
        assert "The operator" in gone.text


async def test_pages_have_no_accessibility_faults_that_axe_finds(
    browser: Browser, node: NodeServer, mails: MailServer
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    found: dict[str, list[str]] = {}
    async with (
        # axe is a script, and the pages allow none
        tab(browser, size=SIZE, patience=PATIENCE, bypass_csp=True) as window,
        Gateway(toml=KIND + portal_toml(mails.port, listen)),
    ):
        page = window.page
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            await page.goto(base)
            found[f"form {theme}"] = await window.axe()
            await register(page, base, "http://10.0.0.1", "no")
            found[f"faults {theme}"] = await window.axe()
            await register(page, base, "10.0.0.1", OWNER)
            found[f"bad node {theme}"] = await window.axe()
            await page.goto(f"{base}/link")
            found[f"link {theme}"] = await window.axe()
        await register(page, base, node.url, OWNER)
        found["sent"] = await window.axe()
        await page.goto((await mails.mail(OWNER, "Confirm your node")).link)
        found["confirm"] = await window.axe()
        await page.get_by_role("button", name="Confirm and join").click()
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            found[f"mine {theme}"] = await window.axe()
    assert {name: faults for name, faults in found.items() if faults} == {}
