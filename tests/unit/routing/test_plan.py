from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nodegate.model import Intent, ServerState, Status
from nodegate.routing.plan import desired, endpoint

Build = Callable[..., Any]


def only(gate: Any) -> Any:
    (server,) = gate.wanted().servers.values()
    return server


def test_a_healthy_node_becomes_a_ready_server_at_its_proven_address(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1", url="http://node.example:14265", weight=40, maxconn=7)
    gate.judged("n1", Status.UP, address="198.51.100.4")
    server = only(gate)
    assert (server.backend, server.name, server.address, server.port) == (
        "pool_main",
        "n1",
        "198.51.100.4",
        14265,
    )
    assert (server.weight, server.state, server.maxconn, server.tls, server.sni) == (
        40,
        ServerState.READY,
        7,
        False,
        None,
    )


def test_tls_comes_from_the_url_and_names_only_are_sent_as_sni(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1", url="https://node.example/api", tls_verify=False)
    gate.judged("n1", Status.UP, address="198.51.100.4")
    server = only(gate)
    assert (server.tls, server.verify, server.sni, server.port) == (True, False, "node.example", 443)
    gate.node("n1", url="https://[2001:db8::1]:8443")
    gate.judged("n1", Status.UP, address="2001:db8::1")
    server = only(gate)
    assert (server.tls, server.verify, server.sni, server.address, server.port) == (
        True,
        True,
        None,
        "2001:db8::1",
        8443,
    )


def test_maxconn_is_the_nodes_else_the_pools(gateway: Build) -> None:
    gate = gateway(pools={"main": {"maxconn": 50}})
    gate.node("n1")
    gate.node("n2", maxconn=3)
    assert {server.name: server.maxconn for server in gate.wanted().servers.values()} == {"n1": 50, "n2": 3}


@pytest.mark.parametrize(
    ("weight", "share", "expected"),
    [(100, 0.1, 10), (1, 0.1, 1), (100, 0.0, 1), (0, 0.5, 0), (256, 1.0, 256)],
)
def test_a_degraded_node_keeps_a_share_and_weight_zero_stays_zero(
    gateway: Build, weight: int, share: float, expected: int
) -> None:
    gate = gateway(pools={"main": {"degraded_weight": share}})
    gate.node("n1", Status.DEGRADED, weight=weight)
    assert (only(gate).state, only(gate).weight) == (ServerState.READY, expected)


@pytest.mark.parametrize("status", [Status.DOWN, Status.UNKNOWN, None])
def test_a_node_joins_only_when_proven_healthy(gateway: Build, status: Status | None) -> None:
    gate = gateway()
    gate.node("n1", status)
    assert gate.wanted().servers == {}


def test_a_healthy_node_with_no_known_address_waits_for_one(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1", url="http://node.example:1")
    gate.judged("n1", Status.UP, address=None)
    assert gate.wanted().servers == {}


def test_a_down_node_goes_to_maint_and_nothing_else_of_it_changes(gateway: Build) -> None:
    gate = gateway(2)
    before = gate.running.servers["pool_main", "n1"]
    gate.node("n1", url="http://198.51.100.9:9", weight=7)
    gate.judged("n1", Status.DOWN)
    after = gate.wanted().servers["pool_main", "n1"]
    assert (after.state, after.address, after.port, after.weight) == (
        ServerState.MAINT, before.address, before.port, before.weight,
    )  # fmt: skip


@pytest.mark.parametrize("status", [Status.UNKNOWN, None])
@pytest.mark.parametrize("state", list(ServerState))
def test_an_unknown_node_stays_as_it_runs(gateway: Build, status: Status | None, state: ServerState) -> None:
    gate = gateway(2)
    gate.set_running("n1", state=state)
    del gate.verdicts["n1"]
    if status is not None:
        gate.judged("n1", status)
    assert gate.wanted().servers["pool_main", "n1"] is gate.running.servers["pool_main", "n1"]


def test_an_adopted_server_is_not_taken_out_by_one_lost_packet(gateway: Build) -> None:
    gate = gateway(2, health={"fall": 3})
    gate.judged("n1", Status.DOWN, failures=1)
    assert gate.wanted().servers["pool_main", "n1"].state is ServerState.READY
    gate.judged("n1", Status.DOWN, failures=3)
    assert gate.wanted().servers["pool_main", "n1"].state is ServerState.MAINT


def test_a_drained_node_drains_whatever_its_verdict(gateway: Build) -> None:
    for status in Status:
        gate = gateway(2)
        gate.intend("n1", Intent.DRAIN)
        gate.judged("n1", status)
        assert gate.wanted().servers["pool_main", "n1"].state is ServerState.DRAIN


def test_drained_and_removed_nodes_that_do_not_run_are_not_started(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1", intent=Intent.DRAIN)
    gate.node("n2", intent=Intent.REMOVE)
    assert gate.wanted().servers == {}


def test_a_node_to_be_removed_drains_and_is_gone_after_its_last_request(gateway: Build) -> None:
    gate = gateway(2)
    gate.intend("n1", Intent.REMOVE)
    gate.set_running("n1", sessions=2)
    gate.step()
    assert gate.state("n1") == "drain"
    assert gate.step().changes == ()
    gate.set_running("n1", sessions=0)
    gate.step()
    assert gate.states() == {"n2": "ready"}


def test_a_ready_server_is_drained_before_it_is_deleted_even_when_it_is_idle_now(gateway: Build) -> None:
    gate = gateway(2)
    gate.intend("n1", Intent.REMOVE)
    gate.step()
    assert gate.state("n1") == "drain"
    gate.step()
    assert gate.state("n1") is None


def test_a_node_that_left_the_inventory_leaves_like_a_removed_one(gateway: Build) -> None:
    gate = gateway(2)
    del gate.nodes["n1"]
    gate.set_running("n1", sessions=1)
    gate.settle()
    assert gate.states() == {"n1": "drain", "n2": "ready"}
    gate.set_running("n1", sessions=0)
    gate.settle()
    assert gate.states() == {"n2": "ready"}


def test_a_node_that_moved_serves_in_its_new_pool_and_leaves_the_old_one(gateway: Build) -> None:
    gate = gateway(2)
    gate.node("n1", pool="evm", url=gate.nodes["n1"].url)
    gate.settle()
    assert (gate.state("n1", "evm"), gate.state("n1", "main")) == ("ready", None)


def test_servers_of_backends_that_are_not_pools_are_left_alone(gateway: Build, server: Build) -> None:
    gate = gateway(1)
    other = server("x", backend="exporter")
    gate.running = type(gate.running)(
        skeleton="s1", servers={**gate.running.servers, ("exporter", "x"): other}
    )
    assert gate.plan().changes == ()


def test_before_haproxy_runs_only_healthy_nodes_are_wanted(gateway: Build) -> None:
    gate = gateway()
    gate.node("n1")
    gate.node("n2", Status.DOWN)
    gate.node("n3", Status.DEGRADED)
    wanted = desired(
        gate.inventory,
        gate.judgement,
        None,
        settings=gate.settings,
        skeleton="s",
        maps={"hosts": {"/": "main"}},
    )
    assert {name for _, name in wanted.servers} == {"n1", "n3"}
    assert (wanted.skeleton, wanted.maps) == ("s", {"hosts": {"/": "main"}})


def test_back_to_serve_is_ready_with_all_its_settings(gateway: Build) -> None:
    gate = gateway(2)
    gate.intend("n1", Intent.DRAIN)
    gate.settle()
    gate.node("n1", url=gate.nodes["n1"].url, weight=5)
    gate.settle()
    server = gate.running.servers["pool_main", "n1"]
    assert (server.state, server.weight) == (ServerState.READY, 5)


def test_urls_lead_where_they_say() -> None:
    assert (endpoint("http://a.example").port, endpoint("https://a.example/x").port) == (80, 443)
    assert endpoint("http://192.0.2.1:5").literal == "192.0.2.1"
    assert endpoint("http://a.example:5").literal is None
