"""The gate in front of pages that are a stand-in: what reaches them, and with which headers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nodegate.dashboard.gate import MAX_FORM, SESSION, Gate
from nodegate.dashboard.passwords import Passwords
from nodegate.dashboard.roles import Role
from nodegate.dashboard.sessions import Sessions
from nodegate.dashboard.throttle import PER_CLIENT, WINDOW

TOKEN = "the-admin-token"
PASSWORD = "correct horse battery"
LOOKING = "only looking here"
HOST = "127.0.0.1:9780"
OWN = {"Origin": f"http://{HOST}"}


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class StandIn:
    """Pages that remember what reached them."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.heard: list[Message] = []
        self.expectations = 0

    async def ready(self) -> ASGIApp:
        return self._answer

    def expected(self) -> None:
        self.expectations += 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await HTMLResponse("a page", headers={"Content-Security-Policy": "default-src *"})(
                scope, receive, send
            )
            return
        while True:
            message = await receive()
            if message["type"] == "websocket.connect":
                continue
            self.heard.append(message)
            if self.heard[-1]["type"] == "websocket.disconnect":
                return


class Rig:
    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.pages = StandIn()
        self.passwords = Passwords(directory)
        self.passwords.put(Role.OPERATOR, PASSWORD)
        self.passwords.put(Role.VIEWER, LOOKING)
        self.sessions = Sessions(idle=60.0, longest=600.0, still_true=self._still_true)
        self.gate = Gate(
            self.pages,
            sessions=self.sessions,
            passwords=self.passwords,
            token=TOKEN,
            now=self.clock,
            longest=600.0,
        )

    def _still_true(self, role: Role, proof: str) -> bool:
        return proof == "token" or self.passwords.hashes().get(role) == proof

    def browser(self, scheme: str = "http", client: str = "192.0.2.9") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.gate, client=(client, 4711))
        return httpx.AsyncClient(transport=transport, base_url=f"{scheme}://{HOST}")

    def socket(self, cookie: str | None, **headers: str) -> Socket:
        return Socket(self, cookie, headers)


