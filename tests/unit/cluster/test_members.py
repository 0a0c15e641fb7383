"""Gateways as Consul lists them, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.cluster.members import (
    GONE,
    META_LIMIT,
    Known,
    Member,
    Registration,
    definition,
    from_json,
    members_in,
    meta_of,
    remember,
    to_json,
)
from nodegate.errors import Malformed
from nodegate.model import Instant, Seconds

HOUR = Seconds(3600.0)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
PLAIN = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


def member(name: str = "a", **changes: Any) -> Member:
    return Member(**({"id": name, "address": "192.0.2.1", "port": 14267} | changes))


def entry(of: Member, *statuses: str, address: str = "192.0.2.1") -> dict[str, Any]:
    """What `/v1/health/service/…` says of one instance."""
    checks = [
        {"Name": f"check {n}", "Status": status, "Output": "said\nso"} for n, status in enumerate(statuses)
    ]
    return {
        "Node": {"Node": "host", "Address": address},
        "Service": {"Service": "nodegate", "Address": "", "Port": of.port, "Meta": meta_of(of)},
        "Checks": checks,
    }


@given(
    name=NAMES,
    version=PLAIN,
    port=st.integers(1, 65535),
    started=st.none() | st.integers(0, 2_000_000_000).map(lambda n: Instant(float(n))),
    policies=st.dictionaries(NAMES, PLAIN.filter(bool), max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_what_a_gateway_tells_comes_back_from_consul(
    name: str, version: str, port: int, started: Instant | None, policies: dict[str, str]
) -> None:
    told = member(name, version=version, port=port, started_at=started, policies=policies, admin="http://x:1")
    assert members_in([entry(told, "passing")]) == (told,)


def test_a_place_without_host_is_at_the_gateways_own_address() -> None:
    told = member(peers=":14268", exchange="10.0.0.9:7")
    (found,) = members_in([entry(told, address="2001:db8::1")])
    assert (found.peers, found.exchange) == ("[2001:db8::1]:14268", "10.0.0.9:7")


def test_a_gateway_lives_while_all_its_checks_pass() -> None:
    assert members_in([entry(member(), "passing", "passing")])[0].alive
    (dead,) = members_in([entry(member(), "passing", "critical")])
    assert (dead.alive, dead.why) == (False, "check 1: said so")


def test_a_service_of_somebody_else_is_no_gateway() -> None:
    other = entry(member())
    other["Service"]["Meta"] = None
    assert members_in([other]) == ()


@pytest.mark.parametrize("document", [None, {}, "x", [1], [{}], [{"Service": {"Meta": {"name": "a"}}}]])
def test_what_is_no_list_of_gateways_is_malformed(document: object) -> None:
    with pytest.raises(Malformed):
        members_in(document)


def test_a_fault_is_cut_to_what_consul_stores() -> None:
    meta = meta_of(member(fault="ä" * 1000))
    assert len(meta["fault"].encode()) <= META_LIMIT
    assert set(meta["fault"]) == {"ä"}


def listed(before: dict[str, Known], now: float, *members: Member) -> dict[str, Known]:
    return remember(before, members, Instant(now), me="me", forget_after=HOUR)


def test_a_gateway_that_is_not_listed_any_more_is_remembered_as_gone() -> None:
    before = listed({}, 10.0, member("me"), member("b"))
    after = listed(before, 20.0, member("me"))
    assert (after["b"].alive, after["b"].member.why, after["b"].since) == (False, GONE, 20.0)


def test_a_gateway_is_forgotten_after_its_time_and_not_before() -> None:
    gone = listed(listed({}, 10.0, member("me"), member("b")), 20.0, member("me"))
    assert "b" in listed(gone, 20.0 + HOUR - 1, member("me"))
    assert "b" not in listed(gone, 20.0 + HOUR, member("me"))


def test_nobody_is_forgotten_because_consul_was_away_for_long() -> None:
    before = listed({}, 10.0, member("me"), member("b"))
    assert "b" in listed(before, 10.0 + 100 * HOUR, member("me"))


def test_a_list_without_this_gateway_makes_nobody_go() -> None:
    before = listed({}, 10.0, member("me"), member("b"), member("c", alive=False, why="x"))
    assert listed(before, 20.0) == before
    assert listed(before, 20.0, member("d")).keys() == {"b", "c", "d", "me"}


def test_since_tells_when_a_gateway_died_and_when_it_came_back() -> None:
    one = listed({}, 1.0, member("me"), member("b"))
    two = listed(one, 2.0, member("me"), member("b", alive=False))
    three = listed(two, 3.0, member("me"), member("b", alive=False, why="still"))
    four = listed(three, 4.0, member("me"), member("b"))
    assert [known["b"].since for known in (one, two, three, four)] == [1.0, 2.0, 2.0, 4.0]


def test_what_is_known_survives_on_disk() -> None:
    known = listed({}, 5.0, member("me", policies={"iri": "1"}, started_at=Instant(1.5)), member("b"))
    assert from_json(to_json(known)) == known


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"members": [{"member": {"id": "a"}, "since": 1}]}', "\0"])
def test_a_broken_file_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        from_json(text)


def registration(**changes: Any) -> Registration:
    return Registration(**({"service": "nodegate", "interval": Seconds(1.0), "forget_after": HOUR} | changes))


def test_the_agent_asks_the_control_plane_and_the_data_plane() -> None:
    asks = registration(ready_url="http://127.0.0.1:9780/readyz", serves="127.0.0.1:14267")
    document = definition(asks, member("a"), None)
    assert document["ID"] == "nodegate-a"
    assert "Address" not in document
    ready, serves = document["Checks"]
    assert (ready["HTTP"], ready["DeregisterCriticalServiceAfter"]) == (
        "http://127.0.0.1:9780/readyz",
        "3600s",
    )
    assert serves["TCP"] == "127.0.0.1:14267"


def test_an_agent_that_cannot_ask_is_told() -> None:
    document = definition(registration(), member("a"), "192.0.2.7")
    assert document["Address"] == "192.0.2.7"
    assert [check["TTL"] for check in document["Checks"]] == ["3s"]
