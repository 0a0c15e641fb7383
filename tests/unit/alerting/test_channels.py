from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from pydantic import ValidationError

from daemon_double import T0
from nodegate.alerting.channels import CommandChannel, EmailChannel, WebhookChannel, signature
from nodegate.alerting.notices import documents, for_slack, in_words, payload
from nodegate.alerting.rules import Alert, Notice, Rule
from nodegate.errors import Refused, Unavailable
from nodegate.model import Instant
from nodegate.settings import ChannelSettings
from nodegate.settings.mail import MailSettings
from nodegate.telemetry.kinds import Severity
from portal_rig import MailServer
from support import free_port, until

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


def alert(node: str = "a", text: str = "a is down", **fields: Any) -> Alert:
    given = {"rule": "node-down", "subject": f"node/{node}", "severity": Severity.CRITICAL, "text": text,
             "value": 1.0, "since": T0, "seen_at": T0}  # fmt: skip
    return Alert(**given | fields)


def document(*alerts: Alert, ended: bool = False) -> dict[str, Any]:
    rule = Rule(name="node-down", on=("node-down",))
    notice = Notice(rule=rule, ended=alerts) if ended else Notice(rule=rule, firing=alerts)
    [found] = documents(notice, "gw1", Instant(T0))
    return found


@pytest.fixture
async def serve() -> Any:
    runners = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", handler)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


def hook(url: str, **fields: Any) -> WebhookChannel:
    return WebhookChannel(ChannelSettings(**{"kind": "webhook", "url": url, "timeout": 5.0} | fields))


def test_a_document_names_the_worst_first_and_stays_bounded() -> None:
    many = [alert(f"n{number}", since=Instant(T0 + number)) for number in range(60)]
    found = document(*many, alert("z", severity=Severity.WARNING))
    assert found["title"] == "[gw1] CRITICAL node-down: node/n0, node/n1, node/n2 and 58 more"
    assert (len(found["alerts"]), found["more"]) == (50, 11)
    assert "and 11 more" in in_words(found)


def test_the_end_of_an_alert_is_called_so() -> None:
    found = document(alert(ended_at=Instant(T0 + 60)), ended=True)
    assert found["title"].startswith("[gw1] RESOLVED node-down")
    assert "silence" not in in_words(found)


def test_a_nodes_words_have_no_meaning_for_slack_or_a_mail() -> None:
    hostile = document(alert(text="<!channel> \r\nSubject: x \x1b[2J"))
    slack = json.dumps(for_slack(hostile))
    assert "<!channel>" not in slack
    assert "&lt;!channel&gt;" in slack
    assert "\x1b" not in in_words(hostile)


