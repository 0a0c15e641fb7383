"""1,000 nodes and 20 people who look at them: what the dashboard costs the daemon, how fast a first view is, how
much is sent, and whether clients of the gateway notice."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp

from bench.environment import scratch
from bench.figures import Figure, Outcome, median
from bench.hammer import hammer
from bench.rig import TRUSTING, Daemon, Usage, until
from nodegate.daemon.clock import SteadyClock
from nodegate.daemon.state import StateDir
from nodegate.errors import Unavailable
from nodegate.lab.load import GET_NODE_INFO
from nodegate.lab.process import LabProcess
from nodegate.lab.remote import LabNode
from nodegate.model import Node
from nodegate.registry.sqlite import SqliteRegistry

if TYPE_CHECKING:
    from playwright.async_api import Page

Measure = Callable[[], Awaitable[float]]

NODES = 1000
VIEWERS = 20
PATHS = ("/ui/", "/ui/nodes", "/ui/clients", "/ui/policy")
INTERVAL = 10.0
SETTLE = 4.0
"""Seconds between the opening or closing of pages and a measurement: it is of dashboards that are open."""
GONE = 40.0
"""Seconds after which a page that lost its viewer is forgotten; until then the daemon looks for it."""
SECONDS = 10.0
CPU_ROUNDS = 3
LOAD_SECONDS = 3.0
ROUNDS = 10
VIEWS = 3
START_WITHIN = 120.0
SETTINGS = f'[probe]\ninterval = {INTERVAL}\n[pools.main]\nkind = "iri"\npolicy = "policy.toml"\n'
_QUERY = re.compile(r"query: (\{[^\n]*\}),")


async def run() -> Outcome:
    """Raises NodegateError when the fleet is not up in time."""
    async with await LabProcess.start(NODES, arguments=("--addresses",)) as lab:
        with scratch() as directory:
            await _declare(directory / "s", lab.nodes)
            (directory / "policy.toml").write_text(TRUSTING, encoding="utf-8")
            async with Daemon(directory, SETTINGS) as daemon:
                await until(lambda: _all_up(daemon), what="all nodes are up", within=START_WITHIN, every=0.5)
                return await _measure(daemon)


async def _measure(daemon: Daemon) -> Outcome:
    await asyncio.sleep(SETTLE)
    views, sizes = await _first_views(daemon)
    received = [0]
    pushed: list[float] = []

    async def watched_cores() -> float:
        await asyncio.sleep(SETTLE)
        before = received[0]
        cores = await _cores(daemon)
        pushed.append((received[0] - before) / SECONDS / VIEWERS)
        return cores

    async def lone_cores() -> float:
        await asyncio.sleep(GONE)
        return await _cores(daemon)

    cores = await _in_turns(daemon, received, lone_cores, watched_cores, CPU_ROUNDS)
    looking: list[float] = []

    async def quiet_throughput() -> float:
        await asyncio.sleep(SETTLE)
        return await _throughput(daemon)

    async def watched_throughput() -> float:
        await asyncio.sleep(SETTLE)
        before, began = time.process_time(), time.monotonic()
        found = await _throughput(daemon)
        looking.append((time.process_time() - before) / (time.monotonic() - began))
        return found

    rounds = await _in_turns(daemon, received, quiet_throughput, watched_throughput, ROUNDS)
    extra = [max(0.0, watched - alone) for alone, watched in cores]
    alone, watched = (median(side) for side in zip(*cores, strict=True))
    ratios = [busy / quiet for quiet, busy in rounds]
    memory = Usage.of(daemon.pid).memory
    return Outcome(
        figures=(
            Figure(
                what="CPU of 20 viewers of 1,000 nodes", value=median(extra), unit="cores", at_most=0.3,
                note=f"{alone:.2f} without them, {watched:.2f} with them",
            ),
            Figure(
                what="first view after the login, NiceGUI loaded, in a Chromium without anything yet", value=median(views),
                unit="s", at_most=1.5, note=f"{min(views):.2f} to {max(views):.2f} s for {VIEWS}; the daemon's first: {views[0]:.2f} s",
            ),
            Figure(what="largest page after the first, all transfers", value=max(sizes) / 1e6, unit="MB", at_most=1.0),
            Figure(what="sent to one viewer", value=median(pushed) / 1000, unit="kB/s"),
            Figure(
                what="requests per second through the gateway while 20 look", value=median(busy for _, busy in rounds),
                ratio=median(ratios), peer="nobody looks", note=f"{min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds; "
                f"the viewers here took {median(looking):.2f} cores of the machine that clients, HAProxy and nodes filled",
            ),
            Figure(what="memory of the nodegate process", value=memory / 1e6, unit="MB"),
        ),
        details={
            "sizes": dict(zip(PATHS, sizes, strict=True)), "first views": views, "cores": cores, "requests": rounds,
        },
    )  # fmt: skip


async def _in_turns(
    daemon: Daemon, received: list[int], quiet: Measure, busy: Measure, rounds: int
) -> list[tuple[float, float]]:
    """Pairs of `quiet`, with nobody there, and `busy`, with all viewers. Every second pair is the other way round, so
    that whatever else the machine does meets both."""
    found = []
    for number in range(rounds):
        before = await quiet() if number % 2 == 0 else None
        async with _viewers(daemon, received):
            during = await busy()
        found.append((before if before is not None else await quiet(), during))
    return found


async def _declare(state: Path, nodes: Sequence[LabNode]) -> None:
    directory = StateDir(state)
    directory.prepare()
    registry = SqliteRegistry(directory.registry, SteadyClock())
    try:
        for node in nodes:
            await registry.put(Node(id=node.id, url=node.url, kind=node.kind))
    finally:
        await registry.close()


async def _all_up(daemon: Daemon) -> bool:
    metrics = await daemon.metrics()
    return metrics.get('nodegate_nodes{kind="iri",pool="main",status="up"}') == NODES


async def _cores(daemon: Daemon) -> float:
    before = Usage.of(daemon.pid)
    await asyncio.sleep(SECONDS)
    return Usage.of(daemon.pid).cores_since(before)


async def _throughput(daemon: Daemon) -> float:
    """Requests per second with 20 connections; the clients are a process of their own, as the viewers are here."""
    found = await hammer(
        daemon.url, [GET_NODE_INFO], connections=20, seconds=LOAD_SECONDS, place=daemon.state.parent
    )
    return found.requests / found.seconds


async def _first_views(daemon: Daemon) -> tuple[list[float], list[float]]:
    """Seconds from the login to a page with its rows, for browsers that have nothing yet, and the bytes of each page
    after the first ones."""
    from playwright.async_api import async_playwright

    views = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for _ in range(VIEWS):
            context = await browser.new_context()
            page = await context.new_page()
            views.append(await _first_view(daemon, page))
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        after = []
        for path in (*PATHS, *PATHS):  # the first time for what only they need
            sizes.clear()
            await page.goto(daemon.admin_url + path)
            await page.get_by_role("heading", level=1).wait_for()
            await page.wait_for_load_state("networkidle")
            after.append(sum(sizes))
        await browser.close()
    return views, after[len(PATHS) :]


async def _first_view(daemon: Daemon, page: Page) -> float:
    token = (daemon.state / "token").read_text().strip()
    await page.goto(f"{daemon.admin_url}/ui/login?next=/ui/nodes")
    await page.get_by_label("Password or admin token").fill(token)
    await asyncio.sleep(3)  # somebody types; NiceGUI is loaded meanwhile
    began = time.monotonic()
    await page.get_by_role("button", name="Log in").click()
    await page.locator("tbody tr").first.wait_for()
    return time.monotonic() - began


@asynccontextmanager
async def _viewers(daemon: Daemon, received: list[int]) -> AsyncIterator[None]:
    """People with a page open each: what a browser does of it, without drawing."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers={"Origin": daemon.admin_url}, cookie_jar=aiohttp.CookieJar(unsafe=True)
            )
        )
        token = (daemon.state / "token").read_text().strip()
        async with http.post(f"{daemon.admin_url}/ui/login", data={"password": token}) as answer:
            assert answer.status == 200
        tasks = [
            asyncio.create_task(_watch(http, daemon.admin_url, PATHS[number % len(PATHS)], received))
            for number in range(VIEWERS)
        ]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(http: aiohttp.ClientSession, url: str, path: str, received: list[int]) -> None:
    async with http.get(url + path) as answer:
        found = _QUERY.search(await answer.text())
    assert found is not None
    query: dict[str, Any] = ast.literal_eval(found[1])  # JavaScript defines True and None
    query |= {"EIO": "4", "transport": "websocket", "tab_id": str(uuid4()), "document_id": str(uuid4())}
    params = {name: json.dumps(value).strip('"') for name, value in query.items()}
    place = f"{url.replace('http', 'ws')}/ui/_nicegui_ws/socket.io/"
    # Browsers never open a WebSocket on a connection that has carried something else.
    async with (
        aiohttp.ClientSession(headers=http.headers, cookie_jar=http.cookie_jar) as fresh,
        fresh.ws_connect(place, params=params, max_msg_size=0) as socket,
    ):
        await socket.receive_str()
        await socket.send_str("40")
        count = 0
        async for message in socket:
            text = str(message.data)
            received[0] += len(text)
            if text == "2":
                await socket.send_str("3")
            elif text.startswith("42"):
                count += 1
                if count % 3 == 0:
                    ack = {"client_id": query["client_id"], "next_message_id": count}
                    await socket.send_str("42" + json.dumps(["ack", ack]))
        raise Unavailable(f"the page {path} was closed with {socket.close_code} after {count} messages")
