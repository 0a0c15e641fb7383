"""What makes a node fit its pool."""

from __future__ import annotations

import pytest

from nodegate.model import Instant, Inventory, Node
from nodegate.registry.records import conflicts
from nodegate.settings import PoolSettings, Settings


def node(node_id: str = "new", **changes: str) -> Node:
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
