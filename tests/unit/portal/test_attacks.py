"""What strangers try at the registration page, and what happens when two people act at the same time."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace

import httpx
import pytest

from nodegate.errors import Conflict, NotFound, Refused, Unavailable
from nodegate.model import Failure, FailureKind, Instant, Intent, Reading, Status
from nodegate.portal import check
from nodegate.portal.advice import advice_on, facts
from nodegate.portal.check import is_here
from nodegate.portal.desk import mail_to
from nodegate.portal.outbox import LONGEST_DELAY
from nodegate.portal.records import Letter, State
from nodegate.portal.rows import due, get, listed, save
from nodegate.settings.mail import checked_mailbox


def link_in(mail) -> str:  # type: ignore[no-untyped-def]
    """The path of the link in a mail."""
    words = mail.get_content().split()
    link = next(word for word in words if "/confirm/" in word or "/owner/" in word)
    return str(httpx.URL(link).raw_path.decode())


async def confirmed(rig, browser, email: str = "owner@example.org"):  # type: ignore[no-untyped-def]
    """Register the lab's node and confirm; its registration."""
    await browser.register(rig.node.url, email)
    await browser.press(link_in((await rig.post())[-1]))
    [one] = await rig.service.store.transact(lambda db: listed(db, (State.ACTIVE,)))
    await rig.post()
    return one


@pytest.mark.parametrize("text", ["=?utf-8?q?victim?=@example.org", "a=?us-ascii?q?b?=@example.org"])
def test_what_looks_like_the_mail_address_of_somebody_else_to_a_machine_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no mail server takes"):
        checked_mailbox(text)
    with pytest.raises(ValueError, match="no mail server takes"):
        checked_mailbox("\N{KELVIN SIGN}@example.org")  # lower-cased it is a plain k
    assert checked_mailbox("a=b?c@example.org") == "a=b?c@example.org"


@pytest.mark.parametrize("path", ["/link/", "/mine/", "/badge/x.svg/", "/style.css/"])
async def test_nobody_is_sent_to_the_host_that_a_request_makes_up(rig, browser, path):  # type: ignore[no-untyped-def]
    answer = await browser.http.get(path, headers={"host": "evil.example"})
    assert answer.status_code == 404
    assert "evil.example" not in answer.text + str(answer.headers)


async def test_links_in_mails_do_not_follow_the_host_header(rig, browser):  # type: ignore[no-untyped-def]
    browser.http.headers["host"] = "evil.example"
    browser.http.headers["x-forwarded-host"] = "evil.example"
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    assert "evil.example" not in mail.as_string()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_form_that_a_browser_calls_foreign_is_refused_even_with_the_right_cookie(rig, browser, site):  # type: ignore[no-untyped-def]
    one = await confirmed(rig, browser)
    await browser.get("/mine")
    browser.http.headers["sec-fetch-site"] = site
    assert (await browser.send(f"/mine/{one.id}/leave")).status_code == 403
    browser.http.headers["sec-fetch-site"] = "same-origin"
    assert (await browser.get("/mine")).status_code == 200
    assert (await browser.send(f"/mine/{one.id}/leave")).status_code == 200


async def test_a_client_that_goes_away_in_the_middle_of_a_form_leaves_no_fault_in_the_log(rig, caplog):  # type: ignore[no-untyped-def]
    said = [
        {"type": "http.request", "body": b"email=", "more_body": True},
        {"type": "http.disconnect"},
    ]
    kind = (b"content-type", b"application/x-www-form-urlencoded")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "", "headers": [kind],
        "client": ("198.51.100.1", 1), "server": ("127.0.0.1", 9790),
    }  # fmt: skip
    answers = []

    async def receive():  # type: ignore[no-untyped-def]
        return said.pop(0)

    async def send(message):  # type: ignore[no-untyped-def]
        answers.append(message)

    await rig.service.app(scope, receive, send)
    assert answers[0]["status"] == 400
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("rig", [{"client_checks": 2}], indirect=True)
async def test_names_that_cost_nothing_do_not_let_a_node_be_checked_more_often(rig, browser):  # type: ignore[no-untyped-def]
    port = rig.node.url.rpartition(":")[2]
    answers = []
    for number in range(3):
        rig.names[f"n{number}.example.org"] = ("127.0.0.1",)
        other = type(browser)(rig, f"198.51.100.{number + 10}")
        answers.append(await other.register(f"n{number}.example.org:{port}", f"a{number}@example.org"))
        await other.http.aclose()
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "checked many times" in answers[-1].text


