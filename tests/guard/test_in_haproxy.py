"""The guard's policy changes at run time, whole or not at all, and bodies that are not whole never pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.engines import HONEST, InHAProxy, in_haproxy, write_map
from guard.policies import shipped
from nodegate.documents import parse
from nodegate.policy.compile import guard_entries
from nodegate.policy.document import load_policy
from nodegate.policy.values import Policy
from support import until_sync

INFO = b'{"command":"getNodeInfo"}'


def changed(text: str) -> Policy:
    return load_policy("iri", parse(text, file="changed.toml")).policy


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[InHAProxy]:
    with in_haproxy(shipped("iri"), tmp_path) as engine:
        yield engine


def test_a_committed_policy_rules_the_next_request_without_a_reload(haproxy: InHAProxy) -> None:
    assert haproxy.body(INFO).startswith("ok|getNodeInfo|")
    haproxy.swap(guard_entries(changed("[methods.getNodeInfo]\ndeny = true")))
    assert haproxy.body(INFO) == "no|method-denied|403|getNodeInfo is not served here"
    assert haproxy.process is not None
    assert haproxy.process.poll() is None


def test_a_prepared_policy_changes_nothing_until_it_is_committed(haproxy: InHAProxy) -> None:
    version = haproxy.prepare(guard_entries(changed("[methods.getNodeInfo]\ncost = 7")))
    assert haproxy.body(INFO).startswith("ok|getNodeInfo|read|read|1|")
    haproxy.command(f"commit map @{version} {haproxy.map}")
    assert haproxy.body(INFO).startswith("ok|getNodeInfo|read|read|7|")


@pytest.mark.parametrize("damage", ["missing", "not json", "unknown part", "cut"])
def test_a_policy_that_is_not_whole_leaves_the_one_before_in_force(haproxy: InHAProxy, damage: str) -> None:
    before = haproxy.exchange("POST", b"/", HONEST, INFO)
    entries = guard_entries(changed("[methods.getNodeInfo]\ndeny = true"))
    version, count = entries["iri"].split()
    last = f"iri/{version}/{int(count) - 1}"
    if damage == "missing":
        del entries[last]
    elif damage == "cut":
        entries["iri"] = f"{version} {int(count) - 1}"
    else:
        entries[last] = "{" if damage == "not json" else '{"t":"other"}'
    haproxy.swap(entries)
    assert haproxy.exchange("POST", b"/", HONEST, INFO) == before
    assert "is refused" in haproxy.log()


def test_a_late_entry_completes_a_policy_that_was_missing_it(haproxy: InHAProxy) -> None:
    entries = guard_entries(changed("[methods.getNodeInfo]\ncost = 9"))
    version, _ = entries["iri"].split()
    late = entries.pop(f"iri/{version}/3")
    haproxy.swap(entries)
    assert haproxy.body(INFO).startswith("ok|getNodeInfo|read|read|1|")
    haproxy.command(f"add map {haproxy.map} <<\niri/{version}/3 {late}\n")
    assert haproxy.body(INFO).startswith("ok|getNodeInfo|read|read|9|")


def test_without_any_policy_everything_is_refused(tmp_path: Path) -> None:
    engine = InHAProxy(shipped("iri"), tmp_path)
    write_map(engine.map, {"other": "1 1"})
    try:
        engine.start()
        fields, line = engine.exchange("POST", b"/", HONEST, INFO)
        assert line == "no|policy|503|the gateway has no valid policy for this kind of node"
        assert fields["x-policy"] == "none"
    finally:
        engine.stop()


def test_under_load_every_request_gets_one_of_the_two_policies(haproxy: InHAProxy, tmp_path: Path) -> None:
    policies = [changed(f"[methods.getNodeInfo]\ncost = {cost}") for cost in (11, 22)]
    haproxy.swap(guard_entries(policies[0]))
    costs: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        client = InHAProxy.client_of(haproxy)
        while not stop.is_set():
            costs.append(client.body(INFO).split("|")[4])
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_number in range(20):
        haproxy.swap(guard_entries(policies[(round_number + 1) % 2]))
    seen = len(costs)
    until_sync(lambda: len(costs) > seen + 30, what="requests after the last swap")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert set(costs) == {"11", "22"}


def test_a_chunked_body_longer_than_the_buffer_is_refused_in_any_chunking(haproxy: InHAProxy) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\nx-iota-api-version: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    small = b"%x\r\n%b\r\n" % (len(INFO), INFO)
    for padding in (b"20000\r\n" + b" " * 0x20000 + b"\r\n", b"40\r\n" + b" " * 64 + b"\r\n"):
        times = 1 if len(padding) > 1000 else 2500
        client = InHAProxy.client_of(haproxy)
        _, line = client.raw(head + small + padding * times + b"0\r\n\r\n")
        client.close()
        assert line.startswith("no|body-size|413|")


def test_a_large_head_leaves_no_room_for_a_cut_body_to_pass(haproxy: InHAProxy) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x-%d: %b\r\n" % (n, b"p" * 900) for n in range(40))
    body = INFO + b" " * 90_000
    client = InHAProxy.client_of(haproxy)
    _, line = client.raw(head + b"content-length: %d\r\n\r\n" % len(body) + body)
    client.close()
    assert line.startswith("no|head-size|431|")


def test_every_thread_takes_the_policy_over_without_any_traffic(haproxy: InHAProxy) -> None:
    entries = guard_entries(changed("[methods.getNodeInfo]\ncost = 5"))
    haproxy.swap(entries)
    taken = f"policy iri {entries['iri'].split()[0]} is in force"
    until_sync(lambda: haproxy.log().count(taken) == 2, what="both threads took the policy over")


def test_an_upgrade_to_http_2_never_reaches_a_node(haproxy: InHAProxy) -> None:
    headers = [*HONEST, ("connection", b"upgrade"), ("upgrade", b"h2c")]
    fields, line = haproxy.exchange("POST", b"/", headers, INFO)
    assert line.startswith("ok|getNodeInfo|")
    assert fields["x-upgrade"] == "0"


@pytest.mark.parametrize(("websocket", "said"), [(False, "no|upgrade|403|"), (True, "upgrade")])
def test_a_websocket_needs_the_policys_leave(haproxy: InHAProxy, websocket: bool, said: str) -> None:
    word = str(websocket).lower()
    haproxy.swap(guard_entries(changed(f"[head]\nhttp = ['get', 'post']\nwebsocket = {word}")))
    key = ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
    headers = [*HONEST, ("host", b"x"), ("connection", b"upgrade"), ("upgrade", b"websocket"), key]
    _, line = haproxy.exchange("GET", b"/", headers, b"")
    assert line.startswith(said)


def test_a_zero_byte_hides_nothing_behind_it(haproxy: InHAProxy) -> None:
    assert haproxy.body(INFO + b"\x00" + b"x" * 100).startswith("no|json-trailing|")
    assert haproxy.body(INFO + b"\x00").startswith("no|json-trailing|")
