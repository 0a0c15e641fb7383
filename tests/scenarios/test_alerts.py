"""Alerts leave a real gateway: by mail, by webhook and by a command, once, also when the receiver was away."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.controller import Controller

from gateway import Gateway, ids, quick_lab
from support import free_port, until

pytestmark = pytest.mark.scenario

KEY = "a key that both sides know"
PATIENT = """
[probe]
interval = 0.25
timeout = 5

[pools.main]
kind = "iri"

[alerts]
group = 0.5

[alerts.rules.node-down]
hold = 1
clear = 1
"""
"""Probes that a busy machine does not make fail: what is refused is noticed at once all the same."""


@dataclass
class Hook:
    """A receiver of webhooks. `status` is what it answers."""

    port: int
    status: int = 200
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]

    def of(self, status: str) -> list[dict[str, Any]]:
        return [document for document in self.documents if document["status"] == status]


@asynccontextmanager
async def listening(hook: Hook) -> AsyncIterator[Hook]:
    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if hook.status == 200:
            hook.calls.append((dict(request.headers), body))
        return web.Response(status=hook.status, text="as told")

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", hook.port).start()
        yield hook
    finally:
        await runner.cleanup()


class Inbox:
    """A mail server that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@contextmanager
def mail_server() -> Iterator[tuple[Inbox, int]]:
    inbox, port = Inbox(), free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield inbox, port
    finally:
        controller.stop()


def webhook(port: int, secret: Path | None = None) -> str:
    signed = f'secret_file = "{secret}"\n' if secret is not None else ""
    return f'\n[alerts.channels.hook]\nkind = "webhook"\nurl = "http://127.0.0.1:{port}/hook"\n{signed}'


