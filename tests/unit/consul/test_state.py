"""The catalogue put together, with unchanged values as the same objects."""

from __future__ import annotations

from typing import Any

from nodegate.catalog import Check, Instance
from nodegate.consul.state import composed, merged_checks, merged_instances, suspects


def instance(name: str = "a", **changes: Any) -> Instance:
    return Instance(**{"service": "s", "id": name, "node": "n", "address": "10.0.0.1", "port": 1, **changes})


def raw(name: str, service: str, status: str = "passing", **changes: Any) -> dict[str, Any]:
    return {
        "Node": "n", "CheckID": name, "Name": name, "Status": status, "Output": "", "ServiceID": service,
        "ServiceName": "s", "ModifyIndex": 7, "CreateIndex": 7, **changes,
    }  # fmt: skip


def everything(name: str) -> bool:
    return True


def test_checks_that_did_not_change_stay_the_same_objects() -> None:
    first = {("n", "c"): raw("c", "a"), ("n", "d"): raw("d", "a")}
    known = merged_checks(first, {}, {})
    second = {("n", "c"): raw("c", "a"), ("n", "d"): raw("d", "a", "critical", ModifyIndex=8)}
    now = merged_checks(second, first, known)
    assert now["n", "c"] is known["n", "c"]
    assert now["n", "d"].status == "critical"


def test_a_check_whose_index_is_the_same_but_not_its_word_is_read_again() -> None:
    """Consul's data may be others, with indices that happen to match."""
    first = {("n", "c"): raw("c", "a")}
    known = merged_checks(first, {}, {})
    assert merged_checks({("n", "c"): raw("c", "a", "critical")}, first, known)["n", "c"].status == "critical"


def test_instances_get_their_own_checks_and_those_of_their_node() -> None:
    checks = {
        ("n", "c"): Check(id="c", name="c", status="passing", service_id="a"),
        ("n", "serfHealth"): Check(id="serfHealth", name="serf", status="passing"),
        ("m", "serfHealth"): Check(id="serfHealth", name="serf", status="critical"),
    }
    bare = merged_instances([instance("a"), instance("b")], {})
    full = composed(bare, checks, {}, {})
    assert [check.id for check in full["n", "a"].checks] == ["c"]
    assert full["n", "b"].checks == ()
    assert [check.status for check in full["n", "b"].node_checks] == ["passing"]
    again = composed(merged_instances([instance("a"), instance("b", port=2)], bare), checks, bare, full)
    assert again["n", "a"] is full["n", "a"]
    assert again["n", "b"].port == 2


def test_changed_tags_new_names_unknown_instances_and_lost_checks_are_suspect() -> None:
    bare = composed(
        {("n", "a"): instance("a")},
        {("n", "c"): Check(id="c", name="c", status="passing", service_id="a")},
        {},
        {},
    )
    same = {("n", "c"): raw("c", "a")}
    names = {"s": ("t",)}
    assert suspects(names, names, same, bare, everything) == set()
    assert suspects({"s": ("u",)}, names, same, bare, everything) == {"s"}
    assert suspects({"s": ("t",), "new": ()}, names, same, bare, everything) == {"new"}
    assert suspects(
        names, names, {**same, ("n", "x"): raw("x", "b", ServiceName="other")}, bare, everything
    ) == {"other"}
    assert suspects(names, names, {}, bare, everything) == {"s"}
    assert suspects({}, names, same, bare, everything) == {"s"}