async def test_a_webhook_is_signed_over_time_and_body(serve: Serve, tmp_path: Path) -> None:
    seen: list[tuple[Any, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.headers, await request.read()))
        return web.Response(status=204)

    secret = tmp_path / "secret"
    secret.write_text("key\n")
    found = document(alert())
    await hook(await serve(take), secret_file=secret).deliver(found, "7")
    [(headers, body)] = seen
    assert body == payload(found).encode()
    assert headers["X-Nodegate-Delivery"] == "7"
    moment = int(headers["X-Nodegate-Signature"].partition(",")[0].removeprefix("t="))
    assert headers["X-Nodegate-Signature"] == signature("key", body, moment)
    # The scheme's own example, so that receivers can check theirs (openssl dgst -sha256 -hmac key).
    assert (
        signature("key", b"{}", 1)
        == "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    )


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_anything_but_success_is_a_failure_and_redirects_are_not_followed(
    serve: Serve, status: int
) -> None:
    calls = []

    async def refuse(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"}, text="no\nway\x1b")

    with pytest.raises(Unavailable, match=f"127.0.0.1 answered {status}: no way"):
        await hook(await serve(refuse) + "/secret-path").deliver(document(alert()), "1")
    assert calls == ["/secret-path"]


async def test_a_receiver_that_cannot_be_reached_is_named_without_the_secret_in_its_url() -> None:
    with pytest.raises(Unavailable) as caught:
        await hook(f"http://127.0.0.1:{free_port()}/T0/secret").deliver(document(alert()), "1")
    assert "127.0.0.1 cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_slack_gets_its_own_form_and_the_url_comes_from_a_file(serve: Serve, tmp_path: Path) -> None:
    seen = []

    async def take(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.Response(text="ok")

    place = tmp_path / "url"
    place.write_text(await serve(take) + "/services/T0/B0\n")
    settings = ChannelSettings(kind="slack", url_file=place)
    await WebhookChannel(settings).deliver(document(alert()), "1")
    assert seen[0]["text"].startswith("[gw1] CRITICAL node-down")
    assert seen[0]["attachments"][0]["color"] == "danger"
    place.unlink()
    with pytest.raises(Unavailable, match="cannot be read"):
        await WebhookChannel(settings).deliver(document(alert()), "1")


def command(*words: str, timeout: float = 20.0) -> CommandChannel:
    return CommandChannel(ChannelSettings(kind="command", command=words, timeout=timeout))


async def test_a_command_gets_the_document_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEGATE_TOKEN", "secret")
    out = tmp_path / "out"
    found = document(alert())
    await command("sh", "-c", f"cat > {out}; env >> {out}").deliver(found, "9")
    assert json.loads(out.read_text()[: len(payload(found))]) == found
    assert "NODEGATE_ALERT_RULE=node-down" in out.read_text()
    assert "NODEGATE_TOKEN" not in out.read_text()


async def test_a_command_that_does_not_read_is_no_failure() -> None:
    await command("true").deliver(document(*(alert(str(number)) for number in range(50))), "1")


async def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(Unavailable, match="sh ended with 3: out of paper"):
        await command("sh", "-c", "echo out of paper >&2; exit 3").deliver(document(alert()), "1")
    with pytest.raises(Unavailable, match="cannot be started"):
        await command("/no/such/program").deliver(document(alert()), "1")


async def test_a_command_is_over_when_it_ends_whatever_it_leaves_in_the_background(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"sleep 600 & echo $! > {pid}; echo enough said >&2"
    await command("sh", "-c", program).deliver(document(alert()), "1")
    with pytest.raises(Unavailable, match="ended with 4: enough said"):
        await command("sh", "-c", f"kill $(cat {pid}); {program}; exit 4").deliver(document(alert()), "1")
    psutil.Process(int(pid.read_text())).kill()


async def test_hostile_words_are_data_for_a_command_and_no_program(tmp_path: Path) -> None:
    words = f"$(touch {tmp_path}/a) `touch {tmp_path}/b`; touch {tmp_path}/c\nX=1\x00 --help"
    out = tmp_path / "out"
    found = document(alert("$(touch x)", text=words))
    await command("sh", "-c", f"cat > {out}; env >> {out}").deliver(found, "1")
    assert os.listdir(tmp_path) == ["out"]
    given = payload(found)
    assert out.read_text().startswith(given)
    assert "touch" not in out.read_text()[len(given) :]


async def test_an_address_that_is_refused_for_good_costs_no_other_recipient_the_alert() -> None:
    with MailServer() as server:
        mail = MailSettings(server=f"127.0.0.1:{server.port}", security="none", sender="gate@fleet.example")
        to = ("late@fleet.example", "gone@fleet.example")
        channel = EmailChannel(ChannelSettings(kind="email", to=to), mail)
        answers = {to[0]: "451 come back later", to[1]: "550 no such user"}
        server.refuse = answers.get
        with pytest.raises(Unavailable, match="451 come back later"):
            await channel.deliver(document(alert()), "1")
        del answers["late@fleet.example"]
        await channel.deliver(document(alert()), "1")
        assert [mail.to for mail in server.mails] == ["late@fleet.example"]
        with pytest.raises(Refused, match=r"gone@fleet\.example: .* 550 no such user"):
            await channel.deliver(document(alert()), "2")


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(Unavailable, match="did not end within"):
        await command("sh", "-c", f"sleep 600 & echo $! > {pid}; wait", timeout=1.0).deliver(
            document(alert()), "1"
        )
    child = int(pid.read_text())
    await until(
        lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "email"},
        {"kind": "webhook"},
        {"kind": "webhook", "url": "ftp://x"},
        {"kind": "webhook", "url": "https://x/", "url_file": "u"},
        {"kind": "webhook", "url": "https://x/", "command": ["a"]},
        {"kind": "webhook", "url": "https://x/", "secret": "a", "secret_file": "b"},
        {"kind": "slack", "url": "https://x/", "secret": "a"},
        {"kind": "command"},
        {"kind": "command", "command": [""]},
        {"kind": "email", "to": ["nobody"]},
    ],
)
def test_a_channel_that_could_not_work_is_a_fault(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChannelSettings(**fields)


def test_settings_show_no_secret() -> None:
    shown = repr(ChannelSettings(kind="webhook", url="https://x.example.org/hush", secret="hush"))  # type: ignore[arg-type]
    assert "hush" not in shown