async def test_a_dead_node_is_told_once_by_mail_webhook_and_command_and_so_is_its_return(
    tmp_path: Path,
) -> None:
    secret, told = tmp_path / "secret", tmp_path / "told"
    secret.write_text(KEY + "\n")
    script = tmp_path / "tell"
    script.write_text(f'#!/bin/sh\ncat >> "{told}"\necho " $NODEGATE_ALERT_STATUS" >> "{told}"\n')
    script.chmod(0o755)
    hook = Hook(free_port())
    with mail_server() as (inbox, smtp):
        toml = f'{PATIENT}{webhook(hook.port, secret)}\n[alerts.channels.ops]\nkind = "email"\nto = ["ops@example.org"]\n'
        toml += f'\n[alerts.channels.script]\nkind = "command"\ncommand = ["{script}"]\n'
        toml += f'\n[mail]\nserver = "127.0.0.1:{smtp}"\nsecurity = "none"\nsender = "gate@example.org"\n'
        async with quick_lab() as lab, listening(hook):
            await lab.start(3)
            async with Gateway(lab.nodes, toml=toml) as gateway:
                await gateway.until_serving(*ids(lab.nodes))
                sick = lab.nodes[0].id
                await lab.fault(sick, "refuse")
                await until(lambda: hook.of("firing"), what="the webhook hears of it")
                await until(lambda: inbox.mails, what="the mail comes")
                listed = await gateway.api("GET", "/api/v1/alerts")
                await lab.heal(sick)
                await until(lambda: hook.of("resolved"), what="the webhook hears of the end")
                await until(lambda: len(inbox.mails) == 2, what="the second mail comes")
                await until(
                    lambda: told.exists() and "resolved" in told.read_text(), what="the command hears of it"
                )
                events = await gateway.api("GET", f"/api/v1/events?node={sick}")

    [firing], [ended] = hook.of("firing"), hook.of("resolved")
    assert firing["rule"] == ended["rule"] == "node-down"
    assert [row["subject"] for row in firing["alerts"]] == [f"node/{sick}"]
    assert "connection refused" in firing["alerts"][0]["text"]
    headers, body = hook.calls[0]
    moment, _, digest = headers["X-Nodegate-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.new(KEY.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest() == digest
    first, second = inbox.mails
    assert "CRITICAL node-down" in first["Subject"]
    assert sick in first.get_content()
    assert first["To"] == "ops@example.org"
    assert "RESOLVED" in second["Subject"]
    assert told.read_text().count(" firing\n") == told.read_text().count(" resolved\n") == 1
    assert [row["state"] for row in listed["alerts"]] == ["firing"]
    kinds = [event["kind"] for event in events["events"]]
    assert kinds == ["node-down", "alert-firing", "node-up", "alert-resolved"]


async def test_what_a_receiver_could_not_take_waits_over_a_restart_and_arrives_once_when_it_is_back() -> None:
    hook = Hook(free_port(), status=500)
    async with quick_lab() as lab, listening(hook):
        await lab.start(3)
        async with Gateway(lab.nodes, toml=f"{PATIENT}{webhook(hook.port)}") as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            await lab.fault(lab.nodes[0].id, "refuse")

            async def failing() -> bool:
                [row] = (await gateway.api("GET", "/api/v1/alerts"))["channels"]
                return row["waiting"] == 1 and "answered 500: as told" in row["error"]

            await until(failing, what="the channel is known to fail")
            await gateway.restart()
            hook.status = 200
            await until(lambda: hook.calls, what="the alert arrives after all")
            listed = await gateway.api("GET", "/api/v1/alerts")
            events = await gateway.api("GET", "/api/v1/events")
    assert [document["status"] for document in hook.documents] == ["firing"]
    assert [row["state"] for row in listed["alerts"] if row["rule"] == "node-down"] == ["firing"]
    kinds = [event["kind"] for event in events["events"]]
    assert kinds.count("node-down") == kinds.count("alert-firing") == kinds.count("channel-failed") == 1
    assert kinds.count("started") == 2


async def test_a_restart_says_nothing_twice_and_tells_what_happened_meanwhile() -> None:
    async with quick_lab() as lab:
        await lab.start(5)
        async with Gateway(lab.nodes, toml=PATIENT) as gateway:
            names = ids(lab.nodes)
            await gateway.until_serving(*names)
            await lab.fault(names[0], "refuse")
            await gateway.until_out(names[0])
            await gateway.terminate()
            await lab.fault(names[1], "refuse")
            await gateway.start()
            await gateway.until_out(names[1])

            async def told() -> list[str]:
                events = (await gateway.api("GET", "/api/v1/events?kind=node-down&kind=node-up"))["events"]
                return [f"{event['kind']} {event['subject']}" for event in events]

            await until(lambda: _holds(told, 2), what="the second node's fall is told")
            said = await told()
            followed = await gateway.cli("events", "--json", "--kind", "node-down")
    assert said == [f"node-down node/{names[0]}", f"node-down node/{names[1]}"]
    assert [event["subject"] for event in followed.json["events"]] == [f"node/{name}" for name in names[:2]]


async def _holds(told: Any, count: int) -> bool:
    return len(await told()) >= count


async def test_follow_prints_what_happens_and_survives_a_restart_of_the_gateway() -> None:
    async with quick_lab() as lab:
        await lab.start(3)
        async with Gateway(lab.nodes, toml=PATIENT) as gateway:
            await gateway.until_serving(*ids(lab.nodes))
            url = gateway.admin
            token = (gateway.state / "token").read_text().strip()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "nodegate", "events", "--follow", "--json", "--admin", url,
                env={**os.environ, "NODEGATE_TOKEN": token}, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            try:
                assert process.stdout is not None
                first = await asyncio.wait_for(process.stdout.readline(), 30)
                await gateway.restart()
                await lab.fault(lab.nodes[2].id, "refuse")
                seen = [json.loads(first)]
                async with asyncio.timeout(40):
                    while seen[-1]["kind"] != "node-down":
                        seen.append(json.loads(await process.stdout.readline()))
            finally:
                process.kill()
                await process.wait()
    numbers = [event["id"] for event in seen]
    assert numbers == sorted(set(numbers))
    assert {"stopped", "started", "node-down"} <= {event["kind"] for event in seen}
