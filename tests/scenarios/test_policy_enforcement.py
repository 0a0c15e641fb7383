"""A policy inside a real HAProxy: limits that hit and are released, bans, who a client is, lanes, and the log."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from dataplane_support import WEBSOCKET, Request, Response, Stream, call, http
from nodegate.errors import BadDocument, Malformed, Refused
from nodegate.model import Seconds
from policy_rig import BEHIND, VERSION, PolicyRig, rule
from support import until

pytestmark = pytest.mark.scenario

PRICED = "[methods.getNodeInfo]\ncost = 100\n"
"""Budgets may not be smaller than the dearest method is, so the cheapest one is made dear."""

TIPS = call("getTransactionsToApprove", depth=3)


async def worker(rig: PolicyRig) -> int:
    return (await rig.driver.running()).pid


# ---- answers -------------------------------------------------------------------------------------------


async def test_honest_calls_pass_and_refusals_speak_the_nodes_language() -> None:
    async with PolicyRig() as rig:
        node = await rig.serve()
        assert (await rig.ask()).status == 200
        assert (await rig.ask(TIPS)).status == 200
        refused = await rig.ask("getNeighbors")
        assert (refused.status, rule(refused)) == (403, "method-denied")
        assert refused.json == {"error": "getNeighbors is not served here (rule method-denied)"}
        assert refused.headers["x-request-id"]
        assert (await rig.ask("noSuchThing")).status == 403
        assert (await rig.ask(b'{"command":"getNodeInfo"}\x00{"command":"addNeighbors"}')).status == 400
        bare = await rig.ask(X_IOTA_API_Version="")
        assert (bare.status, rule(bare)) == (400, "header-required")
        assert len(node.requests) == 2


async def test_json_rpc_refusals_are_json_rpc_errors_and_batches_pass() -> None:
    async with PolicyRig(kind="evm") as rig:
        node = await rig.serve()
        one = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        assert (await rig.ask(json.dumps(one).encode())).status == 200
        assert (await rig.ask(json.dumps([one, one]).encode())).status == 200
        refused = await rig.ask(json.dumps(one | {"method": "admin_peers"}).encode())
        assert refused.status == 403
        assert refused.json["id"] is None
        assert refused.json["jsonrpc"] == "2.0"
        assert "method-unknown" in refused.json["error"]["message"]
        assert len(node.requests) == 2


async def test_a_browsers_preflight_is_answered_by_the_gateway() -> None:
    toml = BEHIND + '[cors]\norigins = ["https://wallet.example"]\n'
    async with PolicyRig(toml) as rig:
        node = await rig.serve(answer=lambda _: http(headers="Access-Control-Allow-Origin: *\r\n"))
        asked = await rig.ask(b"", method="OPTIONS", Origin="https://wallet.example")
        assert asked.status == 204
        assert asked.headers["access-control-allow-origin"] == "https://wallet.example"
        assert "x-iota-api-version" in asked.headers["access-control-allow-headers"]
        assert node.requests == []
        other = await rig.ask(b"", method="OPTIONS", Origin="https://wallet.example.evil")
        assert "access-control-allow-origin" not in other.headers


async def test_chunks_encodings_and_heads_that_hide_something_reach_no_node() -> None:
    async with PolicyRig(BEHIND, gateway={"client_timeout": 1.0}) as rig:
        node = await rig.serve()
        body = call("addNeighbors")
        assert (await rig.ask(Content_Encoding="gzip")).status == 415
        assert (await rig.ask(call("getNodeInfo") + b" " * 120_000)).status == 413
        assert (await rig.ask(X_Big="x" * 9000)).status == 431
        both = (
            b"POST / HTTP/1.1\r\nhost: x\r\nx-iota-api-version: 1\r\ncontent-length: 4\r\n"
            b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
        for head in (both, both.replace(b"chunked\r\n\r\n", b"xchunked\r\n\r\n")):
            async with rig.client() as client:
                client.writer.write(head)
                assert (await client.response()).status in {400, 403, 501}
        began = time.monotonic()
        async with rig.client() as client:
            client.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")
            assert (await client.response()).status == 408
        assert time.monotonic() - began < 5
        assert node.requests == []


async def test_a_websocket_goes_through_a_lane_of_its_own_and_only_with_leave() -> None:
    shut = await _upgrade(BEHIND)
    assert (shut.status, rule(shut)) == (403, "upgrade") or shut.status == 405
    opened = await _upgrade(BEHIND + '[head]\nhttp = ["get", "post"]\nwebsocket = true\n')
    assert opened.status == 101


async def _upgrade(toml: str) -> Response:
    async with PolicyRig(toml) as rig:
        await rig.serve()
        async with rig.client() as client:
            return await client.send(
                "GET", "/", headers=VERSION | WEBSOCKET | {"Sec-WebSocket-Version": "13"}
            )


async def test_an_open_range_is_measured_by_the_height_that_the_pool_has() -> None:
    async with PolicyRig(kind="evm") as rig:
        await rig.serve()

        def logs(start: int) -> bytes:
            params = [{"fromBlock": hex(start), "toBlock": "latest", "address": "0x" + "a" * 40}]
            return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": params}).encode()

        assert rule(await rig.ask(logs(999_990))).startswith("range")
        await rig.driver.set_heights({"main": 1_000_000})
        assert (await rig.ask(logs(999_990))).status == 200
        assert (await rig.ask(logs(1))).status == 403
        assert (await rig.put(BEHIND + "[budget]\nban_after = 5\n")).reload == ""
        assert (await rig.ask(logs(999_990))).status == 200  # a new policy keeps the height
        assert await rig.pass_() == ()
        assert (await rig.ask(logs(999_990))).status == 200


# ---- limits --------------------------------------------------------------------------------------------


async def test_a_budget_is_one_clients_own_and_comes_back() -> None:
    async with PolicyRig(BEHIND + PRICED + "[budget]\nper_10s = 500\nper_1m = 10000\n") as rig:
        await rig.serve()
        for _ in range(5):
            assert (await rig.ask()).status == 200
        spent = await rig.ask()
        assert (spent.status, rule(spent), spent.headers["retry-after"]) == (429, "budget-10s", "10")
        assert (await rig.ask(by="192.0.2.2")).status == 200
        (count,) = [row for row in (await rig.driver.firewall.tables()).clients if row.client == "192.0.2.1"]
        assert (count.kind, count.requests, count.cost_10s) == ("iri", 6, 500)
        assert (await rig.put(BEHIND + PRICED + "[budget]\nper_10s = 5000\nper_1m = 10000\n")).reload == ""
        assert (await rig.ask()).status == 200


async def test_a_call_that_costs_more_than_is_left_is_refused_before_any_node_sees_it() -> None:
    async with PolicyRig(BEHIND + "[budget]\nper_10s = 6000\nper_1m = 300\n") as rig:
        node = await rig.serve()
        assert (await rig.ask(TIPS)).status == 200  # 260 units
        refused = await rig.ask(TIPS)
        assert (refused.status, rule(refused)) == (429, "budget-1m")
        assert (await rig.ask()).status == 200
        assert len(node.requests) == 2


async def test_rates_count_per_method_for_one_client_and_for_all() -> None:
    toml = BEHIND + '[methods.getNodeInfo]\nrate = "2/10s"\nrate_overall = "5/1m"\n'
    async with PolicyRig(toml) as rig:
        await rig.serve()
        assert [(await rig.ask()).status for _ in range(3)] == [200, 200, 429]
        assert rule(await rig.ask()) == "rate"
        assert (await rig.ask("getNodeAPIConfiguration")).status == 200
        assert [(await rig.ask(by="192.0.2.2")).status for _ in range(2)] == [200, 200]
        assert (await rig.ask(by="192.0.2.3")).status == 200
        last = await rig.ask(by="192.0.2.4")
        assert (last.status, rule(last)) == (429, "rate-overall")


async def test_requests_at_once_are_bounded_and_the_place_is_given_back() -> None:
    toml = '[client]\ntrusted_proxies = ["127.0.0.0/8"]\nmax_concurrent = 2\n'
    async with PolicyRig(toml) as rig:
        node = await rig.serve()
        node.gate.clear()
        slow = [asyncio.create_task(rig.ask()) for _ in range(2)]
        await until(lambda: len(node.requests) == 2, what="both wait for the node")
        third = await rig.ask()
        assert (third.status, rule(third)) == (429, "concurrent")
        node.gate.set()
        assert [response.status for response in await asyncio.gather(*slow)] == [200, 200]
        assert (await rig.ask()).status == 200


async def test_connections_of_one_address_have_a_ceiling() -> None:
    async with PolicyRig("[client]\nmax_connections = 3\n") as rig:
        await rig.serve()
        held = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(3)]

        async def refused() -> bool:
            return not await served()

        async def served() -> bool:
            try:
                return (await rig.ask()).status == 200
            except (OSError, asyncio.IncompleteReadError):
                return False

        await until(refused, what="the fourth connection is refused")
        for _, writer in held:
            writer.close()
        await until(served, what="a closed connection makes room")


async def test_a_key_has_its_own_budget_and_methods() -> None:
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # "secret"
    toml = (
        BEHIND
        + PRICED
        + f'[budget]\nper_10s = 300\nper_1m = 300\n[keys.shop]\nhash = "{digest}"\nper_10s = 400\nper_1m = 400\n'
        + 'methods = ["getNodeInfo"]\n'
    )
    async with PolicyRig(toml) as rig:
        node = await rig.serve()
        assert [(await rig.ask()).status for _ in range(4)] == [200, 200, 200, 429]
        keyed = [(await rig.ask(by=f"192.0.2.{n}", X_Api_Key="secret")).status for n in range(1, 6)]
        assert keyed == [200, 200, 200, 200, 429]
        assert "x-api-key" not in node.requests[-1].headers
        other = await rig.ask("getNodeAPIConfiguration", by="192.0.2.77", X_Api_Key="secret")
        assert other.status in {403, 429}
        wrong = await rig.ask(by="192.0.2.78", X_Api_Key="guess")
        assert (wrong.status, rule(wrong)) == (401, "key-unknown")
        assert "shop" in {row.key for row in (await rig.driver.firewall.tables()).clients}


# ---- bans ----------------------------------------------------------------------------------------------


async def test_a_ban_comes_after_what_no_honest_client_sends_and_ends_by_itself() -> None:
    async with PolicyRig(BEHIND + "[budget]\nban_after = 3\nban_seconds = 2\n") as rig:
        await rig.serve()
        for _ in range(5):
            assert (await rig.ask("getNeighbors")).status == 403
            assert (await rig.ask(X_IOTA_API_Version="")).status == 400
        assert (await rig.driver.firewall.tables()).bans == ()
        for _ in range(3):
            assert (await rig.ask(b"{'command':'getNodeInfo'}")).status == 400
        banned = await rig.ask()
        assert (banned.status, rule(banned)) == (429, "banned")
        assert 0 < int(banned.headers["retry-after"]) <= 2
        (ban,) = (await rig.driver.firewall.tables()).bans
        assert (ban.client, ban.automatic) == ("192.0.2.1", True)
        assert (await rig.ask(by="192.0.2.2")).status == 200

        async def free() -> bool:
            return (await rig.ask()).status == 200

        await until(free, what="the ban ends", every=0.2)
        rules = {row.rule: row.refused for row in (await rig.driver.firewall.tables()).rules}
        assert rules["json-syntax"] + rules.get("json-string", 0) >= 3


async def test_a_ban_can_be_set_listed_and_lifted_by_hand() -> None:
    async with PolicyRig() as rig:
        await rig.serve()
        ban = await rig.driver.firewall.ban("2001:db8::7:1", 60)
        assert ban.client == "2001:db8::"
        assert (await rig.ask(by="2001:db8:0:0:ffff::9")).status == 429
        assert (await rig.ask(by="2001:db8:0:1::9")).status == 200
        assert [item.client for item in (await rig.driver.firewall.tables()).bans] == ["2001:db8::"]
        assert await rig.driver.firewall.unban("2001:db8::9")
        assert not await rig.driver.firewall.unban("2001:db8::9")
        assert (await rig.ask(by="2001:db8::9")).status == 200
        for odd in ("node-1", "", "192.0.2.0/24", "2001:db8::/32"):
            with pytest.raises(Malformed):
                await rig.driver.firewall.ban(odd, 60)


async def test_trusted_networks_are_exempt_from_limits_but_not_from_the_guard() -> None:
    toml = (
        '[client]\ntrusted_proxies = ["127.0.0.0/8"]\ntrusted = ["192.0.2.0/24"]\ndenied = ["192.0.2.66/32"]\n'
        "[methods.getNodeInfo]\ncost = 200\n[budget]\nper_10s = 300\nper_1m = 300\nban_after = 1\n"
    )
    async with PolicyRig(toml) as rig:
        await rig.serve()
        assert [(await rig.ask()).status for _ in range(4)] == [200] * 4
        assert (await rig.ask(b"{")).status == 400
        assert (await rig.ask()).status == 200
        assert (await rig.driver.firewall.tables()).bans == ()
        denied = await rig.ask(by="192.0.2.66")
        assert (denied.status, rule(denied)) == (403, "network-denied")


# ---- who asks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 127.0.0.5, 127.0.0.6", "192.0.2.1"),
        ("203.0.113.9, junk", "127.0.0.1"),
        ("203.0.113.9, junk, 127.0.0.5", "127.0.0.5"),
        ("1.1.1.1, 127.0.0.2, 127.0.0.3, 127.0.0.4, 127.0.0.5", "127.0.0.2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
async def test_the_client_is_the_last_that_a_trusted_proxy_names(forwarded: str, client: str) -> None:
    async with PolicyRig() as rig:
        node = await rig.serve()
        assert (await rig.ask(by=forwarded)).status == 200
        assert node.requests[-1].headers["x-forwarded-for"] == client
        assert (await rig.last_line())["client"] == client
        assert (await rig.last_line())["peer"] == "127.0.0.1"


async def test_without_trusted_proxies_nobody_says_who_he_is() -> None:
    async with PolicyRig(PRICED + "[budget]\nper_10s = 300\nper_1m = 3000\n") as rig:
        node = await rig.serve()
        statuses = [(await rig.ask(by=f"192.0.2.{number}")).status for number in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert node.requests[-1].headers["x-forwarded-for"] == "127.0.0.1"


async def test_ipv6_clients_share_the_counters_of_their_64() -> None:
    async with PolicyRig(BEHIND + PRICED + "[budget]\nper_10s = 300\nper_1m = 3000\n") as rig:
        await rig.serve()
        statuses = [(await rig.ask(by=f"2001:db8::{number}")).status for number in (1, 2, 3, 4)]
        assert statuses == [200, 200, 200, 429]
        assert (await rig.ask(by="2001:db8:0:1::1")).status == 200


# ---- lanes ---------------------------------------------------------------------------------------------


async def test_a_stalled_lane_leaves_the_others_fast_and_says_so_itself() -> None:
    toml = (
        BEHIND + "[classes.heavy]\nqueue_timeout = 0.3\n[methods.getTransactionsToApprove]\ntimeout = 1.5\n"
    )
    async with PolicyRig(toml) as rig:
        stalled: list[Request] = []

        def answer(request: Request) -> bytes:
            if b"getTransactionsToApprove" in request.body:
                stalled.append(request)
                return b""  # nothing comes, and the connection stays
            return http()

        await rig.serve(answer=answer)
        first = asyncio.create_task(rig.ask(TIPS))
        await until(lambda: stalled, what="the node has the call")
        waited = await rig.ask(TIPS, by="192.0.2.2")
        assert (waited.status, rule(waited)) == (503, "queue")
        assert waited.headers["retry-after"]
        began = time.monotonic()
        assert [(await rig.ask(by=f"192.0.2.{n}")).status for n in range(10)] == [200] * 10
        assert time.monotonic() - began < 1.0
        late = await first
        assert (late.status, rule(late)) == (504, "timeout")
        assert "error" in late.json
        assert len(stalled) == 1  # it is not idempotent: no second node, no second try
        await until(lambda: len(rig.lines()) >= 12, what="all lines are written")
        by_rule = {line["rule"]: line for line in rig.lines()}
        assert by_rule["timeout"]["verdict"] == by_rule["queue"]["verdict"] == "failed"
        assert by_rule["timeout"]["node"] == "one"


async def test_what_the_policy_calls_idempotent_is_tried_on_another_node() -> None:
    async with PolicyRig() as rig:
        for name in ("one", "two"):
            await rig.serve(name, answer=lambda _, name=name: None if name == "one" else http())  # type: ignore[misc]
        statuses = {(await rig.ask(call("getBalances", addresses=["9" * 81]))).status for _ in range(6)}
        assert statuses == {200}
        await until(lambda: len(rig.lines()) >= 6, what="all lines are written")
        assert any(line["retries"] != "0" for line in rig.lines())


# ---- changes at run time -------------------------------------------------------------------------------


async def test_a_rate_changes_under_load_with_no_failed_request_and_the_same_process() -> None:
    async with PolicyRig('[client]\ntrusted = ["127.0.0.0/8"]\n') as rig:
        await rig.serve()
        before = await worker(rig)
        async with LoadUnderPolicy(rig) as stream:
            for number in (7, 8, 9):
                applied = await rig.put(
                    '[client]\ntrusted = ["127.0.0.0/8"]\n'
                    f'[methods.getNodeInfo]\nrate = "{number}/10s"\ncost = {number}\n'
                )
                assert applied.reload == ""
                assert applied.version != applied.before
                await stream.more(20)
        assert stream.failed == []
        assert await worker(rig) == before
        assert (await rig.last_line())["cost"] == 9
        assert await rig.pass_() == ()
        assert await worker(rig) == before


class LoadUnderPolicy(Stream):
    """A stream whose requests carry the header that the policy asks for."""

    async def _run(self) -> None:
        while not self._stop.is_set():
            async with self._rig.client() as client:
                for _ in range(50):
                    response = await client.send("POST", "/", self._body, VERSION)
                    if response.status != 200:
                        self.failed.append(f"{response.status} {response.body!r}")
                        return
                    self.ok += 1
                    if self._stop.is_set():
                        return


async def test_a_policy_with_errors_changes_nothing() -> None:
    async with PolicyRig() as rig:
        await rig.serve()
        file = rig.state / "policies" / "iri.toml"
        before, version = file.read_text(), rig.policies.version("iri")
        with pytest.raises(BadDocument):
            await rig.put("[methods.getNodeInfo]\ncots = 3\n")
        with pytest.raises(BadDocument):
            await rig.put("[methods.addNeighbors]\ndeny = false\n")
        assert file.read_text() == before
        assert rig.policies.version("iri") == version
        assert (await rig.ask()).status == 200


async def test_what_haproxy_does_not_take_is_rolled_back_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PolicyRig() as rig:
        await rig.serve()
        file = rig.state / "policies" / "iri.toml"
        text, version = file.read_text(), rig.policies.version("iri")
        maps = (await rig.driver.running()).routing.maps
        monkeypatch.setattr("nodegate.daemon.policies.PATIENCE", Seconds(0.6))
        # HAProxy obeys only what the guard can read: a program with a broken part is such a thing.
        from nodegate.policy import compile as compiler

        whole = compiler.guard_entries

        def broken(policy):  # type: ignore[no-untyped-def]
            entries = whole(policy)
            version, count = entries[policy.kind].split()
            return entries | {f"{policy.kind}/{version}/{int(count) - 1}": '{"t":"other"}'}

        with monkeypatch.context() as patch:
            patch.setattr(compiler, "guard_entries", broken)
            with pytest.raises(Refused):
                await rig.put(BEHIND + "[methods.getNodeInfo]\ncost = 77\n")
        assert file.read_text() == text
        assert rig.policies.version("iri") == version
        assert (await rig.driver.running()).routing.maps == maps
        assert (await rig.ask()).status == 200
        assert (await rig.last_line())["cost"] == 1


async def test_a_new_lane_says_that_it_needs_a_reload_and_gets_it() -> None:
    async with PolicyRig() as rig:
        await rig.serve()
        applying = asyncio.create_task(rig.put(BEHIND + "[methods.getNodeInfo]\nconcurrency = 2\n"))
        await until(
            lambda: rig.policies.version("iri") != "" and _lane_wanted(rig), what="the lane is wanted"
        )
        assert await rig.pass_() == ()
        applied = await applying
        assert "getNodeInfo" in applied.reload
        assert "pool_main:getNodeInfo" in (rig.state / "haproxy" / "haproxy.cfg").read_text()


def _lane_wanted(rig: PolicyRig) -> bool:
    rig.reshape()
    return "getNodeInfo" in rig.lanes


async def test_the_policy_outlives_a_reload_and_an_adoption() -> None:
    async with PolicyRig(BEHIND + "[methods.getNodeInfo]\ncost = 5\n") as rig:
        await rig.serve()
        assert (await rig.ask()).status == 200
        assert await rig.reload() == ()
        assert (await rig.ask()).status == 200
        assert (await rig.last_line())["cost"] == 5
        rig.new_driver()
        assert "adopted" in (await rig.driver.ensure() or "")
        assert await rig.pass_() == ()
        assert (await rig.ask()).status == 200
        await until(lambda: len(rig.lines()) == 3, what="all lines are written")
        assert [line["cost"] for line in rig.lines()] == [5, 5, 5]


# ---- the access log ------------------------------------------------------------------------------------


async def test_every_line_is_json_whatever_clients_send() -> None:
    async with PolicyRig(BEHIND, gateway={"log_bodies": 300}) as rig:
        await rig.serve()
        await rig.ask()
        hostile = b'{"command":"\xff\xfe\\"\n\x01\x00"}'
        await rig.ask(hostile, path='/%00"x\\', User_Agent='"\\\x7f')
        await rig.ask(call("findTransactions", addresses=["A" * 81]), path="/\xe4".encode().decode("latin-1"))
        async with rig.client() as client:
            client.writer.write(b"\x16\x03\x01 garbage\r\n\r\n")
            assert (await client.response()).status == 400
        await until(lambda: len(rig.lines()) >= 4, what="all lines are written")
        lines = rig.lines()
        served = lines[0]
        assert served["verdict"] == "served"
        assert (served["method"], served["class"], served["lane"], served["cost"]) == (
            "getNodeInfo",
            "read",
            "read",
            1,
        )
        assert (served["pool"], served["kind"], served["node"], served["status"]) == (
            "main",
            "iri",
            "one",
            200,
        )
        assert served["time"].endswith("Z")
        assert len(served["time"]) == 24
        refused = lines[1]
        assert (refused["verdict"], refused["cost"]) == ("refused", 0)
        assert refused["rule"]
        assert "A" * 27 not in json.dumps(lines)


async def test_the_log_is_put_aside_while_haproxy_writes_on() -> None:
    async with PolicyRig(BEHIND, gateway={"access_log_bytes": 10_000}) as rig:
        await rig.serve()
        for _ in range(30):
            await rig.ask()
        await until(lambda: len(rig.lines()) == 30, what="all lines are written")
        assert rig.driver.rotate_access_log()
        assert not rig.driver.rotate_access_log()
        await rig.ask()
        await until(lambda: len(rig.lines()) == 1, what="the next line is the first")
        assert len((rig.state / "access.log.1").read_text().splitlines()) == 30
        assert (rig.state / "access.log.1").stat().st_mode & 0o077 == 0
