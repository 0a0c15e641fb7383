"""Chromium for tests: pages, screenshots that are kept, axe-core."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / ".cache" / "screenshots"
AXE = ROOT / "tests" / "js" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium")
WIDE, PHONE = (1360, 900), (390, 844)
THEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; apt-get install chromium")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """One browser process."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Tab:
    """One page of one browser context, and what went wrong in it."""

    page: Page
    context: BrowserContext
    theme: Literal["dark", "light"] = "dark"
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def screenshot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    async def screenshots(self, name: str) -> None:
        """Pictures of the page as it is now, dark and light, wide and as on a phone; it is as before afterwards."""
        size = self.page.viewport_size or {"width": WIDE[0], "height": WIDE[1]}
        for theme in THEMES:
            await self.page.emulate_media(color_scheme=theme)
            for width, height in ((size["width"], size["height"]), PHONE):
                await self.page.set_viewport_size({"width": width, "height": height})
                await self.screenshot(f"{name}-{theme}-{width}")
            await self.page.set_viewport_size(size)
        await self.page.emulate_media(color_scheme=self.theme)

    async def axe(self) -> list[str]:
        """What axe-core finds wrong, one sentence each. Skips where it is not installed."""
        if not AXE.is_file():
            pytest.skip("axe-core is not installed; `make setup` does it")
        await self.page.evaluate(AXE.read_text("utf-8"))
        report: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{rule['id']}: {rule['help']}: {node['html'][:160]}"
            for rule in report["violations"]
            for node in rule["nodes"]
        ]


@asynccontextmanager
async def tab(
    browser: Browser,
    *,
    size: tuple[int, int] = WIDE,
    theme: Literal["dark", "light"] = "dark",
    patience: float = 20_000,
    **options: Any,
) -> AsyncIterator[Tab]:
    """A new window with cookies of its own. Faults of scripts and refused requests are collected. `patience` are
    milliseconds for one step."""
    width, height = size
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce", **options
    )
    context.set_default_timeout(patience)
    page = await context.new_page()
    found = Tab(page, context, theme)
    page.on("pageerror", lambda error: found.faults.append(f"script: {error}"))
    page.on(
        "console", lambda said: found.faults.append(f"console: {said.text}") if said.type == "error" else None
    )
    page.on("request", lambda request: found.hosts.add(re.sub(r"^\w+://([^/]*)/?.*", r"\1", request.url)))
    try:
        yield found
    finally:
        await context.close()
