"""Consul's documents as values, and what is none of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.consul.catalog import checks_of, instances_of_service, instances_on_node, service_names
from nodegate.errors import Malformed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

SERVICE = {
    "Node": "n", "Address": "10.0.0.9", "Datacenter": "dc1", "ServiceID": "a1", "ServiceName": "a", "ServiceTags": ["x"],
    "ServiceAddress": "", "ServiceWeights": {"Passing": 5, "Warning": 2}, "ServiceMeta": {"k": "v"}, "ServicePort": 7,
    "ModifyIndex": 13,
}  # fmt: skip
NODE = {
    "Node": {"Node": "n", "Address": "10.0.0.9", "Datacenter": "dc1"},
    "Services": {
        "a1": {"ID": "a1", "Service": "a", "Tags": ["x"], "Address": "", "Meta": {"k": "v"}, "Port": 7,
               "Weights": {"Passing": 5, "Warning": 2}, "ModifyIndex": 13}
    },
}  # fmt: skip


def test_both_ways_to_ask_give_the_same_instance() -> None:
    (one,) = instances_of_service([SERVICE])
    assert instances_on_node(NODE) == (one,)
    assert (one.address, one.port, one.weights_passing, one.tags, one.datacenter) == (
        "10.0.0.9",
        7,
        5,
        ("x",),
        "dc1",
    )


def test_absent_tags_and_meta_are_none() -> None:
    (one,) = instances_of_service(
        [{**SERVICE, "ServiceTags": None, "ServiceMeta": None, "ServiceAddress": "::1"}]
    )
    assert (one.tags, one.meta, one.address) == ((), {}, "::1")
    assert instances_on_node(None) == ()


@pytest.mark.parametrize("read", [checks_of, instances_of_service, instances_on_node, service_names])
@given(value=JSON)
@settings(max_examples=100, deadline=None)
def test_what_is_no_answer_of_consul_is_malformed_and_nothing_else(read: Any, value: Any) -> None:
    try:
        read(value)
    except Malformed:
        return


@pytest.mark.parametrize("value", [None, {}, "x", [1], [{"Node": "n"}]])
def test_a_list_of_checks_that_is_none_is_never_empty(value: Any) -> None:
    with pytest.raises(Malformed):
        checks_of(value)
