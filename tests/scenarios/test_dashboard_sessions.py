"""Sessions of the dashboard end by themselves: after a while without a click, and after a while in any case."""

from __future__ import annotations

import aiohttp
import pytest
from playwright.async_api import expect

from browser import chromium, needs_chromium, tab
from gateway import QUICK, Gateway
from support import until

pytestmark = pytest.mark.scenario

IDLE, LONGEST = 10, 25
SETTINGS = f"{QUICK}\n[dashboard]\nsession_idle = {IDLE}\nsession_max = {LONGEST}\n"


class Visitor:
    """Somebody who logs in with the token, without a browser."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self._url = f"http://{gateway.admin}"
        self._token = (gateway.state / "token").read_text().strip()
        self._http = http

    async def log_in(self) -> None:
        headers, data = {"Origin": self._url}, {"password": self._token}
        async with self._http.post(
            f"{self._url}/ui/login", data=data, headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == 303

    async def click(self) -> bool:
        """Go to a page, which counts as a sign of life; whether it was shown."""
        async with self._http.get(f"{self._url}/ui/plan", allow_redirects=False) as answer:
            return answer.status == 200

    async def is_in(self) -> bool:
        """Whether the session holds; asking for a file that there is not is no sign of life."""
        async with self._http.get(f"{self._url}/ui/_nicegui/none.js", allow_redirects=False) as answer:
            assert answer.status in {401, 404}
            return answer.status == 404


@needs_chromium
async def test_a_session_ends_without_a_click_and_in_any_case_and_an_open_page_says_so() -> None:
    jars = [aiohttp.CookieJar(unsafe=True) for _ in range(2)]
    async with (
        Gateway(toml=SETTINGS) as gateway,
        aiohttp.ClientSession(cookie_jar=jars[0]) as one,
        aiohttp.ClientSession(cookie_jar=jars[1]) as other,
        chromium() as browser,
        tab(browser, patience=60_000) as window,
    ):
        await window.page.goto(f"http://{gateway.admin}/ui/login")
        await window.page.get_by_label("Password or admin token").fill(
            (gateway.state / "token").read_text().strip()
        )
        await window.page.get_by_role("button", name="Log in").click()
        await expect(window.page.get_by_role("navigation")).to_be_visible(timeout=60_000)
        idle, busy = Visitor(gateway, one), Visitor(gateway, other)
        await idle.log_in()
        await busy.log_in()
        assert await idle.is_in()
        assert await busy.click()

        async def idle_is_out() -> bool:
            assert await busy.click(), "who clicks stays in"
            return not await idle.is_in()

        await until(idle_is_out, within=120, every=0.5, what="the session without a click has ended")
        # A page that only stands open is no click: it goes back to the login by itself, and says why.
        await expect(window.page.get_by_role("alert")).to_contain_text("session has ended", timeout=60_000)

        async def busy_is_out() -> bool:
            return not await busy.click()

        await until(busy_is_out, within=120, every=0.5, what="the session of who clicks has ended too")
        assert not await busy.is_in()
        await busy.log_in()
        assert await busy.click()


@needs_chromium
async def test_an_open_page_goes_to_the_login_and_back_when_nodegate_was_started_anew() -> None:
    async with Gateway() as gateway, chromium() as browser, tab(browser, patience=60_000) as window:
        page = window.page
        token = (gateway.state / "token").read_text().strip()
        await page.goto(f"http://{gateway.admin}/ui/plan")
        await page.get_by_label("Password or admin token").fill(token)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator(".state")).not_to_be_empty(timeout=60_000)
        await gateway.restart()
        await expect(page.get_by_role("alert")).to_contain_text("session has ended", timeout=60_000)
        await page.get_by_label("Password or admin token").fill(token)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Plan", timeout=60_000)
        await expect(page.locator(".state")).not_to_be_empty(timeout=60_000)
