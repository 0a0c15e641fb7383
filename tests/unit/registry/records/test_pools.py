"""What makes a node fit its pool."""

from __future__ import annotations

import pytest

from nodegate.model import Instant, Intent, Inventory, Node, Source
from nodegate.registry.records import conflicts, of_one_kind
from nodegate.settings import PoolSettings, Settings


def node(node_id: str = "new", **changes: object) -> Node:
    return Node(id=node_id, **{"url": "http://h:1", "kind": "iri", **changes})  # type: ignore[arg-type]


def inventory(*nodes: Node) -> Inventory:
    return Inventory(nodes=nodes, index=1, read_at=Instant(0.0))


EMPTY = Settings()
CONFIGURED = Settings(
    pools={
        "shimmer": PoolSettings(kind="evm", upstream_path="/v1/evm"),
        "wide": PoolSettings(paths=("/", "/other")),
    }
)


@pytest.mark.parametrize(
    ("new", "present", "settings"),
    [
        (node(), [], EMPTY),
        (node(), [node("old")], EMPTY),
        (node(kind="evm", pool="evm"), [node("old")], EMPTY),
        (node(kind="evm", pool="shimmer", url="http://h:1/v1/evm"), [], CONFIGURED),
        (node(kind="http", pool="wide"), [node("old", pool="shimmer")], CONFIGURED),
    ],
    ids=["first of its pool", "same kind", "a pool of its own", "as configured", "a pool in the file"],
)
def test_a_node_that_fits_has_no_conflict(new: Node, present: list[Node], settings: Settings) -> None:
    assert conflicts(new, inventory(*present), settings) is None


@pytest.mark.parametrize(
    ("new", "present", "settings", "key", "words"),
    [
        (node(kind="evm"), [node("old")], EMPTY, "kind", "pool 'main' holds iri nodes, this one is evm"),
        (
            node(pool="shimmer", url="http://h:1/v1/evm"),
            [],
            CONFIGURED,
            "kind",
            "pool 'shimmer' holds evm nodes, this one is iri",
        ),
        (node(url="http://h:1/x"), [], EMPTY, "url", "the path '/x' differs from '/'"),
        (node(kind="evm", pool="shimmer"), [], CONFIGURED, "url", "the path '/' differs from '/v1/evm'"),
        (
            node(pool="main"),
            [],
            CONFIGURED,
            "pool",
            "the route '/' of pool 'main' already leads to pool 'wide'",
        ),
        (node(pool="other"), [], CONFIGURED, "pool", "the route '/other' of pool 'other' already leads"),
    ],
    ids=["mixed kinds", "not the configured kind", "a path", "no path", "the catch-all", "a prefix"],
)
def test_a_node_that_does_not_fit_is_told_why(
    new: Node, present: list[Node], settings: Settings, key: str, words: str
) -> None:
    fault = conflicts(new, inventory(*present), settings, file="request")
    assert fault is not None
    assert (fault.file, fault.key) == ("request", key)
    assert words in fault.message


def test_a_known_node_may_change_all_but_what_the_pool_depends_on() -> None:
    stray = node("stray", kind="evm")  # as an older nodegate may have let in
    present = inventory(node("old"), stray)
    drained = Node(id="stray", url=stray.url, kind="evm", weight=1)
    assert conflicts(drained, present, EMPTY) is None
    moved = node("stray", kind="evm", url="http://elsewhere:1")
    assert conflicts(moved, present, EMPTY) is not None


def test_the_only_node_of_a_pool_may_change_its_kind() -> None:
    assert conflicts(node("one", kind="evm"), inventory(node("one")), EMPTY) is None


KNOWN = ("evm", "http", "iri")
SERVICE, FILE = Source.SERVICE, Source.FILE


def test_an_inventory_whose_pools_are_of_one_kind_is_given_back_itself() -> None:
    same = inventory(node("a"), node("b"), node("c", kind="evm", pool="eth"))
    fitting, kinds = of_one_kind(same, EMPTY, {}, KNOWN)
    assert fitting is same
    assert kinds == {"main": "iri", "eth": "evm"}


def test_a_stranger_is_left_out_with_a_fault_and_the_pool_stays_what_it_was() -> None:
    mixed = inventory(
        node("a", kind="evm", source=SERVICE),
        node("b", kind="evm", source=SERVICE),
        node("z", source=SERVICE),
    )
    fitting, kinds = of_one_kind(mixed, EMPTY, {"main": "iri"}, KNOWN)
    assert [one.id for one in fitting.nodes] == ["z"]
    assert fitting.faults == (
        "node 'a': pool 'main' holds iri nodes, this one is evm; it is left out. Give it another pool",
        "node 'b': pool 'main' holds iri nodes, this one is evm; it is left out. Give it another pool",
    )
    assert kinds == {"main": "iri"}


@pytest.mark.parametrize(
    ("present", "before", "wins"),
    [
        ([node("a", kind="nokind"), node("b", kind="nokind"), node("c")], {}, "iri"),
        ([node("a", kind="evm"), node("b"), node("c")], {}, "iri"),
        ([node("a", kind="evm"), node("b"), node("c")], {"main": "evm"}, "evm"),
        ([node("a", kind="evm"), node("b")], {"main": "http"}, "evm"),
        ([node("a", kind="evm", source=SERVICE), node("b", kind="evm", source=SERVICE), node("c")], {}, "iri"),
        ([node("a"), node("b"), node("c", kind="evm", source=FILE)], {"main": "iri"}, "evm"),
        ([node("a", kind="nokind"), node("b", kind="otherkind"), node("c", kind="otherkind")], {}, "otherkind"),
    ],
    ids=["known", "most", "before", "before that is gone", "own records", "the file", "unknown ones only"],
)  # fmt: skip
def test_the_kind_of_a_pool_is_settled_in_a_fixed_order(
    present: list[Node], before: dict[str, str], wins: str
) -> None:
    fitting, kinds = of_one_kind(inventory(*present), EMPTY, before, KNOWN)
    assert kinds["main"] == wins
    assert {one.kind for one in fitting.nodes} == {wins}


def test_the_settings_have_the_last_word_even_when_no_node_obeys() -> None:
    fitting, kinds = of_one_kind(inventory(node("a", pool="shimmer")), CONFIGURED, {"shimmer": "iri"}, KNOWN)
    assert (fitting.nodes, kinds) == ((), {"shimmer": "evm"})


def test_a_pool_that_was_empty_for_a_while_is_still_what_it_was() -> None:
    _, kinds = of_one_kind(inventory(), EMPTY, {"main": "iri"}, KNOWN)
    _, kinds = of_one_kind(inventory(node("a", kind="evm"), node("b")), EMPTY, kinds, KNOWN)
    assert kinds == {"main": "iri"}


def test_a_stranger_that_is_being_removed_stays_until_it_is_forgotten() -> None:
    leaving = node("a", kind="evm", intent=Intent.REMOVE)
    fitting, _ = of_one_kind(inventory(leaving, node("b"), node("c")), EMPTY, {}, KNOWN)
    assert leaving in fitting.nodes
    assert fitting.faults == ()


def test_a_stranger_in_a_pool_does_not_keep_those_out_who_fit() -> None:
    mixed = inventory(
        node("a", kind="evm", source=SERVICE), node("b", source=SERVICE), node("c", source=SERVICE)
    )
    assert conflicts(node(), mixed, EMPTY) is None
    assert "holds iri nodes" in str(conflicts(node(kind="evm"), mixed, EMPTY))