class Socket:
    """One WebSocket towards the gate, by hand."""

    def __init__(
        self, rig: Rig, cookie: str | None, headers: dict[str, str], path: str = "/ui/_nicegui_ws/socket.io/"
    ) -> None:
        pairs = {"host": HOST, "origin": f"http://{HOST}"} | {
            name.lower(): value for name, value in headers.items()
        }
        if cookie is not None:
            pairs["cookie"] = cookie
        self.sent: list[Message] = []
        self.incoming: list[Message] = []
        self._gate = rig.gate
        self.scope: Scope = {
            "type": "websocket", "path": path, "query_string": b"", "scheme": "ws", "server": ("127.0.0.1", 80),
            "headers": Headers(headers={name: value for name, value in pairs.items() if value}).raw,
        }  # fmt: skip

    async def run(self, *texts: str) -> None:
        messages: list[Message] = [{"type": "websocket.connect"}]
        messages += [{"type": "websocket.receive", "text": text} for text in texts]
        messages.append({"type": "websocket.disconnect", "code": 1000})

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self._gate(self.scope, receive, send)

    @property
    def refused(self) -> bool:
        return bool(self.sent)  # the pages here say nothing

    @property
    def told(self) -> list[str]:
        """What the page was told before that."""
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
async def browser(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.browser() as client:
        yield client


async def login(browser: httpx.AsyncClient, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return await browser.post("/ui/login", data={"password": password, **fields}, headers=OWN)


def cookie_of(answer: httpx.Response) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("path", ["/ui/", "/ui/nodes", "/ui/nodes/iri-1?x=1", "/ui/anything"])
async def test_a_stranger_is_sent_to_the_login_and_back_afterwards(
    rig: Rig, browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 303
    form = await browser.get(answer.headers["location"])
    assert form.status_code == 200
    following = re.search(r'name="next" value="([^"]*)"', form.text)
    assert following is not None
    welcome = await login(browser, next=following.group(1))
    assert (welcome.status_code, welcome.headers["location"]) == (303, path)
    assert (await browser.get(path)).text == "a page"
    assert rig.pages.expectations == 1


@pytest.mark.parametrize("path", ["/ui/_nicegui/3/static/x.js", "/ui/_nicegui_ws/socket.io/"])
async def test_files_and_sockets_need_a_session(rig: Rig, browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 401
    assert rig.pages.scopes == []


@pytest.mark.parametrize(
    ("password", "role"),
    [
        (PASSWORD, Role.OPERATOR),
        (LOOKING, Role.VIEWER),
        (TOKEN, Role.OPERATOR),
        (f" {TOKEN}\n", Role.OPERATOR),
    ],
)
async def test_passwords_and_the_token_open_it_in_their_role(
    rig: Rig, browser: httpx.AsyncClient, password: str, role: Role
) -> None:
    assert (await login(browser, password)).status_code == 303
    await browser.get("/ui/")
    session = rig.sessions.get(rig.pages.scopes[-1][SESSION], rig.clock())
    assert session is not None
    assert session.role is role


@pytest.mark.parametrize("password", ["", "wrong", TOKEN[:-1], PASSWORD + "x", "\x00", "é" * 50])
async def test_anything_else_does_not(rig: Rig, browser: httpx.AsyncClient, password: str) -> None:
    answer = await login(browser, password)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text
    assert rig.pages.scopes == []


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_the_cookie_is_for_this_site_alone_and_out_of_reach_of_scripts(
    rig: Rig, scheme: str, secure: bool
) -> None:
    async with rig.browser(scheme) as browser:
        answer = await browser.post(
            "/ui/login", data={"password": TOKEN}, headers={"Origin": f"{scheme}://{HOST}"}
        )
    words = {word.strip().lower() for word in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/ui", "max-age=600"} <= words
    assert ("secure" in words) is secure


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        f"http://{HOST}.evil.example",
        "http://127.0.0.1:9781",
        "http://[",
        "",
    ],
)
async def test_a_form_from_another_site_is_refused(
    rig: Rig, browser: httpx.AsyncClient, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = await browser.post("/ui/login", data={"password": TOKEN}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    await login(browser)
    assert (await browser.post("/ui/logout", headers=headers)).status_code == 403
    assert (await browser.get("/ui/")).text == "a page"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_nothing_else_can_be_sent_to_pages(rig: Rig, browser: httpx.AsyncClient, method: str) -> None:
    await login(browser)
    assert (await browser.request(method, "/ui/nodes", headers=OWN, content=b"{}")).status_code == 405
    assert rig.pages.scopes == []


async def test_a_form_is_bounded(browser: httpx.AsyncClient) -> None:
    assert (await login(browser, "x" * MAX_FORM)).status_code == 413


@pytest.mark.parametrize(
    "said",
    [
        [{"type": "http.request", "body": b"&".join(b"a%d=1" % n for n in range(11)), "more_body": False}],
        [{"type": "http.request", "body": b"pass", "more_body": True}, {"type": "http.disconnect"}],
    ],
)
async def test_a_form_of_many_fields_or_half_of_one_is_no_fault_of_ours(
    rig: Rig, said: list[Message]
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return said.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "method": "POST", "path": "/ui/login", "raw_path": b"/ui/login", "query_string": b"",
        "root_path": "", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("192.0.2.9", 1),
        "headers": Headers(headers={"host": HOST, **OWN}).raw,
    }  # fmt: skip
    await rig.gate(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_after_some_failures_one_waits_but_the_token_still_opens_it(
    rig: Rig, browser: httpx.AsyncClient
) -> None:
    for _ in range(PER_CLIENT):
        assert (await login(browser, "wrong")).status_code == 401
    held = await login(browser)
    assert held.status_code == 429
    assert 0 < int(held.headers["retry-after"]) <= WINDOW + 1
    assert (await login(browser, TOKEN)).status_code == 303
    async with rig.browser(client="192.0.2.10") as other:
        assert (await login(other)).status_code == 303
    rig.clock.time += WINDOW
    assert (await login(browser)).status_code == 303


async def test_a_broken_password_file_is_said_and_opens_nothing(rig: Rig, browser: httpx.AsyncClient) -> None:
    rig.passwords.path.write_text("{")
    assert (await login(browser)).status_code == 503
    assert (await login(browser, TOKEN)).status_code == 303


@pytest.mark.parametrize(
    "following",
    [
        "http://evil.example/",
        "//evil.example",
        "/ui//evil.example",
        "/ui/\\evil",
        "/api/v1/nodes",
        "",
        "/ui/login",
        "/ui/é",
        "/ui/\r\nX: y",
        "/ui/" + "x" * 600,
    ],
)
async def test_the_login_leads_nowhere_but_to_pages(browser: httpx.AsyncClient, following: str) -> None:
    assert (await login(browser, next=following)).headers["location"] == "/ui/"


async def test_what_a_link_says_stands_in_the_form_as_text(browser: httpx.AsyncClient) -> None:
    answer = await browser.get('/ui/login?next=/ui/"><script>alert(1)</script>')
    assert "<script" not in answer.text


async def test_a_session_ends_by_itself_and_by_a_logout(rig: Rig, browser: httpx.AsyncClient) -> None:
    await login(browser)
    rig.clock.time += 59
    assert (await browser.get("/ui/")).text == "a page"  # a click
    rig.clock.time += 59
    assert (await browser.get("/ui/")).text == "a page"
    rig.clock.time += 61
    assert (await browser.get("/ui/")).status_code == 303
    await login(browser)
    assert (await browser.post("/ui/logout", headers=OWN)).status_code == 303
    assert (await browser.get("/ui/")).status_code == 303


async def test_a_stolen_cookie_is_worth_nothing_after_the_logout(browser: httpx.AsyncClient) -> None:
    cookie = cookie_of(await login(browser))
    await browser.post("/ui/logout", headers=OWN)
    browser.cookies.clear()
    assert (await browser.get("/ui/", headers={"Cookie": cookie})).status_code == 303


async def test_files_are_no_clicks(rig: Rig, browser: httpx.AsyncClient) -> None:
    await login(browser)
    for _ in range(3):
        rig.clock.time += 25
        answer = await browser.get("/ui/_nicegui/3/static/x.js")
    assert answer.status_code == 401


async def test_a_new_password_logs_its_role_out(rig: Rig, browser: httpx.AsyncClient) -> None:
    await login(browser)
    assert (await browser.get("/ui/")).status_code == 200
    rig.passwords.put(Role.OPERATOR, "a brand new password")
    assert (await browser.get("/ui/")).status_code == 303


async def test_every_answer_has_the_headers_and_pages_cannot_loosen_them(browser: httpx.AsyncClient) -> None:
    await login(browser)
    answers = [await browser.get(path) for path in ("/ui/", "/ui/login", "/ui")]
    async with httpx.AsyncClient(transport=browser._transport, base_url=f"http://{HOST}") as stranger:
        answers += [await stranger.get(path) for path in ("/ui/", "/ui/login", "/ui/_nicegui/x")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self' 'unsafe-inline'" not in policy
        assert "*" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


async def test_each_page_has_a_nonce_of_its_own(browser: httpx.AsyncClient) -> None:
    await login(browser)
    nonces = {
        re.findall(r"'nonce-([^']+)'", (await browser.get("/ui/")).headers["content-security-policy"])[0]
        for _ in range(5)
    }
    assert len(nonces) == 5


async def test_a_link_from_a_mail_comes_again_by_itself(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/ui/nodes", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


async def test_a_prefix_that_a_client_makes_up_does_not_reach_the_pages(
    rig: Rig, browser: httpx.AsyncClient
) -> None:
    await login(browser)
    await browser.get("/ui/", headers={"X-Forwarded-Prefix": "//evil.example"})
    assert "x-forwarded-prefix" not in Headers(scope=rig.pages.scopes[-1])


async def a_cookie(rig: Rig) -> str:
    # The port of the socket's scope is another one than the browser's: cookies are named after ports.
    session = rig.sessions.begin(Role.OPERATOR, rig.passwords.hashes()[Role.OPERATOR], rig.clock())
    return f"nodegate_80={session}"


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", f"http://{HOST}.evil.example", "http://127.0.0.1:1"]
)
async def test_a_socket_of_another_site_is_refused(rig: Rig, origin: str) -> None:
    socket = rig.socket(await a_cookie(rig), origin=origin)
    await socket.run('42["event",{}]')
    assert socket.refused
    assert rig.pages.scopes == []


@pytest.mark.parametrize("cookie", [None, "nodegate_80=x", "nodegate_80="])
async def test_a_socket_without_a_session_is_refused(rig: Rig, cookie: str | None) -> None:
    socket = rig.socket(cookie)
    await socket.run()
    assert socket.refused


async def test_a_page_whose_session_is_over_is_told_to_load_itself_anew(rig: Rig) -> None:
    """Else it would try again for ever, and show what it knew last: as after a restart of nodegate."""
    socket = rig.socket("nodegate_80=of a former life")
    await socket.run("40", '42["event",{}]')
    assert socket.refused
    assert [text[:2] for text in socket.told] == ["0{", "44"]
    assert json.loads(socket.told[1][2:]) == {"message": "Implicit handshake failed"}
    assert rig.pages.scopes == []
    for cookie, origin in ((None, f"http://{HOST}"), ("nodegate_80=x", "http://evil.example")):
        stranger = rig.socket(cookie, origin=origin)
        await stranger.run("40")
        assert (stranger.refused, stranger.told) == (True, [])


async def test_whoever_comes_with_a_session_that_is_over_is_told_so(
    rig: Rig, browser: httpx.AsyncClient
) -> None:
    await login(browser)
    rig.passwords.put(Role.OPERATOR, "a brand new password")
    answer = await browser.get("/ui/nodes", follow_redirects=True)
    assert answer.url.path == "/ui/login"
    assert "Your session has ended" in answer.text
    assert 'value="/ui/nodes"' in answer.text


async def test_a_socket_elsewhere_is_refused(rig: Rig) -> None:
    socket = Socket(rig, await a_cookie(rig), {}, path="/ui/nodes")
    await socket.run()
    assert socket.refused


async def test_a_socket_with_a_session_reaches_its_page(rig: Rig) -> None:
    socket = rig.socket(await a_cookie(rig))
    await socket.run("2probe", '42["event",{}]')
    assert [message.get("text") for message in rig.pages.heard] == ["2probe", '42["event",{}]', None]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('42["event",{}]', True),
        ("2", False),
        ("3", False),
        ('42["ack",{}]', False),
        ('42["handshake",{}]', False),
        ("40", False),
    ],
)
async def test_only_what_a_person_does_keeps_a_session(rig: Rig, text: str, kept: bool) -> None:
    cookie = await a_cookie(rig)
    rig.clock.time += 50
    await rig.socket(cookie).run(text)
    rig.clock.time += 50
    later = rig.socket(cookie)
    await later.run()
    assert later.refused is not kept


async def test_a_socket_ends_with_its_session_before_what_it_says_is_heard(rig: Rig) -> None:
    socket = rig.socket(await a_cookie(rig))
    rig.passwords.put(Role.OPERATOR, "a brand new password")
    heard: Any = rig.pages.heard

    async def run() -> None:
        await socket.run('42["event",{}]')

    await run()
    assert socket.refused
    rig.passwords.put(Role.OPERATOR, PASSWORD)
    socket = rig.socket(await a_cookie(rig))
    texts = iter(['42["event",1]', '42["event",2]'])

    async def receive() -> Message:
        text = next(texts)
        if text.endswith("2]"):
            rig.clock.time += 10_000
        return {"type": "websocket.receive", "text": text}

    async def send(message: Message) -> None:
        pass

    await rig.gate(socket.scope, receive, send)
    assert [message["type"] for message in heard] == ["websocket.receive", "websocket.disconnect"]
