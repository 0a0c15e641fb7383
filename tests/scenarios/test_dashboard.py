"""The dashboard in a real browser, before a real gateway with real traffic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from browser import PHONE, WIDE, Tab, chromium, needs_chromium, tab
from gateway import NODEGATE, QUICK, Gateway, ids, quick_lab
from nodegate.lab.load import Load
from support import until

pytestmark = [
    pytest.mark.scenario,
    needs_chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("dashboard"),
]

expect.set_options(timeout=20_000)
OPERATOR, VIEWER = "an operator's password", "a viewer's password"
HOSTILE = '<img src=x onerror="window.pwned=1">{{7*7}}'
PATHS = {
    "overview": "/ui/",
    "nodes": "/ui/nodes",
    "node": "/ui/nodes/iri-1",
    "clients": "/ui/clients",
    "policy": "/ui/policy",
    "plan": "/ui/plan",
    "events": "/ui/events",
    "cluster": "/ui/cluster",
    "registrations": "/ui/registrations",
}
IRI = QUICK.replace("[pools.main]\n", '[pools.main]\nkind = "iri"\n')
POLICY = 'kind = "iri"\n[client]\ntrusted = ["127.0.0.1/32"]\n'


class Stage:
    """One gateway for all tests of this module, with a stream of requests."""

    def __init__(self, gateway: Gateway, browser: Browser, load: Load) -> None:
        self.gateway = gateway
        self.browser = browser
        self.load = load
        self.url = f"http://{gateway.admin}"
        self.token = (gateway.state / "token").read_text().strip()

    @asynccontextmanager
    async def logged_in(self, password: str = OPERATOR, **options: Any) -> AsyncIterator[Tab]:
        """A window that is logged in."""
        async with tab(self.browser, **options) as window:
            await self.log_in(window.page, password)
            yield window

    async def log_in(self, page: Page, password: str, path: str = "/ui/") -> None:
        await page.goto(self.url + path)
        await page.get_by_label("Password or admin token").fill(password)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("navigation")).to_be_visible()

    async def cookie(self, password: str = OPERATOR) -> str:
        """The cookie of a login without a browser."""
        async with (
            aiohttp.ClientSession(headers={"Origin": self.url}) as session,
            session.post(
                f"{self.url}/ui/login", data={"password": password}, allow_redirects=False
            ) as answer,
        ):
            assert answer.status == 303
            return answer.headers["Set-Cookie"].partition(";")[0]


@asynccontextmanager
async def hostile_node(honest: str) -> AsyncIterator[str]:
    """A node that says what an honest one does, but of a version that is a script."""

    async def answer(request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession() as session,
            session.post(honest, data=await request.read(), headers={"X-IOTA-API-Version": "1"}) as reply,
        ):
            document = await reply.json(content_type=None)
        if "appVersion" in document:
            document["appVersion"] = HOSTILE
        return web.json_response(document)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(quick_lab())
        await lab.start(4)
        evil = await stack.enter_async_context(hostile_node(lab.nodes[0].url))
        gateway = await stack.enter_async_context(Gateway(policy=POLICY, toml=IRI, start=False))
        await gateway.start()
        for node in lab.nodes:
            await gateway.api("POST", "/api/v1/nodes", {"id": node.id, "url": node.url, "kind": "iri"})
        await gateway.api("POST", "/api/v1/nodes", {"id": "evil", "url": evil, "kind": "iri"})
        for role, password in (("operator", OPERATOR), ("viewer", VIEWER)):
            await set_password(gateway, role, password)
        await gateway.until_serving(*ids(lab.nodes))
        load = await stack.enter_async_context(gateway.load(rate=30.0))
        browser = await stack.enter_async_context(chromium())
        yield Stage(gateway, browser, load)


async def set_password(gateway: Gateway, role: str, password: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *NODEGATE, "password", "set", "--role", role, "--state", str(gateway.state),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await process.communicate(password.encode())
    assert process.returncode == 0


async def open_at(page: Page, url: str) -> None:
    """A page once it is there and has been shown its first look."""
    await page.goto(url)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.locator(".state")).not_to_be_empty()


async def test_every_page_is_whole_in_both_themes_and_on_a_phone_and_asks_nobody_else(stage: Stage) -> None:
    async with stage.logged_in(theme="dark", bypass_csp=True) as window:
        page = window.page
        for name, path in PATHS.items():
            await open_at(page, stage.url + path)
            title = await page.title()
            assert title == await page.get_by_role("heading", level=1).inner_text() + " · nodegate"
            if name in {"nodes", "node", "policy"}:
                await expect(page.locator("tbody tr").first).to_be_visible()
            await in_theme(page, "dark")
            await window.screenshot(f"dashboard-{name}-dark-1360")
            assert await window.axe() == [], name
            await in_theme(page, "light")
            await window.screenshot(f"dashboard-{name}-light-1360")
            await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE[0], f"{name} is {wide} px wide"
            await window.screenshot(f"dashboard-{name}-light-390")
            assert await window.axe() == [], name
            await page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
        assert window.faults == []
        assert window.hosts == {stage.gateway.admin}


async def in_theme(page: Page, theme: Literal["dark", "light"]) -> None:
    """The device asks for a theme, and the page has followed."""
    await page.emulate_media(color_scheme=theme)
    is_dark = "document.body.classList.contains('body--dark')"
    await until(
        lambda: page.evaluate(is_dark if theme == "dark" else f"!{is_dark}"), what=f"the page is {theme}"
    )


async def test_the_login_page_is_whole_without_any_script(stage: Stage) -> None:
    async with tab(stage.browser, java_script_enabled=False) as window:
        await window.page.goto(stage.url)
        await expect(window.page.get_by_label("Password or admin token")).to_be_focused()
        await window.screenshot("dashboard-login-dark-1360")
    async with tab(stage.browser, size=PHONE, theme="light", bypass_csp=True) as window:
        await window.page.goto(stage.url)
        await window.screenshot("dashboard-login-light-390")
        assert await window.axe() == []


async def test_the_pages_own_policy_lets_their_scripts_run_and_no_others(stage: Stage) -> None:
    async with stage.logged_in() as window:
        await open_at(window.page, f"{stage.url}/ui/nodes")
        await expect(window.page.locator("tbody tr").first).to_be_visible()
        assert window.faults == []
        await window.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
            " document.body.append(s); const i = document.createElement('img'); i.setAttribute('onerror', 'window.pwned = 1');"
            " i.src = 'x'; document.body.append(i); }"
        )
        await until(
            lambda: any("Content Security Policy" in fault for fault in window.faults), what="it is refused"
        )
        assert await window.page.evaluate("window.pwned") is None


async def test_a_wrong_password_is_said_and_the_right_one_leads_to_the_page(stage: Stage) -> None:
    async with tab(stage.browser) as window:
        page = window.page
        await page.goto(f"{stage.url}/ui/nodes/iri-2")
        await page.get_by_label("Password or admin token").fill("not this one")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("neither a password")
        await page.get_by_label("Password or admin token").fill(stage.token)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("iri-2")
        cookies = await window.context.cookies()
        assert [(one["httpOnly"], one["sameSite"], one["path"]) for one in cookies] == [
            (True, "Strict", "/ui")
        ]
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("button", name="Log in")).to_be_visible()
        await page.go_back()
        await expect(page.get_by_role("button", name="Log in")).to_be_visible()


async def test_draining_a_node_takes_it_out_of_haproxy_and_undo_brings_it_back(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes")
        await page.get_by_role("button", name="Change iri-2").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("button", name="Apply")).to_be_disabled()
        await dialog.get_by_role("radio", name="Drain: no new requests").click()
        await expect(dialog).to_contain_text("other nodes of the pool main serve")
        await window.screenshot("dashboard-change-dark-1360")
        await dialog.get_by_role("button", name="Apply").click()
        await expect(page.locator(".message")).to_contain_text("iri-2 drains")
        await stage.gateway.until_node("iri-2", lambda row: row["serving"] is False, "is out of HAProxy")
        servers = (await stage.gateway.api("GET", "/api/v1/nodes/iri-2"))["servers"]
        assert {server["state"] for server in servers} == {"drain"}
        await expect(page.locator("tr", has_text="iri-2")).to_contain_text("drain")
        await page.get_by_role("button", name="Undo").click()
        await expect(page.locator(".message")).to_contain_text("as it was before")
        await stage.gateway.until_serving("iri-2")


async def test_a_weight_is_set_and_a_removed_node_comes_back(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes/iri-3")
        await page.get_by_role("button", name="Change", exact=True).click()
        await page.get_by_role("dialog").get_by_label("Weight, 0 to 256").fill("7")
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator(".message")).to_contain_text("weight of iri-3 is 7")
        await until(lambda: weight_of(stage, "iri-3", 7), what="HAProxy has the weight")
        await page.get_by_role("button", name="Undo").click()
        await until(lambda: weight_of(stage, "iri-3", 100), what="HAProxy has the former weight")
        await page.get_by_role("button", name="Change", exact=True).click()
        await page.get_by_role("dialog").get_by_role("radio", name="Remove: drain, then forget").click()
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator(".message")).to_contain_text("is then forgotten")
        await page.get_by_role("button", name="Undo").click()
        await stage.gateway.until_serving("iri-3")


async def weight_of(stage: Stage, node: str, weight: int) -> bool:
    servers = (await stage.gateway.api("GET", f"/api/v1/nodes/{node}"))["servers"]
    return bool(servers) and {server["weight"] for server in servers} == {weight}


async def test_a_viewer_sees_everything_and_can_change_nothing(stage: Stage) -> None:
    async with stage.logged_in(VIEWER) as window:
        page = window.page
        await expect(page.locator(".top")).to_contain_text("look only")
        for path in ("/ui/nodes", "/ui/nodes/iri-1", "/ui/clients"):
            await open_at(page, stage.url + path)
            await expect(page.get_by_role("button", name="Change")).to_have_count(0)
            await expect(page.get_by_role("button", name="Ban a client")).to_have_count(0)
        await window.screenshot("dashboard-viewer-dark-1360")


async def test_a_client_is_banned_and_set_free(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/clients")
        await page.get_by_role("button", name="Ban a client").click()
        await page.get_by_role("dialog").get_by_label("IP address").fill("198.51.100.9")
        await page.get_by_role("button", name="Ban", exact=True).click()
        await expect(page.get_by_role("button", name="Lift the ban of 198.51.100.9")).to_be_visible()
        assert [ban["client"] for ban in (await stage.gateway.api("GET", "/api/v1/bans"))["bans"]] == [
            "198.51.100.9"
        ]
        await page.get_by_role("button", name="Lift the ban of 198.51.100.9").click()
        await expect(page.get_by_text("Nobody is banned.")).to_be_visible()
        assert (await stage.gateway.api("GET", "/api/v1/bans"))["bans"] == []
        await page.get_by_role("button", name="Ban a client").click()
        await page.get_by_role("dialog").get_by_label("IP address").fill(HOSTILE)
        await page.get_by_role("button", name="Ban", exact=True).click()
        await expect(page.locator(".message")).to_contain_text("is not an IP address")


async def test_a_request_is_tried_without_asking_a_node(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/policy")
        await page.get_by_role("button", name="Judge").click()
        await expect(page.get_by_text("let through", exact=True)).to_be_visible()
        await page.get_by_label("Body", exact=True).fill(
            json.dumps({"command": "addNeighbors", "uris": [HOSTILE]})
        )
        await page.get_by_role("button", name="Judge").click()
        await expect(page.get_by_text("(rule method-denied, status 403)")).to_be_visible()


async def test_what_a_node_says_of_itself_is_shown_as_it_is(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes/evil")
        await expect(page.locator("dd", has_text="onerror")).to_have_text(HOSTILE)
        for path in ("/ui/", "/ui/nodes", "/ui/events", "/ui/plan"):
            await open_at(page, stage.url + path)
        assert await page.evaluate("window.pwned") is None
        await open_at(page, f"{stage.url}/ui/nodes/%3Cimg%20src=x%20onerror=window.pwned=1%3E")
        await expect(page.get_by_text("There is no such node")).to_be_visible()
        assert await page.evaluate("window.pwned") is None
        assert [fault for fault in window.faults if "404" not in fault] == []


async def test_nodes_are_sorted_and_filtered(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes")
        names = page.locator("tbody tr td:first-child")
        await page.get_by_role("button", name="Node", exact=True).click()
        await expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Node")
        await expect(names.first).to_have_text("evil")
        await page.get_by_role("button", name="Node").click()
        await expect(page.locator("th[aria-sort=descending]")).to_contain_text("Node")
        await expect(names.last).to_have_text("evil")
        await page.get_by_label("Filter nodes").fill("IRI-1")
        await expect(names).to_have_text(["iri-1"])
        await expect(page.get_by_text("1 of 5 nodes")).to_be_visible()


async def test_everything_can_be_reached_by_keyboard(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await stage.gateway.until_serving(
            *(f"iri-{number}" for number in range(1, 5))
        )  # rows stay where they are
        await open_at(page, f"{stage.url}/ui/nodes")
        await expect(page.locator("tr", has_text="iri-4")).to_contain_text("up")
        walked: list[str] = []
        for _ in range(60):
            await page.keyboard.press("Tab")
            walked.append(
                await page.evaluate(
                    "() => { const e = document.activeElement;"
                    " return (e.getAttribute('aria-label') || e.innerText || e.tagName).trim(); }"
                )
            )
            if walked[-1] == "Change iri-4":
                break
        assert walked[0] == "Skip to the page"
        assert {"Nodes", "Log out", "Filter nodes", "Latency", "iri-1", "Change iri-1"} <= set(walked), walked
        assert walked[-1] == "Change iri-4"
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        count = page.locator("tr", has_text="iri-4").locator("td[data-label=Requests]")
        for _ in range(2):  # the table is drawn anew, and the place is kept
            before = await count.inner_text()
            await expect(count).not_to_have_text(before)
        await until(
            lambda: page.evaluate("document.activeElement.getAttribute('aria-label') === 'Change iri-4'"),
            what="the place is kept",
        )
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_be_visible()
        await until(
            lambda: page.evaluate("!!document.activeElement.closest('.q-dialog')"),
            what="focus is in the dialog",
        )
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await until(
            lambda: page.evaluate("document.activeElement.getAttribute('aria-label') === 'Change iri-4'"),
            what="focus is back where it was",
        )


async def test_a_row_that_moves_takes_the_focus_with_it(stage: Stage) -> None:
    names = "tbody tr td:first-child"
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes")
        await page.get_by_role("button", name="Weight").click()
        await expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Weight")
        await page.get_by_role("button", name="Change iri-4").focus()
        try:
            for weight, place in ((200, -1), (1, 0)):
                await stage.gateway.api("PATCH", "/api/v1/nodes/iri-4", {"weight": weight})
                await expect(page.locator(names).nth(place)).to_have_text("iri-4")
                held = await page.evaluate("document.activeElement.getAttribute('aria-label')")
                assert held == "Change iri-4"
        finally:
            await stage.gateway.api("PATCH", "/api/v1/nodes/iri-4", {"weight": 100})


async def test_the_theme_is_kept_for_the_session(stage: Stage) -> None:
    async with stage.logged_in(theme="dark") as window:
        page = window.page
        is_dark = "document.body.classList.contains('body--dark')"
        assert await page.evaluate(is_dark)
        await page.get_by_role("button", name="Theme: Auto").click()
        await until(lambda: page.evaluate(f"!{is_dark}"), what="the page is light")
        await open_at(page, f"{stage.url}/ui/plan")
        assert not await page.evaluate(is_dark)
        await page.get_by_role("button", name="Theme: Light").click()
        await until(lambda: page.evaluate(is_dark), what="the page is dark")


async def test_a_new_password_sends_open_pages_back_to_the_login(stage: Stage) -> None:
    async with stage.logged_in(VIEWER) as window:
        await open_at(window.page, f"{stage.url}/ui/nodes")
        await set_password(stage.gateway, "viewer", VIEWER)  # the same words, but another hash
        await expect(window.page.get_by_role("alert")).to_contain_text("session has ended")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
async def test_another_site_cannot_open_the_websocket(stage: Stage, origin: str | None) -> None:
    cookie = await stage.cookie()
    place = f"{stage.url.replace('http', 'ws')}/ui/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session:
        good = {"Cookie": cookie, "Origin": stage.url}
        async with session.ws_connect(place, headers=good) as socket:
            assert (await socket.receive_str()).startswith("0{")
        bad = {"Cookie": cookie} | ({"Origin": origin} if origin is not None else {})
        for headers in (bad, {"Origin": stage.url}, {"Cookie": "x=y", "Origin": stage.url}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(place, headers=headers)
            assert refused.value.status == 403


async def test_nothing_of_it_is_on_the_public_listener(stage: Stage) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/ui/", "/ui/login", "/ui/_nicegui_ws/socket.io/"):
            async with session.get(stage.gateway.url + path) as answer:
                assert answer.status >= 400
                assert "nodegate" not in (await answer.text()).lower()


async def test_a_page_follows_what_happens(stage: Stage) -> None:
    async with stage.logged_in() as window:
        page = window.page
        await open_at(page, f"{stage.url}/ui/nodes")
        await stage.gateway.intend("iri-4", "drain")
        try:
            await expect(page.locator("tr", has_text="iri-4")).to_contain_text("drain")
        finally:
            await stage.gateway.intend("iri-4", "serve")
        await expect(page.locator("tr", has_text="iri-4")).not_to_contain_text("drain")
        await stage.gateway.until_serving("iri-4")


async def test_a_page_after_the_first_is_light(stage: Stage) -> None:
    async with stage.logged_in() as window:
        session = await window.context.new_cdp_session(window.page)
        await session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        for path in ("/ui/", "/ui/nodes", "/ui/policy", "/ui/events"):
            await open_at(window.page, stage.url + path)
        sizes.clear()
        for path in ("/ui/", "/ui/nodes", "/ui/policy", "/ui/events"):
            await open_at(window.page, stage.url + path)
        assert 0 < sum(sizes) < 1_000_000


async def test_switched_off_it_is_not_there() -> None:
    async with (
        Gateway(toml=QUICK + "\n[dashboard]\nenabled = false\n") as gateway,
        aiohttp.ClientSession() as session,
        session.get(f"http://{gateway.admin}/ui/login") as answer,
    ):
        assert answer.status == 401  # a path like any other
