"""The registration page as owners meet it: a real browser without scripts, real mails, real nodes, real traffic."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from gateway import QUICK, Gateway, quick_lab
from portal_rig import MailServer, portal_toml
from support import free_port, until

CHROMIUM = shutil.which("chromium")
SHOTS = Path(__file__).parents[2] / ".cache" / "screenshots"
AXE = Path(__file__).parents[1] / "js" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(400),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

KIND = QUICK.replace("[pools.main]\n", '[pools.main]\nkind = "iri"\n')
OWNER = "owner@example.org"
PATIENCE = 90_000
"""Milliseconds that a step of the browser may take on a busy machine."""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A browser that runs no scripts."""
    context = await browser.new_context(java_script_enabled=False, viewport={"width": 1000, "height": 900})
    context.set_default_timeout(PATIENCE)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def mails() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


async def shoot(page: Page, name: str) -> None:
    """The page as it is now: light and dark, wide and as on a phone."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for size, width in (("wide", 1000), ("phone", 390)):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.screenshot(path=SHOTS / f"portal-{name}-{scheme}-{size}.png", full_page=True)
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1000, "height": 900})


async def register(page: Page, base: str, url: str, email: str = OWNER) -> None:
    await page.goto(f"{base}/")
    await page.get_by_label("Your e-mail address").fill(email)
    await page.get_by_label("Address of your node").fill(url)
    await page.get_by_role("button", name="Check my node").click()


async def heading(page: Page) -> str:
    return (await page.get_by_role("heading", level=1).inner_text()).strip()


async def test_the_whole_way_from_the_form_to_traffic_and_out_again(page: Page, mails: MailServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    toml = KIND + portal_toml(mails.port, listen, more="probation = 4.0")
    async with quick_lab() as lab:
        [node] = await lab.start(1)
        async with Gateway(toml=toml) as gateway:
            await page.goto(base)
            await shoot(page, "form")
            await register(page, base, node.url)
            assert "well" in await heading(page)
            await shoot(page, "sent")

            mail = await mails.mail(OWNER, "Confirm your node")
            await page.goto(mail.link)
            await page.goto(mail.link)  # whoever only opens the link uses nothing up
            await shoot(page, "confirm")
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
            await shoot(page, "mine")
            served = await page.locator("dt:text-is('Requests served') + dd").inner_text()
            assert int(served.replace(",", "")) > 20

            await page.get_by_role("button", name="Pause").click()
            await gateway.until_node(name, lambda row: row["intent"] == "drain", "is paused")
            assert "You have paused this node" in await page.inner_text("main")
            await page.get_by_role("button", name="Resume").click()
            await gateway.until_serving(name)

            await page.get_by_text("Leave", exact=True).click()
            await shoot(page, "leave")
            await page.get_by_role("button", name="Take").click()
            await mails.mail(OWNER, "has left the fleet")

            async def gone() -> bool:
                return name not in await gateway.nodes()

            await until(gone, what="the node is gone from the registry", within=60)


async def test_the_page_under_a_path_of_the_gateway_with_approval_bans_and_a_badge(
    page: Page, mails: MailServer
) -> None:
    listen, public = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    base = f"http://{public}/join"
    toml = KIND + portal_toml(
        mails.port, listen, public_url=base, more='path = "/join"\napproval = true\nprobation = 0.0'
    )
    async with quick_lab() as lab:
        [node] = await lab.start(1)
        gateway = Gateway(toml=toml, start=False)
        gateway.listen, gateway.url = public, f"http://{public}"
        async with gateway:
            await gateway.start()
            await register(page, base, node.url)
            await page.goto((await mails.mail(OWNER, "Confirm your node")).link)
            await page.get_by_role("button", name="Confirm and join").click()
            assert "The operator now looks at it" in await page.inner_text("main")
            await shoot(page, "waiting")
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
            count = len(mails.mails)
            await register(page, base, node.url)  # the banned see what everybody sees, and get no mail
            assert "well" in await heading(page)
            await register(page, base, node.url, email="other@example.net")
            await mails.mail("other@example.net", "Confirm your node")
            assert [mail.to for mail in mails.mails[count:]] == ["other@example.net"]
            async with gateway.load(connections=1, requests=1, rate=None) as stream:
                assert (await stream.wait()).failed == {"status 503": 1}  # all other paths lead to the pool
            assert "already exists" not in gateway.log


async def test_what_is_wrong_is_said_in_words_and_nothing_is_sent(page: Page, mails: MailServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    async with quick_lab() as lab, Gateway(toml=KIND + portal_toml(mails.port, listen)):
        [node] = await lab.start(1)
        await lab.fault(node.id, "hang")
        await register(page, base, node.url)
        assert await heading(page) == "Add your node"
        assert "Your node cannot join yet" in await page.inner_text("main")
        assert "firewall" in await page.inner_text("main")
        await shoot(page, "bad-node")
        hostile = "<script>alert(1)</script>'\"@x"
        await register(page, base, "http://10.0.0.1:14265/<b>", email=hostile)
        assert await page.get_by_label("Your e-mail address").input_value() == hostile
        assert "<script>alert" not in await page.content()
        await shoot(page, "faults")
        await register(page, base, "192.168.1.1", email=OWNER)
        assert "a private network" in await page.inner_text("main")
        await page.goto(f"{base}/confirm/nonsense")
        assert await heading(page) == "This link does not work any more"
        await page.goto(f"{base}/nowhere")
        assert await heading(page) == "Not here"
        assert mails.mails == []


async def test_links_that_are_over_offer_a_new_one(page: Page, mails: MailServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    async with quick_lab() as lab, Gateway(toml=KIND + portal_toml(mails.port, listen)) as gateway:
        [node] = await lab.start(1)
        await register(page, base, node.url)
        first = await mails.mail(OWNER, "Confirm your node")
        await page.goto(first.link)
        await page.get_by_role("button", name="Confirm and join").click()
        await page.goto(first.link)
        assert await heading(page) == "This link does not work any more"
        await shoot(page, "link-over")
        await page.get_by_role("button", name="Send me a new link").click()
        new = await mails.mail(OWNER, "The link to your nodes")
        assert OWNER not in await page.inner_text("main")  # who found the link must not learn whose it is

        await page.context.clear_cookies()
        await page.goto(f"{base}/mine")
        assert await heading(page) == "Get a link to your page"
        await shoot(page, "link")
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
    page: Page, mails: MailServer
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    toml = KIND + portal_toml(mails.port, listen, more="tell_after = 1.0\nremove_after = 3600.0")
    async with quick_lab() as lab, Gateway(toml=toml) as gateway:
        [node] = await lab.start(1)
        mails.stop()
        await register(page, base, node.url)
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
        await shoot(page, "mine-out")
        await lab.heal(node.id)
        await mails.mail(OWNER, "is back")
        await gateway.cli("nodes", "remove", name)
        gone = await mails.mail(OWNER, "has left the fleet")
        assert "The operator" in gone.text


@pytest.mark.npm
@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: run `make setup`")
async def test_pages_have_no_accessibility_faults_that_axe_finds(browser: Browser, mails: MailServer) -> None:
    listen = f"127.0.0.1:{free_port()}"
    base = f"http://{listen}"
    context = await browser.new_context(bypass_csp=True)  # axe is a script, and the pages allow none
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()

    async def faults() -> list[str]:
        await page.add_script_tag(path=AXE)
        found = await page.evaluate("async () => (await axe.run()).violations")
        return [f"{item['id']}: {item['nodes'][0]['html']}" for item in found]

    async with quick_lab() as lab, Gateway(toml=KIND + portal_toml(mails.port, listen)):
        [node] = await lab.start(1)
        found: dict[str, list[str]] = {}
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.goto(base)
            found[f"form {scheme}"] = await faults()
            await register(page, base, "http://10.0.0.1", email="no")
            found[f"faults {scheme}"] = await faults()
            await register(page, base, "10.0.0.1")
            found[f"bad node {scheme}"] = await faults()
            await page.goto(f"{base}/link")
            found[f"link {scheme}"] = await faults()
        await register(page, base, node.url)
        found["sent"] = await faults()
        await page.goto((await mails.mail(OWNER, "Confirm your node")).link)
        found["confirm"] = await faults()
        await page.get_by_role("button", name="Confirm and join").click()
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            found[f"mine {scheme}"] = await faults()
    await context.close()
    assert {name: list_ for name, list_ in found.items() if list_} == {}