async def test_this_machine_is_not_asked_at_its_public_address_whatever_the_port(rig, browser, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(check, "is_here", lambda address: address == "9.9.9.9")
    rig.names["node.example.org"] = ("9.9.9.9",)
    page = await browser.register("node.example.org:8500")
    assert (page.status_code, "is this gateway itself" in browser.text) == (422, True)


def test_an_address_is_here_if_it_is_asked_from_itself() -> None:
    assert is_here("127.0.0.1")
    assert is_here("127.9.9.9")
    assert not is_here("8.8.8.8")
    assert not is_here("192.0.2.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return  # a machine without any route has no other address to look at
        assert is_here(probe.getsockname()[0])


async def test_asking_for_a_link_writes_as_much_for_a_stranger_as_for_an_owner(rig, browser):  # type: ignore[no-untyped-def]
    await browser.get("/link")
    await browser.send("/link", email="nobody@example.org")
    counted = await rig.service.store.transact(
        lambda db: [row["subject"] for row in db.execute("SELECT subject FROM hits")]
    )
    assert "mail nobody@example.org" in counted
    assert await rig.post() == []


async def test_a_form_that_was_sent_twice_is_confirmed_by_either_mail(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    await browser.register(rig.node.url)
    first, second = await rig.post()
    await browser.press(link_in(first))
    await browser.press(link_in(second))
    assert "Confirmed. Thank you!" in browser.text
    assert len(rig.registry.nodes) == 1
    assert ["is in" in str(mail["Subject"]) for mail in await rig.post()] == [True]


async def test_a_link_that_expired_is_renewed_for_its_own_node_also_when_another_one_serves(rig, browser):  # type: ignore[no-untyped-def]
    one = await confirmed(rig, browser)
    waiting = replace(
        one, id="5f0c1d2e3a4b5c6d", url="http://8.8.8.8:14265", address="8.8.8.8", counted_as="8.8.8.8",
        state=State.UNCONFIRMED, node_id=None, confirmed_at=None, created_at=rig.clock.now(),
    )  # fmt: skip
    await rig.service.store.transact(lambda db: save(db, waiting))
    expired = rig.service.sender.written(mail_to(waiting, Letter.CONFIRM, rig.clock.now()), waiting)
    rig.clock.forward(86_401)
    assert (await browser.get(link_in(expired))).status_code == 410
    await browser.send(f"{link_in(expired)}/renew")
    [mail] = await rig.post()
    assert str(mail["Subject"]) == "Confirm your node http://8.8.8.8:14265"


async def test_a_node_that_is_rejected_while_it_joins_does_not_stay(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    [one] = await rig.service.store.transact(listed)
    real = rig.registry.put

    async def slow(node):  # type: ignore[no-untyped-def]
        stored = await real(node)
        rig.registry.put = real
        await rig.service.operator.reject(one.id, "for members only")
        return stored

    rig.registry.put = slow
    await browser.press(link_in(mail))
    after = await rig.service.store.transact(lambda db: get(db, one.id))
    assert after.state is State.REJECTED
    assert [node.intent for node in rig.registry.nodes.values()] == [Intent.REMOVE]
    assert ["was not taken" in str(mail["Subject"]) for mail in await rig.post()] == [True]


async def approved(rig, browser):  # type: ignore[no-untyped-def]
    """A registration that is confirmed, and whose node could not join yet because the registry was away."""
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    real = rig.registry.put

    async def refuse(node):  # type: ignore[no-untyped-def]
        raise Unavailable("registry.db is locked")

    rig.registry.put = refuse
    await browser.press(link_in(mail))
    rig.registry.put = real
    [one] = await rig.service.store.transact(listed)
    return one


async def test_a_node_that_joins_while_it_is_rejected_does_not_stay(rig, browser):  # type: ignore[no-untyped-def]
    one = await approved(rig, browser)
    assert one.state is State.APPROVED
    remove = rig.service.operator._nodes.remove

    async def join_first(node_id):  # type: ignore[no-untyped-def]
        rig.service.operator._nodes.remove = remove
        await remove(node_id)
        await rig.service.watch.look()

    rig.service.operator._nodes.remove = join_first
    await rig.service.operator.reject(one.id, "no")
    assert [node.intent for node in rig.registry.nodes.values()] == [Intent.REMOVE]
    with pytest.raises(Conflict, match="has ended already"):
        await rig.service.operator.reject(one.id, "no")


async def test_two_who_let_a_node_join_at_once_write_one_mail(rig, browser):  # type: ignore[no-untyped-def]
    one = await approved(rig, browser)
    await asyncio.gather(rig.service.desk.admit(one), rig.service.desk.admit(one))
    assert ["is in" in str(mail["Subject"]) for mail in await rig.post()] == [True]


async def test_leaving_twice_at_once_is_told_once(rig, browser):  # type: ignore[no-untyped-def]
    one = await confirmed(rig, browser)
    session = browser.http.cookies["nodegate_owner"]
    owners = rig.service.owners
    found = await asyncio.gather(
        owners.act(session, one.id, "leave"), owners.act(session, one.id, "leave"), return_exceptions=True
    )
    assert found.count(None) == 1
    assert any(isinstance(result, NotFound) for result in found)
    assert ["left the fleet" in str(mail["Subject"]) for mail in await rig.post()] == [True]


async def test_an_owner_who_pauses_while_being_banned_stays_banned(rig, browser):  # type: ignore[no-untyped-def]
    one = await confirmed(rig, browser)
    session = browser.http.cookies["nodegate_owner"]
    real = rig.registry.put

    async def slow(node):  # type: ignore[no-untyped-def]
        rig.registry.put = real
        stored = await real(node)
        await rig.service.operator.ban("owner@example.org", "noise")
        return stored

    rig.registry.put = slow
    with pytest.raises(NotFound):
        await rig.service.owners.act(session, one.id, "pause")
    after = await rig.service.store.transact(lambda db: get(db, one.id))
    assert after.state is State.BANNED


async def test_half_a_character_in_a_nodes_words_stops_neither_page_nor_watch(rig, browser):  # type: ignore[no-untyped-def]
    reading = Reading(app="IRI \ud800", version="1\udfff", height=1)
    facts(reading).encode()
    for advice in advice_on(Failure(kind=FailureKind.MALFORMED, text="it says \ud800")):
        advice.text.encode()
    one = await confirmed(rig, browser)
    rig.statuses[one.node_id] = Status.DOWN
    rig.reasons = ("the version is \ud800",)
    await rig.service.watch.look()
    rig.clock.forward(3600)
    await rig.service.watch.look()
    [mail] = await rig.post()
    assert "the version is ?" in mail.get_content()
    assert (await browser.get("/mine")).status_code == 200


async def test_one_mail_that_cannot_be_written_holds_up_no_other(rig, browser, monkeypatch):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url, "first@example.org")
    await browser.register(rig.node.url, "second@example.org")
    real = rig.service.sender.written

    def written(mail, registration):  # type: ignore[no-untyped-def]
        if mail.recipient.startswith("first"):
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return real(mail, registration)

    monkeypatch.setattr(rig.service.sender, "written", written)
    assert [str(mail["To"]) for mail in await rig.post()] == ["second@example.org"]
    assert (await rig.service.operator.listed()).mails.waiting == 1


@pytest.mark.parametrize("rig", [{"client_checks": 2}], indirect=True)
async def test_a_clock_that_was_ahead_before_a_restart_shuts_nobody_out(rig, browser):  # type: ignore[no-untyped-def]
    rig.clock.forward(10 * 365 * 86_400)
    for _ in range(2):
        await browser.register("10.0.0.1")
    rig.failure = Unavailable("mail server away")
    await browser.register(rig.node.url)
    await rig.post()
    rig.clock.forward(-10 * 365 * 86_400)
    assert (await browser.register("10.0.0.1")).status_code == 422
    now = rig.clock.now()
    mails = await rig.service.store.transact(lambda db: due(db, now, most=9, longest=LONGEST_DELAY))
    assert all(mail.next_at > now for mail in mails)


async def test_a_link_opens_only_what_its_purpose_says(rig, browser):  # type: ignore[no-untyped-def]
    one = await confirmed(rig, browser)
    session = browser.http.cookies["nodegate_owner"]
    for purpose in ("confirm", "owner", "session", "form"):
        assert (await browser.http.get(f"/{purpose}/{session}")).status_code in {403, 404}
    with pytest.raises(Refused):
        await rig.service.owners.open(session)
    assert Instant(one.created_at) <= rig.clock.now()


async def test_a_link_to_a_registration_that_has_ended_thanks_nobody(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    await rig.service.operator.ban("owner@example.org", "noise")
    await browser.press(link_in(mail))
    assert "Confirmed. Thank you!" not in browser.text
    assert "does not take nodes from here" in browser.text
    assert rig.registry.nodes == {}
