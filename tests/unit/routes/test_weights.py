"""Shares of requests and HAProxy's weights."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.routes import Target
from nodegate.routes.weights import shares, weights


def targets(*given: float) -> list[Target]:
    return [
        Target(node_id=f"n{number}", pool="p", kind="http", weight=weight)
        for number, weight in enumerate(given)
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((0,), (1,)),
        ((0, 0), (0.5, 0.5)),
        ((0.2, 0), (0.2, 0.8)),
        ((0.1, 0, 0), (0.1, 0.45, 0.45)),
        ((0.2, 0.3), (0.4, 0.6)),  # all are fixed and too little
        ((0.75, 0.75), (0.5, 0.5)),
        ((1.5, 0.5, 0), (0.75, 0.25, 0)),  # too much, and nothing is left
        ((1, 0), (1, 0)),
        ((0.2, 0.3, 0.5), (0.2, 0.3, 0.5)),
        (tuple([0.0] * 1234), tuple([1 / 1234] * 1234)),
    ],
)
def test_fixed_weights_are_shares_and_the_rest_is_shared(
    given: tuple[float, ...], wanted: tuple[float, ...]
) -> None:
    assert list(shares(targets(*given)).values()) == pytest.approx(wanted)


def test_nodes_that_are_out_leave_their_share_to_the_others() -> None:
    assert shares(targets(0.2, 0, 0), out={"n1"}) == pytest.approx({"n0": 0.2, "n2": 0.8, "n1": 0.4})
    assert shares(targets(0.2, 0), out={"n0", "n1"}) == pytest.approx({"n0": 0.2, "n1": 0.8})


def test_dynamic_ones_share_in_proportion_to_consuls_weights() -> None:
    mixed = [
        Target(node_id="a", pool="p", kind="http", weight=0.5),
        Target(node_id="b", pool="p", kind="http", part=3),
        Target(node_id="c", pool="p", kind="http", part=1),
    ]
    assert shares(mixed) == pytest.approx({"a": 0.5, "b": 0.375, "c": 0.125})


def test_weights_keep_proportions_and_nobody_with_a_share_gets_nothing() -> None:
    assert weights({"a": 0.5, "b": 0.5}) == {"a": 100, "b": 100}
    assert weights({"a": 0.1, "b": 0.9}) == {"a": 28, "b": 256}
    assert weights({"a": 0.2, "b": 0.8}) == {"a": 64, "b": 256}
    assert weights({"a": 0.0001, "b": 0.9999, "c": 0.0}) == {"a": 1, "b": 256, "c": 0}
    assert weights({"a": 0.0}) == {"a": 0}


_weight = st.one_of(st.just(0.0), st.floats(0.001, 3))


@settings(max_examples=200, deadline=None)
@given(st.lists(_weight, min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_shares_of_those_who_serve_are_one_together(given: list[float], out: set[int]) -> None:
    everyone = targets(*given)
    gone = {f"n{number}" for number in out}
    alive = [target for target in everyone if target.node_id not in gone] or everyone
    shared = shares(everyone, gone)
    assert shared.keys() == {target.node_id for target in everyone}
    assert sum(shared[target.node_id] for target in alive) == pytest.approx(1)
    assert all(0 <= weight <= 256 for weight in weights(shared).values())
