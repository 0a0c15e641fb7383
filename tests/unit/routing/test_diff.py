from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nodegate.model import ChangeKind, Routing, ServerState
from nodegate.routing.diff import applied, diff

Build = Callable[..., Any]


def routing(*servers: Any, skeleton: str = "s", maps: dict[str, dict[str, str]] | None = None) -> Routing:
    return Routing(skeleton=skeleton, servers={(s.backend, s.name): s for s in servers}, maps=maps or {})


def kinds(running: Routing, wanted: Routing) -> list[str]:
    return [f"{change.kind} {change.server.name if change.server else change.map_name or ''}".strip()
            for change in diff(running, wanted)]  # fmt: skip


def test_nothing_differs_nothing_changes(server: Build) -> None:
    one = routing(server(), maps={"m": {"/": "main"}})
    assert diff(one, routing(server(), maps={"m": {"/": "main"}})) == ()


def test_what_haproxy_only_reports_is_no_difference(server: Build) -> None:
    assert diff(routing(server(sessions=4, marked_down=True)), routing(server())) == ()


@pytest.mark.parametrize(
    ("fields", "kind", "why"),
    [
        ({"address": "192.0.2.9"}, "set address", "192.0.2.1:14265 → 192.0.2.9:14265"),
        ({"port": 1}, "set address", "192.0.2.1:14265 → 192.0.2.1:1"),
        ({"address": "2001:db8::1"}, "set address", "192.0.2.1:14265 → [2001:db8::1]:14265"),
        ({"weight": 10}, "set weight", "weight 100 → 10"),
        ({"maxconn": 5}, "set maxconn", "requests at once unbounded → 5"),
        ({"state": ServerState.MAINT}, "set state", "ready → maint"),
    ],
)
def test_each_difference_is_one_change_with_its_numbers(
    server: Build, fields: dict[str, Any], kind: str, why: str
) -> None:
    (change,) = diff(routing(server()), routing(server(**fields)))
    assert (str(change.kind), change.why) == (kind, why)
    assert change.server == server(**fields)


def test_the_order_never_lets_capacity_dip(server: Build) -> None:
    running = routing(
        server("gone", state=ServerState.DRAIN), server("sick"), server("back", state=ServerState.MAINT, weight=1),
        server("same"), maps={"m": {}},
    )  # fmt: skip
    wanted = routing(
        server("new"), server("sick", state=ServerState.MAINT), server("back"), server("same"),
        skeleton="other", maps={"m": {"/": "main"}},
    )  # fmt: skip
    assert kinds(running, wanted) == [
        "reload", "add new", "set weight back", "set state back", "set state sick", "set map m", "delete gone",
    ]  # fmt: skip


def test_a_reload_names_the_pools_that_are_new_and_carries_the_skeleton(server: Build) -> None:
    change = diff(routing(server()), routing(server(), server("x", backend="pool_evm"), skeleton="t"))[0]
    assert (change.kind, change.skeleton) == (ChangeKind.RELOAD, "t")
    assert "pools without servers so far: evm" in change.why


def test_tls_of_a_serving_server_is_swapped_by_a_reload_that_says_why(server: Build) -> None:
    running, wanted = routing(server()), routing(server(tls=True, sni="node.example"))
    changes = diff(running, wanted)
    assert [str(change.kind) for change in changes] == ["reload", "delete", "add"]
    assert changes[0].why == "n1 in pool main: speaks TLS now, which no running server can change"
    assert applied(running, changes) == wanted


@pytest.mark.parametrize(
    "idle", [{"state": ServerState.MAINT}, {"state": ServerState.DRAIN}, {"marked_down": True}]
)
def test_tls_of_a_server_that_serves_nothing_is_swapped_without_a_reload(
    server: Build, idle: dict[str, Any]
) -> None:
    running = routing(server(tls=True, verify=True, **idle))
    wanted = routing(server(tls=True, verify=False))
    changes = diff(running, wanted)
    assert [str(change.kind) for change in changes] == ["delete", "add"]
    assert "not verified any more" in changes[0].why
    assert applied(running, changes) == wanted


def test_a_server_name_alone_is_a_new_birth_too_but_counts_only_with_tls(server: Build) -> None:
    changes = diff(routing(server(tls=True, sni="a")), routing(server(tls=True, sni="b")))
    assert "its TLS server name is b now" in changes[0].why
    assert diff(routing(server(sni="a", verify=False)), routing(server())) == ()


def test_maps_are_set_whole_and_foreign_maps_are_left_alone() -> None:
    running = Routing(skeleton="s", maps={"hosts": {"/": "main"}, "other": {"x": "y"}})
    wanted = Routing(skeleton="s", maps={"hosts": {"/": "main", "/evm": "evm"}, "fresh": {}})
    changes = diff(running, wanted)
    assert [(change.map_name, change.why) for change in changes] == [
        ("fresh", "no → 0 entries"), ("hosts", "1 → 2 entries"),
    ]  # fmt: skip
    assert applied(running, changes).maps == {**wanted.maps, "other": {"x": "y"}}


def test_a_change_of_a_server_that_is_gone_applies_to_nothing(server: Build) -> None:
    (change,) = diff(routing(server()), routing(server(weight=1)))
    assert applied(routing(), [change]).servers == {}
