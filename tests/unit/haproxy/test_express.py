"""Where the short way through the rules is open, and what it reads there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nodegate.daemon.enforcement import enforce
from nodegate.documents import parse
from nodegate.haproxy.express import express_lines, session_lines, settled
from nodegate.haproxy.guarded import LOOKUP_MAPS, ROOM_MAPS, Enforcement, Guarded, own_map
from nodegate.haproxy.peers import Peer, Sharing
from nodegate.haproxy.services import services_of
from nodegate.policy.document import load_policy
from nodegate.settings import Settings


def policy(kind: str = "iri", toml: str = "") -> Enforcement:
    return enforce(load_policy(kind, parse(f'kind = "{kind}"\n{toml}', file="x.toml")).policy)


def guarded(enforcement: Enforcement, *pools: str, **more: Any) -> Guarded:
    kind = enforcement.kind
    return Guarded(kinds=dict.fromkeys(pools or ("main",), kind), policies={kind: enforcement}, **more)


@pytest.mark.parametrize("kind", ["iri", "evm"])
def test_one_pool_under_one_policy_has_the_short_way(kind: str) -> None:
    found = settled(["main"], guarded(policy(kind)), None)
    assert (found.everywhere, found.uniform, found.express) == (True, True, True)
    assert session_lines(found)
    assert express_lines("main", found, logged=True)[-1][:2] == ("http-request", "allow")
    assert {own_map(name, kind) for name in ROOM_MAPS} <= found.maps().keys()


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (Guarded(), ["main"]),
        (guarded(policy()), ["main", "more"]),
        (guarded(policy(), "main", "more"), ["main", "more"]),
        (guarded(policy(toml='[client]\ntrusted_proxies = ["192.0.2.0/24"]\n')), ["main"]),
        (guarded(policy("http")), ["main"]),
        (
            guarded(policy(), sharing=Sharing(me="a", listen="192.0.2.1:1", others=(Peer(name="b", place="192.0.2.2:1"),))),
            ["main"],
        ),
    ],
)  # fmt: skip
def test_where_more_than_the_request_counts_there_is_none(found: Guarded, names: list[str]) -> None:
    result = settled(names, found, None)
    assert not result.express
    assert session_lines(result) == () == express_lines(names[0], result, logged=True)
    assert not any(name.startswith(ROOM_MAPS) for name in result.maps())


def test_routes_of_services_close_it() -> None:
    assert not settled(["main"], guarded(policy()), services_of((), Settings())).express


def test_a_gateway_that_looks_nothing_up_has_no_maps_for_it() -> None:
    rest = settled(["main"], guarded(policy("http")), None)
    assert not set(LOOKUP_MAPS) & rest.maps().keys()
    both = replace(rest, kinds={"main": "http", "old": "iri"}, policies={**rest.policies, "iri": policy()})
    assert set(LOOKUP_MAPS) <= both.maps().keys()


@pytest.mark.parametrize(
    ("budget", "entries"),
    [
        ("per_10s = 5000\nper_1m = 9000", [{"0:100": "1"}, {"0:4000": "1"}, {"0:8000": "1"}]),
        ("per_10s = 5000", [{"0:100": "1"}, {"0:4000": "1"}, {"0:17000": "1"}]),
    ],
)
def test_the_ranges_leave_room_for_the_dearest_call(budget: str, entries: list[dict[str, str]]) -> None:
    toml = f"[client]\nmax_concurrent = 100\n[budget]\n{budget}\n[methods.getNodeInfo]\ncost = 1000\n"
    maps = policy(toml=toml).maps
    assert [maps[own_map(name, "iri")] for name in ROOM_MAPS] == entries


def test_no_range_is_left_where_the_dearest_call_does_not_fit() -> None:
    maps = policy(toml="[budget]\nper_10s = 999\n[methods.getNodeInfo]\ncost = 1000\n").maps
    assert maps[own_map("room_10s", "iri")] == {}
