"""The pages as a browser without scripts sees them, and what strangers cannot do with them."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from nodegate.errors import Refused, Unavailable
from nodegate.model import Intent, Node, Status
from nodegate.portal.records import State
from nodegate.portal.rows import listed


async def registered(rig, browser, email: str = "owner@example.org") -> str:  # type: ignore[no-untyped-def]
    """Register the lab's node and confirm; returns the node's id."""
    await browser.register(rig.node.url, email)
    mail = (await rig.post())[-1]
    await browser.press(path_in(mail))
    [name] = rig.registry.nodes
    await rig.post()
    return str(name)


def path_in(mail) -> str:  # type: ignore[no-untyped-def]
    words = mail.get_content().split()
    link = next(word for word in words if "/confirm/" in word or "/owner/" in word)
    return str(httpx.URL(link).raw_path.decode())


async def test_a_node_joins_with_the_address_that_was_checked_and_a_small_weight(rig, browser):  # type: ignore[no-untyped-def]
    port = rig.node.url.rpartition(":")[2]
    rig.names["node.example.org"] = ("127.0.0.1",)
    page = await browser.register(f"node.example.org:{port}")
    assert (page.status_code, "Your node answers as it should" in browser.text) == (200, True)
    assert rig.asked == ["node.example.org"]
    [mail] = await rig.post()
    await browser.press(path_in(mail))
    [node] = rig.registry.nodes.values()
    assert (node.url, node.address, node.weight) == (f"http://node.example.org:{port}", "127.0.0.1", 10)
    assert "Confirmed. Thank you!" in browser.text


@pytest.mark.parametrize("answers", [("8.8.8.8", "10.0.0.1"), ("169.254.169.254",), ("::ffff:10.0.0.1",), ()])
async def test_a_name_with_one_forbidden_address_is_not_asked_at_all(rig, browser, answers):  # type: ignore[no-untyped-def]
    rig.names["node.example.org"] = answers
    page = await browser.register("node.example.org")
    assert page.status_code == 422
    assert "Your node cannot join yet" in browser.text
    assert await rig.post() == []


async def test_the_page_is_the_same_whether_owner_and_node_are_known_banned_or_new(rig, browser):  # type: ignore[no-untyped-def]
    def said() -> str:
        return str(browser.text).replace(str(rig.node.url), "")

    await browser.register(rig.node.url, "a@example.org")
    fresh = said().replace("a@example.org", "X")
    await registered(rig, browser)
    pages = []
    for email in ("owner@example.org", "b@example.org", "bad@example.net"):
        if "bad" in email:
            await rig.service.operator.ban(email, "")
        await browser.register(rig.node.url, email)
        pages.append(said().replace(email, "X"))
    assert [" ".join(p.split()).split("height")[0] for p in pages] == [
        " ".join(fresh.split()).split("height")[0]
    ] * 3
    assert "height 1," in fresh, "what follows the height moves on, and is not compared"
    mails = {str(mail["To"]): str(mail["Subject"]) for mail in await rig.post()}
    assert "registered already" in mails["owner@example.org"]
    assert "could not be registered" in mails["b@example.org"]
    assert "bad@example.net" not in mails


async def test_a_link_confirms_once_by_its_button_only_and_expires(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    path = path_in(mail)
    for _ in range(3):
        assert (await browser.get(path)).status_code == 200
    assert rig.registry.nodes == {}
    rig.clock.forward(86_401)
    assert (await browser.get(path)).status_code == 410
    assert "expired" in browser.text
    await browser.send(f"{path}/renew")
    [new] = await rig.post()
    await browser.press(path_in(new))
    assert len(rig.registry.nodes) == 1
    assert (await browser.get(path_in(new))).status_code == 410
    assert "has been used" in browser.text
    assert (await browser.get(path[:-2] + "xx")).status_code == 403


async def test_forms_of_other_sites_and_old_ones_are_refused(rig, browser):  # type: ignore[no-untyped-def]
    await browser.get("/")
    bare = await browser.http.post("/", data={"email": "a@b.org", "place": rig.node.url, "kind": "iri"})
    assert bare.status_code == 403
    browser.http.cookies.clear()
    assert (await browser.send("/", email="a@b.org", place=rig.node.url, kind="iri")).status_code == 403
    await browser.get("/")
    rig.clock.forward(5 * 3600)
    assert (await browser.send("/", email="a@b.org", place=rig.node.url, kind="iri")).status_code == 403
    name = await registered(rig, browser)
    [one] = await rig.service.store.transact(lambda db: listed(db, (State.ACTIVE,)))
    forged = await browser.http.post(f"/mine/{one.id}/leave", data={"form": "made-up"})
    assert (forged.status_code, rig.registry.nodes[name].intent) == (403, Intent.SERVE)
    assert await rig.post() == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a=" + b"x" * 9000, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 2000, "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(50)), "application/x-www-form-urlencoded", 400),
        (b"a=1&a=2", "application/x-www-form-urlencoded", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 400),
        (b"--x", "multipart/form-data; boundary=x", 400),
    ],
)
async def test_bodies_are_bounded_and_of_one_kind(rig, browser, content, kind, status):  # type: ignore[no-untyped-def]
    answer = await browser.http.post("/", content=content, headers={"content-type": kind})
    assert answer.status_code == status


async def test_every_answer_has_the_headers_that_keep_others_out(rig, browser):  # type: ignore[no-untyped-def]
    for path in ("/", "/nowhere", "/confirm/x", "/style.css", "/link"):
        headers = (await browser.http.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    cookie = (await browser.http.get("/")).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert (await browser.http.put("/")).status_code == 405


async def test_what_programs_fill_in_leads_nowhere(rig, browser):  # type: ignore[no-untyped-def]
    page = await browser.register(rig.node.url, website="http://spam.example")
    assert page.status_code == 200
    assert await rig.post() == []


@pytest.mark.parametrize("rig", [{"client_checks": 2}], indirect=True)
async def test_checks_per_client_are_limited_and_say_when_to_come_back(rig, browser):  # type: ignore[no-untyped-def]
    for _ in range(2):
        assert (await browser.register("10.0.0.1")).status_code == 422
    page = await browser.register("10.0.0.2")
    assert (page.status_code, page.headers["retry-after"]) == (429, "3600")
    rig.clock.forward(3601)
    assert (await browser.register("10.0.0.2")).status_code == 422


@pytest.mark.parametrize("rig", [{"recipient_mails": 2, "domain_registrations": 4}], indirect=True)
async def test_nobody_can_flood_a_mailbox_or_a_mail_domain(rig, browser):  # type: ignore[no-untyped-def]
    for _ in range(4):
        assert (await browser.register(rig.node.url)).status_code == 200
    assert len(await rig.post()) == 2
    assert (await browser.register(rig.node.url, "other@example.org")).status_code == 429


@pytest.mark.parametrize("rig", [{"nodes_per_address": 1}], indirect=True)
async def test_an_address_is_registered_once_by_whoever_confirms_first(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url, "a@example.org")
    await browser.register(rig.node.url, "b@example.org")
    first, second = await rig.post()
    await browser.press(path_in(second))
    assert "Confirmed" in browser.text
    await browser.press(path_in(first))
    assert "has been registered in the meantime" in browser.text
    assert len(rig.registry.nodes) == 1


async def test_what_an_operator_declared_cannot_be_registered(rig, browser):  # type: ignore[no-untyped-def]
    rig.registry.store(Node(id="mine", url=rig.node.url, kind="iri"))
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    assert "could not be registered" in str(mail["Subject"])


async def test_an_owner_pauses_resumes_and_leaves_but_cannot_undo_an_operator(rig, browser):  # type: ignore[no-untyped-def]
    name = await registered(rig, browser)
    rig.statuses[name] = Status.UP
    [one] = await rig.service.store.transact(listed)
    await browser.get("/mine")
    assert "Your node is well and serves" in browser.text
    await browser.send(f"/mine/{one.id}/pause")
    assert rig.registry.nodes[name].intent is Intent.DRAIN
    await browser.send(f"/mine/{one.id}/resume")
    assert rig.registry.nodes[name].intent is Intent.SERVE
    rig.registry.store(replace(rig.registry.nodes[name], intent=Intent.DRAIN))
    await browser.get("/mine")
    assert "The operator of this fleet has paused this node" in browser.text
    await browser.get("/link")
    assert (await browser.send(f"/mine/{one.id}/resume")).status_code == 403
    await browser.get("/mine")
    await browser.send(f"/mine/{one.id}/leave")
    assert rig.registry.nodes[name].intent is Intent.REMOVE
    [mail] = await rig.post()
    assert "left the fleet" in str(mail["Subject"])


async def test_an_owner_gets_at_no_node_of_others(rig, browser):  # type: ignore[no-untyped-def]
    name = await registered(rig, browser)
    [one] = await rig.service.store.transact(listed)
    thief = type(browser)(rig)
    await thief.get("/link")
    assert (await thief.send(f"/mine/{one.id}/leave")).status_code == 403
    thief.http.cookies.set("nodegate_owner", "made-up")
    await thief.get("/mine")
    assert one.url not in thief.page.text
    assert rig.registry.nodes[name].intent is Intent.SERVE
    await thief.http.aclose()


async def test_signing_out_ends_the_session_for_whoever_kept_its_cookie(rig, browser):  # type: ignore[no-untyped-def]
    await registered(rig, browser)
    kept = browser.http.cookies["nodegate_owner"]
    await browser.get("/mine")
    await browser.send("/signout")
    browser.http.cookies.set("nodegate_owner", kept)
    assert (await browser.get("/mine")).status_code == 403
    assert "signed out" in browser.text


async def test_hostile_text_is_shown_as_it_is_and_never_as_markup(rig, browser):  # type: ignore[no-untyped-def]
    evil = '"><script>alert(1)</script>{{7*7}}'
    await browser.register(evil, evil, evil)
    assert "<script>" not in browser.page.text
    assert "{{7*7}}" in browser.page.text


async def test_without_registry_or_store_a_page_says_to_come_back(rig, browser):  # type: ignore[no-untyped-def]
    rig.registry.lost = "registry.db is locked"
    page = await browser.register(rig.node.url)
    assert (page.status_code, page.headers["retry-after"]) == (503, "60")
    rig.registry.lost = None
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    await browser.get(path_in(mail))
    rig.registry.rivals = [lambda: setattr(rig.registry, "lost", "gone")] * 9

    def lose() -> None:
        rig.registry.lost = "registry.db is locked"
        rig.registry._reach()

    rig.registry.rivals = [lose]
    await browser.send(path_in(mail))
    assert "joins as soon as" in browser.text
    rig.registry.lost = None
    await rig.service.watch.look()
    assert len(rig.registry.nodes) == 1


async def test_mails_wait_for_a_server_that_is_away_and_those_that_are_refused_are_listed(rig, browser):  # type: ignore[no-untyped-def]
    rig.failure = Unavailable("mail server away")
    await browser.register(rig.node.url)
    assert await rig.post() == []
    document = await rig.service.operator.listed()
    assert (document.mails.waiting, document.mails.error) == (1, "mail server away")
    rig.failure = None
    assert await rig.post() == []  # not before its time
    rig.clock.forward(3 * 86_400)
    await rig.service.watch.look()  # what waits for its mail is not forgotten
    [mail] = await rig.post()
    assert (await browser.get(path_in(mail))).status_code == 200  # the link lives from when it was sent
    rig.failure = Refused("550 no such user")
    await browser.register(rig.node.url, "nobody@example.org")
    await rig.post()
    document = await rig.service.operator.listed()
    assert document.mails.given_up == ("confirm to nobody@example.org: 550 no such user",)


async def test_the_weight_grows_until_an_operator_sets_it(rig, browser):  # type: ignore[no-untyped-def]
    name = await registered(rig, browser)
    rig.statuses[name] = Status.UP
    await rig.service.watch.look()
    for _ in range(2):
        for _ in range(1000):
            rig.clock.forward(28.0)
            await rig.service.watch.look()
    grown = rig.registry.nodes[name].weight
    assert 10 < grown < 100
    rig.registry.store(replace(rig.registry.nodes[name], weight=77))
    for _ in range(1500):
        rig.clock.forward(28.0)
        await rig.service.watch.look()
    assert rig.registry.nodes[name].weight == 77


async def test_a_node_whose_name_moves_is_followed_only_to_an_address_that_passes(rig, browser):  # type: ignore[no-untyped-def]
    port = rig.node.url.rpartition(":")[2]
    rig.names["node.example.org"] = ("127.0.0.1",)
    await browser.register(f"node.example.org:{port}")
    [mail] = await rig.post()
    await browser.press(path_in(mail))
    [name] = rig.registry.nodes
    rig.statuses[name] = Status.DOWN
    rig.names["node.example.org"] = ("10.0.0.1",)
    await rig.service.watch.look()
    assert rig.registry.nodes[name].address == "127.0.0.1"
    rig.registry.store(replace(rig.registry.nodes[name], address="127.0.0.9"))
    await rig.service.store.transact(
        lambda db: db.execute("UPDATE registrations SET address = '127.0.0.9', counted_as = '127.0.0.9'")
    )
    rig.names["node.example.org"] = ("127.0.0.1",)
    rig.clock.forward(61)
    await rig.service.watch.look()
    assert rig.registry.nodes[name].address == "127.0.0.1"


async def test_bans_by_network_end_what_is_there_and_lift_again(rig, browser):  # type: ignore[no-untyped-def]
    name = await registered(rig, browser)
    ended = await rig.service.operator.ban("127.0.0.0/8", "noise")
    assert len(ended.ended) == 1
    assert rig.registry.nodes[name].intent is Intent.REMOVE
    assert (await rig.service.operator.listed("banned")).registrations[0].reason == "noise"
    [mail] = await rig.post()
    assert "noise" in mail.get_content()
    assert (await rig.service.operator.unban("127.0.0.0/8")).subject == "127.0.0.0/8"
    assert (await rig.service.operator.bans()).bans == ()


@pytest.mark.parametrize(
    "rig", [{"badges": "all", "public_url": "http://portal.example:9790/join"}], indirect=True
)
async def test_badges_and_the_prefix_of_a_proxy(rig, browser):  # type: ignore[no-untyped-def]
    rig.registry.store(Node(id="mine", url="http://192.0.2.1:14265", kind="iri"))
    rig.statuses["mine"] = Status.DEGRADED
    answer = await browser.http.get("/join/badge/mine.svg")
    assert (answer.status_code, "mine: degraded" in answer.text) == (200, True)
    tag = answer.headers["etag"]
    again = await browser.http.get("/badge/mine.svg", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert (await browser.http.get("/badge/other.svg")).status_code == 404
    form = await browser.http.get("/join/")
    assert 'action="/join/"' in form.text
    assert "Path=/join/" in form.headers["set-cookie"]


async def test_a_state_directory_of_a_stopped_portal_is_taken_up_again(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    assert (rig.directory / "portal.key").stat().st_mode & 0o777 == 0o600
    assert (rig.directory / "portal.db").stat().st_mode & 0o777 == 0o600
    await rig.service.close()
    rig.open()
    later = type(browser)(rig)
    await later.press(path_in(mail))
    assert len(rig.registry.nodes) == 1
    await later.http.aclose()


async def test_a_damaged_store_is_said_in_words_and_never_begun_anew(rig, browser):  # type: ignore[no-untyped-def]
    await rig.service.close()
    (rig.directory / "portal.db").write_bytes(b"this is no database, and long enough to be read as one" * 50)
    rig.open()
    with pytest.raises(Unavailable, match=r"portal\.db cannot be used"):
        await rig.service.operator.listed()
