"""Fabio's tags through a real HAProxy: matching, treatments, access, shares, and what needs no reload."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dataplane_support import Node
from fabio_rig import FabioRig, shared
from nodegate.haproxy.services import rules_of
from nodegate.routes import lookup

pytestmark = pytest.mark.scenario

HASH = "$6$saltsalt$8yZVgv/IJ/dY8H8m/fBUfe1Vt/KbTPhR/vpng19yOGFQ9c6PkxzUVxlxR9nfGQke6egr9mv.I/hKgwqpxtkSQ."
"""The password `tesT` as crypt(3) writes it."""


@pytest.fixture
async def rig() -> AsyncIterator[FabioRig]:
    async with FabioRig() as rig:
        yield rig


TABLE = {
    "any-1": ["urlprefix-/"],
    "foo-1": ["urlprefix-/foo"],
    "foobar-1": ["urlprefix-/foo/bar"],
    "host-1": ["urlprefix-Abc.com/"],
    "hostpath-1": ["urlprefix-abc.com/foo/"],
    "port-1": ["urlprefix-abc.com:8080/"],
    "default-1": ["urlprefix-eighty.com:80/"],
    "glob-1": ["urlprefix-*.abc.com/"],
    "deeper-1": ["urlprefix-*.aaa.abc.com/"],
    "exact-1": ["urlprefix-z.abc.com/only"],
    "greedy-1": ["urlprefix-*abc.com/g"],
    "class-1": ["urlprefix-n[0-9].net/x{a,b}"],
    "bare-1": ["urlprefix-bare.org"],
    "dc-1": ["urlprefix-$DC.org/"],
}

REQUESTS = (
    "/", "/x", "/foo", "/fools", "/foo/", "/foo/bar/baz", "/Foo", "abc.com/", "ABC.com/foo", "abc.com/foo/",
    "abc.com/foo/x", "abc.com:8080/", "abc.com:8080/foo/", "abc.com:80/", "abc.com:9999/", "eighty.com/",
    "eighty.com:80/", "x.abc.com/", "x.y.abc.com/q", ".abc.com/", "x.aaa.abc.com/", "z.abc.com/only",
    "z.abc.com/other", "abc.com/g", "xabc.com/g", "xabc.com/h", "n1.net/xa", "n1.net/x{a,b}", "nn.net/x{a,b}",
    "bare.org/", "bare.org/any", "dc1.org/a", "evil.com/x.abc.com/", "abc.com./", "gateway.example/foo%2Fbar",
    "/f%6fo", "/%66oo/bar",
)  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"strict": True}, {"matcher": "iprefix"}, {"glob_hosts": False}, {"matcher": "glob"}]
)
async def test_haproxy_takes_the_route_that_the_reference_takes(options: dict[str, object]) -> None:
    from urllib.parse import unquote

    async with FabioRig({"fabio": options}) as rig:
        found = await rig.serve(TABLE)
        routes, rules = shared(found).routes, rules_of(rig.settings)
        assert routes is not None
        answers: dict[str, tuple[str | None, str | None]] = {}
        for place in REQUESTS:
            host, slash, path = place.partition("/")
            wanted = lookup(routes, host or "gateway.example", unquote(slash + path), rules)
            answers[place] = (
                (await rig.get(place)).node,
                f"{wanted.variants[0].pool}-1" if wanted is not None else None,  # type: ignore[union-attr]
            )
        assert {place: pair[0] for place, pair in answers.items()} == {
            place: pair[1] for place, pair in answers.items()
        }


async def test_fabios_order_in_plain_words(rig: FabioRig) -> None:
    await rig.serve(TABLE)
    assert (await rig.get("/fools")).node == "foo-1"
    assert (await rig.get("x.y.abc.com/")).node == "glob-1"
    assert (await rig.get("x.aaa.abc.com/")).node == "deeper-1"
    assert (await rig.get("z.abc.com/only")).node == "exact-1"
    assert (await rig.get("z.abc.com/other")).node == "glob-1"
    assert (await rig.get("evil.com/x.abc.com/")).node == "any-1"
    assert (await rig.get("abc.com:9999/")).node == "host-1"


async def test_a_request_without_a_route_is_answered_404(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-abc.com/"]})
    assert (await rig.get("abc.com/")).node == "web-1"
    assert (await rig.get("other.com/")).status == 404 or (await rig.get("other.com/")).status == 503


async def test_strip_prepend_and_host_reach_the_node_and_change_without_a_reload(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-/foo strip=/foo"]})
    answer = await rig.get("/foo/bar?q=1")
    assert (answer.path, answer.sent["x-forwarded-prefix"]) == ("/bar?q=1", "/foo")
    assert (await rig.get("/foo")).path == "/"
    assert (await rig.get("/foobar")).path == "/bar"
    reloads = rig.reloads
    await rig.serve({"web-1": ["urlprefix-/foo strip=/fo prepend=/new host=inner.example"]})
    answer = await rig.get("/foo/bar")
    assert (answer.path, answer.sent["host"]) == ("/new/o/bar", "inner.example")
    assert answer.sent["x-forwarded-host"] == "gateway.example"
    await rig.serve({"web-1": ["urlprefix-/elsewhere"]})
    assert (await rig.get("/elsewhere/x")).path == "/elsewhere/x"
    await rig.serve({"web-1": ["urlprefix-/foo prepend=/p"]})
    assert (await rig.get("/foo%20x")).path == "/p/foo%20x"
    long = "/" + "x" * 126
    await rig.serve({"web-1": [f"urlprefix-{long} strip={long}"]})
    assert (await rig.get(f"{long}/y")).path == "/y"
    # The first option of all, and the last one that went away, are the only reloads.
    assert rig.reloads - reloads <= 2


async def test_each_instance_gets_its_own_host_with_dst(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-/ host=dst"], "web-2": ["urlprefix-/ host=dst"]})
    seen = {(answer.node, answer.sent["host"]) for answer in [await rig.get("/") for _ in range(60)]}
    assert seen == {(name, f"127.0.0.1:{rig.running[name].port}") for name in ("web-1", "web-2")}


REDIRECTS = (
    ("urlprefix-/a redirect=301,http://bar.com/b", "/a", "http://bar.com/b"),
    ("urlprefix-/a redirect=302,http://bar.com", "/a/x", "http://bar.com/"),
    ("urlprefix-/a redirect=302,http://bar.com$path", "/a/x?q=1", "http://bar.com/a/x?q=1"),
    ("urlprefix-/a redirect=302,http://bar.com/$path", "/a/x", "http://bar.com/a/x"),
    ("urlprefix-/a redirect=307,http://bar.com/b/$path", "/a/x%2Fy", "http://bar.com/b/a/x%2Fy"),
    ("urlprefix-/a redirect=308,https://$host$path", "/a", "https://gateway.example/a"),
    ("urlprefix-/a redirect=303,https://w.$host/$path", "/a", "https://w.gateway.example/a"),
    ("urlprefix-/a strip=/a redirect=302,http://bar.com$path", "/a/x", "http://bar.com/x"),
    ("urlprefix-/a strip=/a redirect=302,http://bar.com$path", "/a", "http://bar.com/"),
    ("urlprefix-/a prepend=/z redirect=302,http://bar.com$path", "/a/x", "http://bar.com/z/a/x"),
    ("urlprefix-/a redirect=302,http://bar.com/b?k=v", "/a?q=1", "http://bar.com/b?k=v"),
    ("urlprefix-/a redirect=302,http://bar.com$path?k=v", "/a?q=1", "http://bar.com/a?k=v"),
    ("urlprefix-/a redirect=301,/b", "/a?q=1", "/b"),
)


async def test_redirects_lead_where_their_pattern_says(rig: FabioRig) -> None:
    for tag, asked, location in REDIRECTS:
        await rig.serve({"web-1": [tag]})
        answer = await rig.get(asked)
        assert (tag, answer.status, answer.location) == (
            tag,
            int(tag.partition("redirect=")[2][:3]),
            location,
        )
    assert rig.reloads <= 2


async def test_a_redirect_to_itself_is_skipped(rig: FabioRig) -> None:
    await rig.serve(
        {
            "redirect-1": ["urlprefix-www.abc.com/ redirect=301,http://www.abc.com$path"],
            "to-1": ["urlprefix-*.abc.com/ redirect=301,http://www.abc.com$path"],
            "web-1": ["urlprefix-/"],
        }
    )
    assert (await rig.get("old.abc.com/x")).location == "http://www.abc.com/x"
    assert (await rig.get("www.abc.com/x")).node == "web-1"


async def test_access_rules_hold_for_the_connection_and_for_all_it_speaks_for(rig: FabioRig) -> None:
    await rig.serve(
        {
            "open-1": ["urlprefix-/open allow=ip:127.0.0.0/8,ip:10.0.0.0/8"],
            "shut-1": ["urlprefix-/shut allow=ip:192.0.2.0/24"],
            "deny-1": ["urlprefix-/deny deny=ip:10.1.0.0/16"],
            "inner-1": ["urlprefix-/inner deny=ip:10.1.2.0/24,ip:::1"],
        }
    )
    assert (await rig.get("/open")).node == "open-1"
    assert (await rig.get("/open", X_Forwarded_For="10.9.9.9, 10.1.2.3")).node == "open-1"
    assert (await rig.get("/open", X_Forwarded_For="10.9.9.9, 8.8.8.8")).status == 403
    assert (await rig.get("/open", X_Forwarded_For="nobody")).status == 403
    assert (await rig.get("/open", X_Forwarded_For=", ".join(["10.1.1.1"] * 9))).status == 403
    refused = await rig.get("/shut")
    assert (refused.status, refused.body) == (403, b"access denied")
    assert (await rig.get("/deny")).node == "deny-1"
    assert (await rig.get("/deny", X_Forwarded_For="8.8.8.8, 10.1.2.3")).status == 403
    assert (await rig.get("/deny", X_Forwarded_For='", 10.1.2.3')).status == 403  # quotes hide nothing
    assert (await rig.get("/deny", X_Forwarded_For="10.2.2.2")).node == "deny-1"
    assert (await rig.get("/inner", X_Forwarded_For="10.1.3.3")).node == "inner-1"
    assert (await rig.get("/inner", X_Forwarded_For="10.1.2.3")).status == 403
    reloads = rig.reloads
    await rig.serve(
        {"open-1": ["urlprefix-/open deny=ip:127.0.0.1"], "shut-1": ["urlprefix-/shut allow=ip:127.0.0.1"]}
    )
    assert ((await rig.get("/open")).status, (await rig.get("/shut")).node) == (403, "shut-1")
    assert rig.reloads - reloads <= 1  # two services are gone, the rules were maps


@pytest.mark.parametrize(
    "options",
    [
        "allow=ip:127.0.0.1 deny=ip:10.0.0.0/8",
        "allow=ip:300.0.0.0/8",
        "allow=127.0.0.1",
        "deny=",
        "allow=ip:",
    ],
)
@pytest.mark.parametrize("strict", [False, True])
async def test_a_wrong_access_rule_lets_nobody_in(options: str, strict: bool) -> None:
    async with FabioRig({"fabio": {"strict": strict}}) as rig:
        found = await rig.serve(
            {"web-1": [f"urlprefix-/a {options}", "urlprefix-/b"], "other-1": ["urlprefix-/c"]}
        )
        assert any("closed for everybody" in fault for fault in found.faults)
        assert (await rig.get("/a")).status == 403
        assert ((await rig.get("/b")).node, (await rig.get("/c")).node) == ("web-1", "other-1")


async def test_basic_authentication_by_the_named_scheme(tmp_path: Path) -> None:
    users = tmp_path / "htpasswd"
    users.write_text(f"# users\nanna:{HASH}\n")
    document = {"fabio": {"auth": {"staff": {"file": str(users), "realm": "Staff only"}}}}
    async with FabioRig(document) as rig:
        await rig.serve({"web-1": ["urlprefix-/a auth=staff"], "un-1": ["urlprefix-/u auth=unknown"]})
        asked = await rig.get("/a")
        assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="Staff only"')
        good = base64.b64encode(b"anna:tesT").decode()
        bad = base64.b64encode(b"anna:wrong").decode()
        assert (await rig.get("/a", Authorization=f"Basic {bad}")).status == 401
        assert (await rig.get("/a", Authorization=f"Basic {good}")).node == "web-1"
        assert (await rig.get("/u", Authorization=f"Basic {good}")).status == 401


async def drawn(rig: FabioRig, place: str, count: int = 300) -> Counter[str | None]:
    return Counter([(await rig.get(place)).node for _ in range(count)])


async def test_fixed_weights_are_shares_of_a_route(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-/ weight=0.2"], "web-2": ["urlprefix-/"]})
    counts = await drawn(rig, "/", 100)
    assert (counts["web-1"], counts["web-2"]) == (20, 80)


async def test_a_canary_gets_its_share_of_another_services_route(rig: FabioRig) -> None:
    await rig.serve(
        {
            "web-1": ["urlprefix-/", "urlprefix-/own"],
            "web-2": ["urlprefix-/", "urlprefix-/own"],
            "canary-1": ["urlprefix-/ weight=0.1"],
        }
    )
    counts = await drawn(rig, "/", 100)
    assert abs(counts["canary-1"] - 10) <= 1
    assert abs(counts["web-1"] - counts["web-2"]) <= 2
    assert set(await drawn(rig, "/own", 20)) == {"web-1", "web-2"}
    reloads = rig.reloads
    await rig.serve(
        {
            "web-1": ["urlprefix-/", "urlprefix-/own"],
            "web-2": ["urlprefix-/", "urlprefix-/own"],
            "canary-1": ["urlprefix-/ weight=0.5"],
        }
    )
    counts = await drawn(rig, "/", 100)
    assert abs(counts["canary-1"] - 50) <= 2
    assert rig.reloads == reloads


async def test_variants_that_are_treated_differently_share_by_lot(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-/a"], "canary-1": ["urlprefix-/a weight=0.25 strip=/a"]})
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for _ in range(400):
        answer = await rig.get("/a/x")
        counts[answer.node, answer.path] += 1
    assert set(counts) == {("web-1", "/a/x"), ("canary-1", "/x")}
    assert 60 <= counts["canary-1", "/x"] <= 145  # 100 on average; beyond 4 standard deviations
    await rig.serve(
        {"web-1": ["urlprefix-/a"], "canary-1": ["urlprefix-/a weight=0.25 strip=/a"]}, down=["canary-1"]
    )
    assert set(await drawn(rig, "/a/x", 40)) == {"web-1"}


async def test_a_node_that_dies_while_its_check_passes_costs_no_request(rig: FabioRig) -> None:
    await rig.serve(
        {"web-1": ["urlprefix-/"], "web-2": ["urlprefix-/"], "canary-1": ["urlprefix-/ weight=0.2"]}
    )
    dead: Node = rig.running["web-2"]
    await dead.stop()
    counts = await drawn(rig, "/", 100)
    assert set(counts) == {"web-1", "canary-1"}
    await rig.running["canary-1"].stop()
    assert set(await drawn(rig, "/", 30)) == {"web-1"}


async def test_no_tag_of_one_service_touches_another(rig: FabioRig) -> None:
    bad = [
        "urlprefix-/x weight=abc", "urlprefix-/x weight=30%", "urlprefix-", 'say "hi"', 'urlprefix-/q host="x"',
        "urlprefix-/p[x", "urlprefix-[/bad", "urlprefix-:9000 proto=tcp", "urlprefix-/g proto=grpc", " urlprefix-/lead",
    ]  # fmt: skip
    found = await rig.serve({"bad-1": bad, "good-1": ["urlprefix-/good"]})
    assert (await rig.get("/good")).node == "good-1"
    assert (await rig.get("/lead")).node == "bad-1"
    assert (await rig.get("/p[x")).node == "bad-1"
    assert len(found.faults) == 7
    assert all("service 'bad', instance 'bad-1'" in fault for fault in found.faults)


async def test_paths_are_matched_as_nodes_understand_them(rig: FabioRig) -> None:
    await rig.serve(
        {
            "pub-1": ["urlprefix-/pub"],
            "any-1": ["urlprefix-/"],
            "admin-1": ["urlprefix-/admin deny=ip:127.0.0.1"],
        }
    )
    assert (await rig.get("//")).node == "any-1"
    assert (await rig.get("//a")).path == "/a"
    assert (await rig.get("//admin")).status == 403
    assert (await rig.get("/pub/../admin")).status == 403
    assert (await rig.get("/%61dmin")).status == 403
    assert (await rig.get("/pub/%2e%2e/admin")).status == 400
    assert (await rig.get("/pub%2f..%2Fadmin")).status == 400
    assert (await rig.get("/a%00b")).status == 400
    assert (await rig.get("/x%3Fq=1")).path == "/x%3Fq=1"
    assert (await rig.get("/x%2520y")).path == "/x%2520y"
    assert (await rig.get("/a/./b/..c/.d")).path == "/a/b/..c/.d"


async def test_forwarding_headers_are_ours_unless_the_sender_is_trusted(rig: FabioRig) -> None:
    await rig.serve({"web-1": ["urlprefix-/"]})
    claims = {
        "X_Forwarded_For": "1.2.3.4", "X_Real_Ip": "1.2.3.4", "X_Forwarded_Proto": "https", "Forwarded": "for=1.2.3.4",
        "X_Forwarded_Host": "evil", "X_Forwarded_Port": "1",
    }  # fmt: skip
    sent = (await rig.get("abc.com:8080/", **claims)).sent
    assert sent["x-forwarded-for"] == sent["x-real-ip"] == "127.0.0.1"
    assert (sent["x-forwarded-proto"], sent["x-forwarded-host"], sent["x-forwarded-port"]) == (
        "http",
        "abc.com:8080",
        "8080",
    )
    assert sent["forwarded"] == "for=127.0.0.1; proto=http; by=127.0.0.1; httpproto=http/1.1"
    assert (await rig.get("abc.com/")).sent["x-forwarded-port"] == "80"


async def test_a_trusted_proxys_word_is_kept_and_extended() -> None:
    async with FabioRig({"fabio": {"trusted_proxies": ["127.0.0.0/8"]}}) as rig:
        await rig.serve({"web-1": ["urlprefix-/"]})
        sent = (
            await rig.get(
                "abc.com/", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https", Forwarded="for=1.2.3.4; proto=https",
                X_Real_Ip="1.2.3.4",
            )
        ).sent  # fmt: skip
        assert sent["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
        assert (sent["x-real-ip"], sent["x-forwarded-proto"]) == ("1.2.3.4", "https")
        assert sent["forwarded"] == "for=1.2.3.4; proto=https; by=127.0.0.1; httpproto=http/1.1"
        assert (await rig.get("abc.com/")).sent["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize(
    "named", ["X-Forwarded-For", "X-Real-Ip, keep-alive", "X-Forwarded-Proto, Forwarded", "X-Request-Id"]
)
async def test_a_connection_header_takes_no_header_away(rig: FabioRig, named: str) -> None:
    await rig.serve({"web-1": ["urlprefix-/"]})
    sent = (await rig.get("/", Connection=named)).sent
    assert {"x-forwarded-for", "x-real-ip", "x-forwarded-proto", "forwarded", "x-request-id"} <= sent.keys()
    assert named.lower() not in sent.get("connection", "").lower()


async def test_a_websocket_goes_through_and_says_so(rig: FabioRig) -> None:
    from dataplane_support import WEBSOCKET

    await rig.serve({"web-1": ["urlprefix-/"]})
    async with rig.client() as client:
        response = await client.send("GET", "/", headers=WEBSOCKET)
        assert response.status == 101
        client.writer.write(b"hello")
        assert await client.reader.readexactly(5) == b"hello"
    assert rig.running["web-1"].requests[-1].headers["x-forwarded-proto"] == "ws"


async def test_pools_of_the_file_come_first_and_the_catch_all_last() -> None:
    async with FabioRig({"pools": {"fixed": {"paths": ["/fixed"], "hosts": []}}}) as rig:
        fixed = await rig.node("fixed-node")
        await rig.serve({"web-1": ["urlprefix-/fixed", "urlprefix-/web"]})
        from dataplane_support import server

        await rig.add(server(fixed, "fixed"))
        assert (await rig.get("/fixed/x")).headers["x-nodegate-node"] == "fixed-node"
        assert (await rig.get("/web/x")).node == "web-1"
        assert (await rig.get("/nothing")).status == 503  # pool main, which has no node
