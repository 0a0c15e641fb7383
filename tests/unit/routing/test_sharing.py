"""Routes that several services share, and the pools that it takes."""

from __future__ import annotations

import pytest

from fabio_rig import instance, shared
from nodegate.catalog import Check
from nodegate.fabio.nodes import nodes_of
from nodegate.health.registered import RULE, with_registered_checks
from nodegate.model import Instant, Inventory, Judgement, Status, Verdict
from nodegate.routing.sharing import Shared, share_out
from nodegate.settings import FabioSettings


def plan(tags: dict[str, list[str]], down: list[str] | None = None) -> Shared:
    instances = [
        instance(name.rpartition("-")[0], *each, number=int(name.rpartition("-")[2]))
        for name, each in tags.items()
    ]
    return shared(nodes_of(instances, FabioSettings()), down or [])


def pools(found: Shared) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    for node in found.inventory.nodes:
        result.setdefault(node.pool, {})[node.id] = node.weight
    return result


def leads(found: Shared) -> dict[str, list[tuple[str, float]]]:
    assert found.routes is not None
    return {
        route.host + route.path: [(variant.pool, variant.share) for variant in route.variants]
        for route in found.routes
    }


def test_without_routes_nothing_changes() -> None:
    inventory = Inventory(nodes=(), index=1, read_at=Instant(0.0))
    assert share_out(inventory, Judgement()).inventory is inventory


def test_a_service_is_one_pool_whatever_its_routes() -> None:
    found = plan(
        {
            "web-1": ["urlprefix-/a", "urlprefix-/b strip=/b"],
            "web-2": ["urlprefix-/a", "urlprefix-/b strip=/b"],
        }
    )
    assert pools(found) == {"web": {"web-1": 100, "web-2": 100}}
    assert leads(found) == {"/a": [("web", 1.0)], "/b": [("web", 1.0)]}


def test_a_canary_is_a_guest_beside_its_own_pool() -> None:
    found = plan({"web-1": ["urlprefix-/"], "web-2": ["urlprefix-/"], "canary-1": ["urlprefix-/ weight=0.2"]})
    assert pools(found) == {
        "web": {"web-1": 100, "web-2": 100},
        "canary": {"canary-1": 100},
        "canary.web": {"web-1": 200, "web-2": 200, "canary-1": 100},
    }
    assert leads(found) == {"/": [("canary.web", 1.0)]}


def test_shares_follow_who_serves_but_pools_do_not() -> None:
    tags = {"web-1": ["urlprefix-/ weight=0.2"], "web-2": ["urlprefix-/"], "web-3": ["urlprefix-/"]}
    assert pools(plan(tags)) == {"web": {"web-1": 100, "web-2": 200, "web-3": 200}}
    found = plan(tags, ["web-3"])
    assert set(pools(found)) == {"web"}
    assert pools(found)["web"]["web-2"] == 4 * pools(found)["web"]["web-1"]


def test_a_route_to_some_instances_only_has_a_pool_that_keeps_its_name() -> None:
    tags = {"web-1": ["urlprefix-/"], "web-2": ["urlprefix-/", "urlprefix-/new"]}
    names = set(pools(plan(tags))) - {"web"}
    assert len(names) == 1
    assert next(iter(names)).startswith("web.")
    assert names == set(pools(plan(tags | {"web-3": ["urlprefix-/", "urlprefix-/new"]}))) - {"web"}


def test_variants_that_are_treated_differently_split_the_route() -> None:
    found = plan({"a-1": ["urlprefix-/ strip=/x"], "b-1": ["urlprefix-/ weight=0.25"]})
    assert leads(found) == {"/": [("b", 0.25), ("a", 0.75)]} or leads(found) == {
        "/": [("a", 0.75), ("b", 0.25)]
    }
    assert leads(plan({"a-1": ["urlprefix-/ strip=/x"], "b-1": ["urlprefix-/ weight=0.25"]}, ["b-1"])) == {
        "/": [("a", 1.0)]
    }
    both = leads(plan({"a-1": ["urlprefix-/ strip=/x"], "b-1": ["urlprefix-/ weight=0.25"]}, ["a-1", "b-1"]))
    assert len(both["/"]) == 2


def test_two_weights_of_one_service_on_two_routes_take_two_pools() -> None:
    found = plan(
        {"web-1": ["urlprefix-/a weight=0.2", "urlprefix-/b"], "web-2": ["urlprefix-/a", "urlprefix-/b"]}
    )
    assert leads(found)["/a"] == [("web", 1.0)]
    assert leads(found)["/b"][0][0].startswith("web.")


def verdict(status: Status, failures: int = 0) -> Verdict:
    return Verdict(node_id="web-1", status=status, since=Instant(5.0), failures=failures)


@pytest.mark.parametrize("status", list(Status))
def test_a_failing_check_of_consul_takes_a_node_down_whatever_the_probe_says(status: Status) -> None:
    checks = (Check(id="own", name="own", status="critical", service_id="web-1"),)
    nodes = nodes_of([instance("web", "urlprefix-/", checks=checks)], FabioSettings()).nodes
    inventory = Inventory(nodes=nodes, index=1, read_at=Instant(0.0))
    judged = Judgement(verdicts={"web-1": verdict(status, failures=1)})
    joined = with_registered_checks(judged, inventory, {}, Instant(9.0)).verdicts["web-1"]
    assert (joined.status, joined.rules[0], joined.reasons[0]) == (
        Status.DOWN,
        RULE,
        "Consul check 'own' is critical",
    )
    assert joined.since == (5.0 if status is Status.DOWN else 9.0)
    later = with_registered_checks(judged, inventory, {"web-1": joined}, Instant(20.0)).verdicts["web-1"]
    assert later.since == joined.since
    assert (
        with_registered_checks(Judgement(), inventory, {}, Instant(1.0)).verdicts["web-1"].status
        is Status.DOWN
    )


def test_a_passing_check_leaves_the_judgement_as_it_is() -> None:
    nodes = nodes_of([instance("web", "urlprefix-/")], FabioSettings()).nodes
    judged = Judgement(verdicts={"web-1": verdict(Status.UP)})
    assert (
        with_registered_checks(
            judged, Inventory(nodes=nodes, index=1, read_at=Instant(0.0)), {}, Instant(9.0)
        )
        is judged
    )
