"""A portal without a daemon: a registry in memory, a clock that stands still, a node of the lab, and mails that
are kept instead of sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from daemon_double import T0, MemoryRegistry, SetClock
from gateway import quick_lab
from nodegate.errors import NodegateError
from nodegate.lab.server import NodeServer
from nodegate.model import Instant, Judgement, Snapshot, Status, Verdict
from nodegate.portal.service import PortalParts, PortalService
from nodegate.protocols import adapters
from nodegate.settings import Settings
from nodegate.telemetry.kinds import Event

OWNER = "owner@example.org"
BASE = "http://portal.example:9790"


@dataclass
class Rig:
    """A portal and its surroundings. `failure` is what the mail server says to every mail."""

    directory: Path
    portal: dict[str, object] = field(default_factory=dict)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    clock: SetClock = field(default_factory=SetClock)
    mails: list[EmailMessage] = field(default_factory=list)
    failure: NodegateError | None = None
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    reasons: tuple[str, ...] = ("it is ill",)
    states: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    service: PortalService = field(init=False)
    node: NodeServer = field(init=False)

    def open(self) -> None:
        table: dict[str, object] = {
            "listen": "127.0.0.1:9790", "public_url": BASE, "networks": ["127.0.0.0/8"], "client_checks": 100,
            "nodes_per_address": 5,
        }  # fmt: skip
        settings = Settings.model_validate(
            {
                "portal": {**table, **self.portal},
                "mail": {"server": "127.0.0.1:25", "sender": "f@fleet.example"},
                "pools": {"main": {"kind": "iri"}},
            }
        )
        self.service = PortalService(
            PortalParts(
                settings=settings, registry=self.registry, adapters=adapters(), upstreams={}, clock=self.clock,
                snapshot=self.snapshot, wake=lambda: None, directory=self.directory, send=self._send,
                look_up=self._look_up, counted=self._counted, tell=self.events.append,
            )
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        verdicts = {
            node: Verdict(
                node_id=node, status=status, since=T0, reasons=self.reasons if status is Status.DOWN else ()
            )
            for node, status in self.statuses.items()
        }
        inventory = self.registry.inventory()
        return Snapshot(
            at=self.clock.now(), started_at=T0, judgement=Judgement(verdicts=verdicts),
            inventory=type(inventory)(
                nodes=inventory.nodes, index=inventory.index, read_at=Instant(self.clock.now() + 1)
            ),
        )  # fmt: skip

    async def post(self) -> list[EmailMessage]:
        """Send what is due; the mails of this round."""
        before = len(self.mails)
        await self.service.sender.send_due()
        return self.mails[before:]

    async def _send(self, message: EmailMessage) -> None:
        if self.failure is not None:
            raise self.failure
        self.mails.append(message)

    async def _look_up(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    def _counted(self, states: Counter[str], waiting: int) -> None:
        self.states = states


def link_in(message: EmailMessage) -> str:
    """The path of the link in a mail."""
    found = re.search(rf"{re.escape(BASE)}(/(?:confirm|owner)/\S+)", message.get_content())
    assert found is not None, message.get_content()
    return found.group(1)


class Browser:
    """A browser without scripts: keeps cookies, and sends forms as they stand on the page it sees."""

    def __init__(self, rig: Rig, address: str = "198.51.100.1") -> None:
        transport = httpx.ASGITransport(rig.service.app, client=(address, 1))
        self.http = httpx.AsyncClient(transport=transport, base_url=BASE)
        self.page = httpx.Response(200)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.page.text))

    async def get(self, path: str) -> httpx.Response:
        self.page = await self.http.get(path, follow_redirects=True)
        return self.page

    async def send(self, path: str, **fields: str) -> httpx.Response:
        token = re.search(r'name="form" value="([^"]+)"', self.page.text)
        form = {"form": token.group(1) if token else "", **fields}
        self.page = await self.http.post(path, data=form, follow_redirects=True)
        return self.page

    async def register(
        self, place: str, email: str = OWNER, kind: str = "iri", **more: str
    ) -> httpx.Response:
        await self.get("/")
        return await self.send("/", email=email, place=place, kind=kind, **more)

    async def press(self, path: str) -> httpx.Response:
        """Open a link and press its button."""
        await self.get(path)
        return await self.send(path)


@pytest.fixture
async def rig(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A portal with one good node in the lab. `@pytest.mark.parametrize("rig", [{…}], indirect=True)` sets
    settings of `[portal]`."""
    rig = Rig(tmp_path, dict(getattr(request, "param", {})))
    rig.open()
    async with quick_lab() as lab:
        [rig.node] = await lab.start(1)
        yield rig
    await rig.service.close()


@pytest.fixture
async def browser(rig: Rig) -> AsyncIterator[Browser]:
    browser = Browser(rig)
    yield browser
    await browser.http.aclose()
